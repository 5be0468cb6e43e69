"""Positions: which heads depend on them, and what becomes of patterns when they are changed."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gemma_viz.capture import Capture
from gemma_viz.inside import Attention
from gemma_viz.stages import Floats, around, counted, to_numpy
from gemma_viz.stages.heads import bands

SHOWN = 32  # tokens a side of the patterns that are put side by side


@dataclass(frozen=True)
class ChangedPatterns:
    """The patterns of one layer in an untouched run and in one with other positions.

    shown: range, the positions that `before` and `after` are about: all, or of a long prompt those around a token
    before, after: float32 [head, len(shown), len(shown)], query by key, NaN where the query may not look
    largest: float32 [head], largest difference of any weight, over the whole prompt
    distance: float32 [head], mean over all queries but the first of the total variation distance of the two patterns
    """

    shown: range
    before: Floats
    after: Floats
    largest: Floats
    distance: Floats


@counted
def position_sensitivity(cap: Capture, layer: int) -> Floats:
    """How much of each head's attention comes from position: float32 [head], from 0 (none) to 1; NaN for one token.

    The mean, over all queries but the first (which can only read itself), of the total variation distance between the
    head's pattern and the one that the same queries and keys give without rotation.
    """
    values = cap.attention(layer)
    return to_numpy(_differences(values, replace(values, rot_q=values.q, rot_k=values.k))[1])


@counted
def changed_patterns(cap: Capture, edited: Capture, layer: int, position: int) -> ChangedPatterns:
    """The patterns of a layer in two runs of one text, side by side."""
    before, after = cap.attention(layer), edited.attention(layer)
    largest, distance = _differences(before, after)
    shown = around(position, len(cap), SHOWN)
    return ChangedPatterns(
        shown=shown,
        before=_part(before, shown),
        after=_part(after, shown),
        largest=to_numpy(largest),
        distance=to_numpy(distance),
    )


def _differences(one: Attention, other: Attention) -> tuple[Tensor, Tensor]:
    """Largest difference of a weight, and mean total variation distance, both [head], a band of queries at a time."""
    n_heads, n, _ = one.rot_q.shape
    largest, distance = torch.zeros(n_heads), torch.zeros(n_heads)
    for (*_, ours), (*_, theirs) in zip(bands(one), bands(other), strict=True):
        difference = (ours - theirs).abs_()  # [head, query, key]
        largest = torch.maximum(largest, difference.amax((1, 2)))
        distance += difference.sum((1, 2)) / 2  # nothing from the first query, which can only read itself
    return largest, distance / (n - 1) if n > 1 else distance * torch.nan


def _part(values: Attention, shown: range) -> Floats:
    """[head, len(shown), len(shown)], the part of all heads' patterns around some tokens."""
    part = slice(shown.start, shown.stop)
    scores = values.scores_of(slice(None), part)  # [head, shown, key]
    return to_numpy(scores.softmax(-1).masked_fill(scores == -torch.inf, torch.nan)[..., part])
