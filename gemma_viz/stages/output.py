"""Output: the likeliest next tokens and how surprising the real ones are, the final norm, and the output projection."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gemma_viz.capture import Capture
from gemma_viz.model import ROWS_AT_ONCE
from gemma_viz.ranking import top_k
from gemma_viz.stages import Check, Floats, check, counted, rms, to_numpy
from gemma_viz.steps import unembed

LOGITS_ON_CURVE = 160


@dataclass(frozen=True)
class Predictions:
    """The likeliest next tokens after each position, the likeliest first.

    ids: int [position, rank]; texts: tuple of tuple of str; logits, probabilities: float32 [position, rank]
    actual_probability: float32 [position - 1], of the token that really comes next in the prompt
    actual_rank: int [position - 1], 1 where it was the likeliest
    surprise: float32 [position - 1], -ln of its probability, in nats
    loss: float, their mean, the cross-entropy that training makes small; perplexity: float, exp(loss). NaN for a
        prompt of one token
    """

    ids: np.ndarray
    texts: tuple[tuple[str, ...], ...]
    logits: Floats
    probabilities: Floats
    actual_probability: Floats
    actual_rank: np.ndarray
    surprise: Floats
    loss: float
    perplexity: float


@dataclass(frozen=True)
class FinalNorm:
    """before, after: float32 [position], RMS of the stream before and after the final norm"""

    before: Floats
    after: Floats


@dataclass(frozen=True)
class Sharpness:
    """How even a distribution of the next token is.

    entropy: float, nats, from 0 (one token is certain) to ln of the vocabulary's size; NaN where the logits are not
        all numbers
    likeliest: str; probability: float, of it
    """

    entropy: float
    likeliest: str
    probability: float


@dataclass(frozen=True)
class SoftCap:
    """A soft-cap c * tanh(x / c) on some of the logits of one position, from the largest to the smallest.

    cap: float, c; texts: tuple of str; before, after: float32 [logit]
    """

    cap: float
    texts: tuple[str, ...]
    before: Floats
    after: Floats


@dataclass(frozen=True)
class BothEnds:
    """One token's rows in the two matrices, which are one where the model is tied.

    embedding_row, unembedding_row: float32 [d_model]
    scale: float, what the first is multiplied with before it enters the stream
    normed: float32 [d_model], the stream after the final norm at a position
    product: float, unembedding_row . normed; logit: float, what the model has there, before any soft-cap
    """

    embedding_row: Floats
    unembedding_row: Floats
    scale: float
    normed: Floats
    product: float
    logit: float

    @property
    def is_one_row(self) -> bool:
        """Whether the two rows are alike, as in a tied model."""
        return bool((self.embedding_row == self.unembedding_row).all())


@dataclass(frozen=True)
class Comparison:
    """What a run with steps left out predicts, next to the untouched one, after one position.

    texts: tuple of str, the tokens that either run ranks highest; ids: tuple of int
    baseline, edited: float32 [len(texts)], their probabilities; NaN where the run broke down
    kl_divergence: float, of the edited distribution from the baseline, in nats; NaN likewise
    is_finite: bool, whether the edited run's logits are numbers
    baseline_scale, edited_scale: float, RMS of the stream that the final norm is given
    """

    ids: tuple[int, ...]
    texts: tuple[str, ...]
    baseline: Floats
    edited: Floats
    kl_divergence: float
    is_finite: bool
    baseline_scale: float
    edited_scale: float


def predictions(cap: Capture, k: int = 10) -> Predictions:
    """The k likeliest next tokens after every position."""
    following = cap.token_ids.roll(-1)
    ranking = cap.ranking(following, k)
    surprise = -ranking.target_log_probabilities[:-1]
    loss = float(surprise.double().mean())
    return Predictions(
        ids=ranking.ids.numpy(),
        texts=tuple(tuple(map(cap.model.token_text, row)) for row in ranking.ids.tolist()),
        logits=to_numpy(ranking.logits),
        probabilities=to_numpy(ranking.probabilities),
        actual_probability=to_numpy(ranking.target_probabilities[:-1]),
        actual_rank=ranking.target_ranks[:-1].numpy(),
        surprise=to_numpy(surprise),
        loss=loss,
        perplexity=float(torch.tensor(loss, dtype=torch.float64).exp()),  # infinite where it is out of range
    )


@counted
def likeliest(cap: Capture, position: int, k: int) -> tuple[int, ...]:
    """The ids of the likeliest tokens after one, the likeliest first."""
    return cap.top_k(k, position).ids


def final_norm(cap: Capture) -> FinalNorm:
    """RMS of the stream on both sides of the final norm."""
    return FinalNorm(to_numpy(rms(cap.resid_post(-1))), to_numpy(rms(cap.final_norm())))


@counted
def sharpness(cap: Capture, position: int) -> tuple[Sharpness, Sharpness]:
    """The distribution after a position as it is, and if the stream went to the output projection unnormed."""
    stream = cap.stream_at(position)[[-1]]  # [1, d_model]
    unnormed = cap.unembed(stream)[0]
    return _sharpness(cap, cap.logits([position])[0]), _sharpness(cap, unnormed)


@counted
def soft_cap(cap: Capture, position: int) -> SoftCap | None:
    """The final soft-cap on some logits, evenly spread over their ranks; None for a model without one."""
    softcap = cap.model.spec.final_softcap if cap.edits.final_softcap else None
    if softcap is None:
        return None
    before, after = raw_logits(cap, position), cap.logits([position])[0]  # [vocab_size]
    order = before.argsort(descending=True)
    shown = order[torch.linspace(0, len(order) - 1, min(LOGITS_ON_CURVE, len(order))).long()]
    return SoftCap(
        cap=softcap,
        texts=tuple(map(cap.model.token_text, shown.tolist())),
        before=to_numpy(before[shown]),
        after=to_numpy(after[shown]),
    )


@counted
def both_ends(cap: Capture, position: int, token: int) -> BothEnds:
    """A token's row as what enters the stream and as what makes its logit after a position."""
    model = cap.model
    normed = cap.final_norm()[position]
    row = cap.unembedding_row(token)
    return BothEnds(
        embedding_row=to_numpy(model.embedding[token]),
        unembedding_row=to_numpy(row),
        scale=cap.embedding_factor,
        normed=to_numpy(normed),
        product=float(row.double() @ normed.double()),
        logit=float(raw_logits(cap, position, [token])),
    )


