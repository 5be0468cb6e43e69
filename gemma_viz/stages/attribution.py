"""Attribution: which parts of the model a logit is the sum of, on the direct path from each part to the output.

The stream that the final norm is given is the sum of the embedding and of what every attention head and every MLP has
added. With the norm's scale held at what it was, a logit is linear in that sum, and so a sum itself.
Source: Elhage et al., A Mathematical Framework for Transformer Circuits (2021), "direct logit attribution".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from gemma_viz import contributions
from gemma_viz.capture import Capture
from gemma_viz.stages import Floats, counted, to_numpy
from gemma_viz.stages.output import raw_logits


class Part(NamedTuple):
    """One summand of a logit."""

    kind: Literal["embedding", "head", "MLP"]
    name: str
    value: float


@dataclass(frozen=True)
class Additions:
    """What one layer adds to the stream of one token.

    heads: float32 [head, d_model]; mlp: float32 [d_model]
    """

    heads: Floats
    mlp: Floats


@dataclass(frozen=True)
class Split:
    """A logit after one position, or the difference of two, as a sum. Before any soft-cap.

    embedding: float; heads: float32 [layer, head]; mlps: float32 [layer]
    total: float, the sum of all of them; logit: float, what the model itself has
    is_sum: bool, whether every part is added to the stream: not so where a residual connection is left out
    """

    embedding: float
    heads: Floats
    mlps: Floats
    total: float
    logit: float
    is_sum: bool

    @property
    def is_finite(self) -> bool:
        """Whether the logit and its parts are numbers."""
        return bool(np.isfinite([self.total, self.logit]).all())

    @property
    def parts(self) -> list[Part]:
        """All summands, the largest first, whatever their sign."""
        heads = [
            Part("head", f"layer {layer}, head {head}", float(value))
            for layer, row in enumerate(self.heads)
            for head, value in enumerate(row)
        ]
        mlps = [Part("MLP", f"layer {layer}, MLP", float(value)) for layer, value in enumerate(self.mlps)]
        parts = [Part("embedding", "embedding", self.embedding), *heads, *mlps]
        return sorted(parts, key=lambda part: -abs(part.value))


@counted
def additions(cap: Capture, layer: int, positions: Sequence[int]) -> tuple[Additions, ...]:
    """What a layer adds to the streams of some tokens."""
    attention, updates = cap.attention_and_sublayers(layer)
    heads = to_numpy(contributions.of_heads(cap, layer, positions, attention))
    return tuple(map(Additions, heads, to_numpy(updates.mlp_out[list(positions)])))


@counted
def split(cap: Capture, position: int, added: Sequence[Additions], token: int, other: int | None = None) -> Split:
    """The logit of a token after a position, less that of another where one is given.

    added: what each layer adds to the stream there
    """
    direction = cap.logit_direction(position, token)
    logit = float(raw_logits(cap, position, [token]))
    if other is not None:
        direction = direction - cap.logit_direction(position, other)
        logit -= float(raw_logits(cap, position, [other]))
    toward = direction.numpy()
    embedding = float(to_numpy(cap.resid_pre(0)[position]) @ toward)
    heads = np.stack([layer.heads @ toward for layer in added])
    mlps = np.array([layer.mlp @ toward for layer in added])
    return Split(
        embedding=embedding,
        heads=heads.astype(np.float32),
        mlps=mlps.astype(np.float32),
        total=float(embedding + heads.sum() + mlps.sum()),
        logit=logit,
        is_sum=cap.edits.attention_residual and cap.edits.mlp_residual,
    )
