"""Output: the final norm, and the likeliest next tokens after every token of the prompt."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from gemma_viz.capture import Capture
from gemma_viz.stages import Check, Floats, check, rms, to_numpy
from gemma_viz.steps import unembed


@dataclass(frozen=True)
class Predictions:
    """The likeliest next tokens after each position, the likeliest first.

    ids: int [position, rank]; texts: tuple of tuple of str; logits, probabilities: float32 [position, rank]
    actual_probability: float32 [position - 1], of the token that really comes next in the prompt
    actual_rank: int [position - 1], 1 where it was the likeliest
    """

    ids: np.ndarray
    texts: tuple[tuple[str, ...], ...]
    logits: Floats
    probabilities: Floats
    actual_probability: Floats
    actual_rank: np.ndarray


@dataclass(frozen=True)
class FinalNorm:
    """before, after: float32 [position], RMS of the stream before and after the final norm"""

    before: Floats
    after: Floats


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
    return Predictions(
        ids=ranking.ids.numpy(),
        texts=tuple(tuple(map(cap.model.token_text, row)) for row in ranking.ids.tolist()),
        logits=to_numpy(ranking.logits),
        probabilities=to_numpy(ranking.probabilities),
        actual_probability=to_numpy(ranking.target_probabilities[:-1]),
        actual_rank=ranking.target_ranks[:-1].numpy(),
    )


def final_norm(cap: Capture) -> FinalNorm:
    """RMS of the stream on both sides of the final norm."""
    return FinalNorm(to_numpy(rms(cap.resid_post(-1))), to_numpy(rms(cap.final_norm())))


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
        kl_divergence=_kl_divergence(before, after),
        is_finite=is_finite,
        baseline_scale=float(rms(baseline.resid_post(-1)[position])),
        edited_scale=float(rms(edited.resid_post(-1)[position])),
    )


def check_unembed(cap: Capture, position: int) -> Check:
    """`steps.unembed` against the model's own logits after one position."""
    model, spec = cap.model, cap.model.spec
    x = cap.resid_post(-1)[[position]]
    weight = model.hf.model.norm.weight.detach().float().cpu()
    w_unembed = model.hf.lm_head.weight.detach().float().cpu()
    mine = unembed(x, weight, spec.norm_eps, w_unembed, spec.final_softcap)
    models = cap.logits([position]).softmax(-1)
    return check(unembed, "unembed(stream, norm_weight, eps, w_unembed, softcap)", mine, models)


def _kl_divergence(log_p: Tensor, log_q: Tensor) -> float:
    return float((log_p.exp() * (log_p - log_q)).sum())
