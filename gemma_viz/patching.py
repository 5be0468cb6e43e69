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
from gemma_viz.run import Injection
from gemma_viz.spec import ModelSpec

if TYPE_CHECKING:
    from gemma_viz.capture import Capture
    from gemma_viz.model import Model

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
        check_place(self.source.model.spec, len(self.source), self.kind, self.layer, self.position, self.head)

    def injection_into(self, model: "Model", n_tokens: int) -> Injection:
        """For the run that takes it over, of so many tokens. Raises EditsError where that has no such place."""
        if self.source.model is not model:
            raise EditsError("A value can only be taken over from a run of the same model.")
        if self.position >= n_tokens:
            raise EditsError(f"This text has no token {self.position}: choose one from 0 to {n_tokens - 1}.")
        values = _values(self.source, self.kind, self.layer)
        return _injection(values, self.kind, self.layer, [self.position], self.head)


def check_place(spec: ModelSpec, n_tokens: int, kind: str, layer: int, position: int, head: int | None) -> None:
    """Raises EditsError where a run of so many tokens has no such value to take over: see `Patch`."""
    if kind not in get_args(PatchKind) or (head is None) == (kind == "z"):
        raise EditsError(f"There is nothing to patch that is called {kind!r}. Choose another value.")
    places = {"layer": (layer, spec.n_layers), "token": (position, n_tokens), "head": (head or 0, spec.n_heads)}
    for what, (index, n) in places.items():
        if not 0 <= index < n:
            raise EditsError(f"There is no {what} {index} to take a value from: choose one from 0 to {n - 1}.")


def patched_logits(
    cap: "Capture", source: "Capture", kind: PatchKind, layer: int, tokens: Sequence[int], head: int | None = None
) -> Tensor:
    """Logits of some tokens at the end of a text, with one value taken over from another run at each position in turn.

    Each row is what `Model.capture` with such a `Patch` gives, up to rounding; the rows are run in batches. As far as
    the two texts begin alike there is nothing to take over, and nothing is run.

    tokens: ids
    returns float32 [position, len(tokens)]. Raises EditsError for texts of different lengths.
    """
    if len(cap) != len(source):
        raise EditsError(
            f"The prompts have {len(cap)} and {len(source)} tokens. To take over values place by place they must have "
            "the same number: reword one of them."
        )
    n_alike, values = cap.tokens_shared_with(source), _values(source, kind, layer)
    untouched = cap.logits([-1], tokens).expand(n_alike, -1)
    batches = _batches(n_alike, len(cap))
    rows = [cap.logits_with(_injection(values, kind, layer, batch, head), tokens) for batch in batches]
    return torch.cat([untouched, *rows])


def patched_heads_logits(cap: "Capture", source: "Capture", layer: int, position: int, tokens: Sequence[int]) -> Tensor:
    """As `patched_logits`, with what one head reads taken over at one position, of each head of a layer in turn.

    returns float32 [head, len(tokens)]
    """
    values = _values(source, "z", layer)
    heads = torch.arange(values.shape[1])
    places = torch.full_like(heads, position)
    return cap.logits_with(Injection("z", layer, places, values[position], heads), tokens)


def _batches(first: int, n: int) -> Iterator[range]:
    """Runs of positions from the first one on, of n."""
    at_once = max(1, TOKENS_AT_ONCE // n)
    return (range(start, min(start + at_once, n)) for start in range(first, n, at_once))


def _injection(values: Tensor, kind: PatchKind, layer: int, positions: Sequence[int], head: int | None) -> Injection:
    """values: as `_values` gives them."""
    places = torch.tensor(list(positions))
    heads = torch.full_like(places, head or 0)
    return Injection(kind, layer, places, values[places, heads], heads)


def _values(source: "Capture", kind: PatchKind, layer: int) -> Tensor:
    """[position, head, d_head]; what is not made by heads counts as one head: [position, 1, d_model]."""
    if kind == "z":
        return source.attention(layer).z.transpose(0, 1)
    if kind == "resid_pre":
        return source.resid_pre(layer)[:, None]
    return (source.mlp(layer).out if kind == "mlp_out" else source.attention(layer).out)[:, None]