@counted
def raw_logits(cap: Capture, position: int, tokens: Sequence[int] | None = None) -> Tensor:
    """Logits after one position before any soft-cap, by the model's own projection: float32 [vocab_size].

    tokens: ids; of these only, [len(tokens)]
    """
    return cap.project(cap.final_norm()[[position]], tokens)[0]


@counted
def compare(baseline: Capture, edited: Capture, position: int, k: int = 5) -> Comparison:
    """The predictions of two runs of one text after a position, side by side."""
    before, after = (cap.logits([position])[0].log_softmax(-1) for cap in (baseline, edited))
    is_finite = bool(after.isfinite().all())
    best = before.topk(k).indices.tolist()
    best += after.topk(k).indices.tolist() if is_finite else []
    ids = list(dict.fromkeys(best))
    return Comparison(
        ids=tuple(ids),
        texts=tuple(map(baseline.model.token_text, ids)),
        baseline=to_numpy(before[ids].exp()),
        edited=to_numpy(after[ids].exp()),
        kl_divergence=kl_divergence(before, after),
        is_finite=is_finite,
        baseline_scale=float(rms(baseline.resid_post(-1)[position])),
        edited_scale=float(rms(edited.resid_post(-1)[position])),
    )


@counted
def check_unembed(cap: Capture, position: int) -> Check:
    """`steps.unembed` against the model's own logits after one position.

    A block of the vocabulary at a time: in float32 the whole matrix can be as large as the model itself.
    """
    model, spec = cap.model, cap.model.spec
    x = cap.resid_post(-1)[[position]]
    weight = model.hf.model.norm.weight.detach().float().cpu()
    blocks = model.hf.lm_head.weight.detach().split(ROWS_AT_ONCE)
    mine = torch.cat(
        [unembed(x, weight, spec.norm_eps, block.float().cpu(), spec.final_softcap) for block in blocks], dim=-1
    )
    call = f"unembed(stream[[{position}]], norm_weight, eps, w_unembed, softcap)"
    return check(unembed, call, mine, cap.logits([position]))


def _sharpness(cap: Capture, logits: Tensor) -> Sharpness:
    probabilities = logits.double().softmax(-1)
    best = int(top_k(logits[None], 1)[1])
    return Sharpness(
        entropy=float(torch.special.entr(probabilities).sum()),
        likeliest=cap.model.token_text(best),
        probability=float(probabilities[best]),
    )


def kl_divergence(log_p: Tensor, log_q: Tensor) -> float:
    """Of a distribution q from p, in nats, by their log-probabilities; NaN where one is no number."""
    return float((log_p.exp() * (log_p - log_q)).sum())
