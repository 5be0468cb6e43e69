"""Experiments: what a change of the model does to a prompt's prediction, and to the loss on the shipped text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gemma_viz.capture import Capture
from gemma_viz.edits import WEIGHT_BITS, Edits
from gemma_viz.model import Model
from gemma_viz.spec import ModelSpec
from gemma_viz.stages import Floats, Last, counted, to_numpy
from gemma_viz.stages.neuron import shipped_pieces
from gemma_viz.stages.output import kl_divergence


class Switch(NamedTuple):
    """One change of the model by itself. stage: str, where in the walk it belongs; edits: Edits"""

    stage: str
    edits: Edits


@dataclass(frozen=True)
class Outcome:
    """What a changed run predicts after one position, measured by the untouched run's answer.

    answer: str, the untouched run's likeliest next token
    probability: float, what the changed run gives it; rank: int, its rank there, 1 for the likeliest
    likeliest: str, the changed run's own answer; likeliest_probability: float
    kl_divergence: float, of the changed distribution from the untouched one, nats, at least 0
    loss: float, mean of -ln p over the tokens of the prompt after the first, nats; NaN where there is none
    is_finite: bool, whether the changed run's logits are numbers; where not, the rank is 0, its own answer the empty
        text, and the rest NaN
    """

    answer: str
    probability: float
    rank: int
    likeliest: str
    likeliest_probability: float
    kl_divergence: float
    loss: float
    is_finite: bool

    @property
    def keeps_the_answer(self) -> bool:
        """Whether the changed run's likeliest token is the untouched run's."""
        return self.is_finite and self.rank == 1

    @property
    def damage(self) -> float:
        """By what changes are ordered: the KL divergence, infinite where there is no prediction any more."""
        return self.kl_divergence if self.is_finite else float("inf")


@dataclass(frozen=True)
class Mean:
    """A mean over n tokens and its standard error, s / sqrt(n) with s the sample's standard deviation (n - 1).

    mean, standard_error: float, nats; NaN where a value is no number, the error also where n is below 2
    n: int
    """

    mean: float
    standard_error: float
    n: int


def switches(spec: ModelSpec) -> tuple[Switch, ...]:
    """Every design choice that the model has, changed by itself, in the order of the walk."""
    first, middle, last = 0, spec.n_layers // 2, spec.n_layers - 1
    heads = tuple((head, 0) for head in range(1, spec.n_heads))
    by_stage = {
        "embedding": [Edits(embedding_scale=False)],
        "norms": [
            Edits(norms=False),
            Edits(attention_norms=False),
            Edits(mlp_norms=False),
            *([Edits(qk_norms=False)] if spec.qk_norm else []),
            Edits(final_norm=False),
        ],
        "residual": [Edits(attention_residual=False), Edits(mlp_residual=False)],
        "attention": [
            Edits(attention=False),
            Edits(attention=False, removal="mean"),
            Edits(causal_mask=False),
            Edits(window=4),
            Edits(attention_temperature=0.5),
            Edits(attention_temperature=2.0),
            *([Edits(attention_softcap=False)] if spec.attention_softcap else []),
            Edits(pattern="uniform"),
            Edits(pattern="own"),
            *([Edits(queries_from=heads)] if heads else []),
        ],
        "RoPE": [
            Edits(rope=False),
            Edits(rope_theta=100.0),
            Edits(rope_shift=100),
            Edits(rope_stretch=2.0),
            Edits(rope_shuffle=0),
        ],
        "MLP": [
            Edits(mlp=False),
            Edits(mlp=False, removal="mean"),
            Edits(activation="gelu_exact"),
            Edits(activation="relu"),
            Edits(activation="identity"),
            Edits(gate=False),
        ],
        "layers": [Edits(attention=False, mlp=False).only_in(layer) for layer in sorted({first, middle, last})],
        "weights and output": [
            *(Edits(weight_bits=bits) for bits in WEIGHT_BITS),
            Edits(unembedding_seed=0),
            *([Edits(final_softcap=False)] if spec.final_softcap else []),
        ],
    }
    return tuple(Switch(stage, edits) for stage, changes in by_stage.items() for edits in changes)


def outcomes_at(cap: Capture, edits: Edits, positions: range) -> tuple[Outcome, ...]:
    """What edits do to the predictions of an untouched run after some positions; runs its text once more."""
    edited = cap.again(edits)
    before, after = _log_probabilities(cap, positions), edited.logits(positions).log_softmax(-1)
    # Of all positions the rows are there already; `mean_loss` would multiply them out once more.
    loss = _mean(_losses(after, cap)).mean if len(positions) == len(cap) else mean_loss(edited)
    return tuple(_outcome(cap.model, *rows, loss) for rows in zip(before, after, strict=True))


@counted
def outcome_of(cap: Capture, edited: Capture, position: int, loss: float) -> Outcome:
    """The same, of a changed run that is there already, and its `mean_loss`, which is the same for all positions."""
    before, after = (run.logits([position])[0].log_softmax(-1) for run in (cap, edited))
    return _outcome(cap.model, before, after, loss)


_untouched: Last[Tensor] = Last()


def _log_probabilities(cap: Capture, positions: range) -> Tensor:
    """float32 [position, vocab_size]; remembered, because many changed runs are measured by one untouched."""
    nbytes = len(positions) * cap.model.spec.vocab_size * torch.float32.itemsize
    return _untouched.get(cap, positions, lambda: cap.logits(positions).log_softmax(-1), nbytes)


def _outcome(model: Model, before: Tensor, after: Tensor, loss: float) -> Outcome:
    """before, after: float32 [vocab_size], log-probabilities of the untouched and of the changed run"""
    answer, likeliest = int(before.argmax()), int(after.argmax())
    if not after.isfinite().all():
        nan = float("nan")
        return Outcome(model.token_text(answer), nan, 0, "", nan, nan, nan, False)
    return Outcome(
        answer=model.token_text(answer),
        probability=float(after[answer].exp()),
        rank=int((after > after[answer]).sum()) + 1,
        likeliest=model.token_text(likeliest),
        likeliest_probability=float(after[likeliest].exp()),
        kl_divergence=max(kl_divergence(before, after), 0.0),  # rounding can leave it a little below
        loss=loss,
        is_finite=True,
    )


def token_losses(cap: Capture) -> Floats:
    """-ln of the probability of each token after the first, in nats: float32 [position - 1].

    NaN where the logits are not all numbers.
    """
    return -to_numpy(cap.ranking(cap.token_ids.roll(-1), 1).target_log_probabilities[:-1])


def mean_loss(cap: Capture) -> float:
    """The mean of `token_losses`; NaN for a text of one token."""
    return _mean(token_losses(cap)).mean


def _losses(log_probabilities: Tensor, cap: Capture) -> Floats:
    """As `token_losses`, from float32 [position, vocab_size] after every position."""
    return -to_numpy(log_probabilities[:-1].gather(1, cap.token_ids[1:, None])[:, 0])


def piece_losses(model: Model, piece: int, edits: Edits) -> Floats:
    """`token_losses` of one of the `shipped_pieces`, in a run with edits."""
    return token_losses(model.capture_ids(shipped_pieces(model)[piece], edits))


def mean_of(pieces: Sequence[Floats]) -> Mean:
    """Mean and standard error of the losses of all tokens of some pieces."""
    return _mean(np.concatenate(pieces))


def mean_difference(pieces: Sequence[Floats], baseline: Sequence[Floats]) -> Mean:
    """The mean of how much more each token costs than in the baseline, and the standard error of that: paired.

    Much of what two runs' losses vary by is which tokens are hard; it is the same in both, and cancels.
    """
    return _mean(np.concatenate(pieces).astype(np.float64) - np.concatenate(baseline))


def _mean(values: np.ndarray) -> Mean:
    n = len(values)
    if not np.isfinite(values).all() or n == 0:
        return Mean(float("nan"), float("nan"), n)
    error = float(values.std(ddof=1, dtype=np.float64) / np.sqrt(n)) if n > 1 else float("nan")
    return Mean(float(values.mean(dtype=np.float64)), error, n)
