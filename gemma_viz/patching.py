"""Patching: a run that takes over one value from the run of another text, to see what that value carries.

Two texts of the same length differ in a word and so in their answers: a clean one and a corrupted one. A value of one
run is put into the other. Into the corrupted run ("denoising") it shows what is enough to bring the answer back; into
the clean run ("noising") what the answer cannot do without.

Source: Vig et al., Investigating Gender Bias (2020), "causal mediation"; Meng et al., Locating and Editing Factual
Associations in GPT (arXiv:2202.05262), "causal tracing"; Heimersheim and Nanda, How to use and interpret activation
patching (arXiv:2404.15255), for the two directions and the logit difference.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from gemma_viz.errors import EditsError
from gemma_viz.instrument import Injection

if TYPE_CHECKING:
    from gemma_viz.capture import Capture

PatchKind = Literal["resid_pre", "attn_out", "mlp_out", "z"]
TOKENS_AT_ONCE = 1024  # of all copies of a text that are run as one batch


@dataclass(frozen=True)
class Patch:
    """One value of another run, and where it goes.

    source: Capture, the other run, by the same model
    kind: "resid_pre" the stream as it enters a layer, "attn_out" or "mlp_out" what a sublayer adds to it, "z" what one
        head reads
    layer, position: int, the same place in both runs
    head: int for "z", None for the others

    Raises EditsError where the other run has no such value.
    """

    source: "Capture"
    kind: PatchKind
    layer: int
    position: int
    head: int | None = None

    def __post_init__(self) -> None:
        spec = self.source.model.spec
        if self.kind not in get_args(PatchKind) or (self.head is None) == (self.kind == "z"):
            raise EditsError(f"There is nothing to patch that is called {self.kind!r}. Choose another value.")
        for what, index, n in (
            ("layer", self.layer, spec.n_layers),
            ("token", self.position, len(self.source)),
            ("head", self.head or 0, spec.n_heads),
        ):
            if not 0 <= index < n:
                raise EditsError(f"There is no {what} {index} to take a value from: choose one from 0 to {n - 1}.")

    def injection(self) -> Injection:
        """For the run that takes it over."""
        return _injection(self.source, self.kind, self.layer, [self.position], self.head)


def patched_logits(
    cap: "Capture", source: "Capture", kind: PatchKind, layer: int, tokens: Sequence[int], head: int | None = None
) -> Tensor:
    """Logits of some tokens at the end of a text, with one value taken over from another run at each position in turn.

    Each row is what `Model.capture` with such a `Patch` gives, up to rounding; all rows of a layer are run in batches.

    tokens: ids
    returns float32 [position, len(tokens)]. Raises EditsError for texts of different lengths.
    """
    if len(cap) != len(source):
        raise EditsError(
            f"The prompts have {len(cap)} and {len(source)} tokens. To take over values place by place they must have "
            "the same number: reword one of them."
        )
    batches = (_injection(source, kind, layer, batch, head) for batch in _batches(len(cap)))
    return torch.cat([cap.logits_with(injection)[:, list(tokens)] for injection in batches])


def _batches(n: int) -> Iterator[range]:
    at_once = max(1, TOKENS_AT_ONCE // n)
    return (range(start, min(start + at_once, n)) for start in range(0, n, at_once))


def _injection(source: "Capture", kind: PatchKind, layer: int, positions: Sequence[int], head: int | None) -> Injection:
    places = torch.tensor(list(positions))
    return Injection(kind, layer, places, _values(source, kind, layer, head)[places], head)


def _values(source: "Capture", kind: PatchKind, layer: int, head: int | None) -> Tensor:
    """[position, d_model], of a head's z [position, d_head]."""
    if kind == "resid_pre":
        return source.resid_pre(layer)
    if kind == "mlp_out":
        return source.mlp(layer).out
    values = source.attention(layer)
    return values.out if head is None else values.z[head]
