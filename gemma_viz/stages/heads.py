"""All heads at a glance: a small map of each, and measures of what each does on the prompt."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

from gemma_viz.capture import Capture
from gemma_viz.inside import Attention
from gemma_viz.stages import Floats, counted, to_numpy

POOLED_TO = 48  # cells a side of one head's small map, at most
QUERIES_AT_ONCE = 256  # of patterns in memory, for all heads of a layer

# Neighbouring queries, the first key that is given, and the pattern [head, query, key] of those.
Band = tuple[range, int, Tensor]


@dataclass(frozen=True)
class HeadMeasures:
    """What each head of a layer does on average, over all tokens but the first. All float32 [head], but for `profile`.

    previous, first, itself: attention weight on the token before, on the first token of the text, on the token itself
    tokens_read: exp of the entropy of the weights: how many tokens a head that spread itself evenly would read
    distance: tokens, how far back the weight lies; a token that stands further on counts as negative
    induction: weight on the tokens that came after earlier occurrences of the same token, over the tokens that have
        occurred before; NaN where none has
    profile: float32 [head, distance], weight on the token so many tokens back, over the tokens that have one

    Source for induction: Olsson et al., In-context Learning and Induction Heads (arXiv:2209.11895).
    """

    previous: Floats
    first: Floats
    itself: Floats
    tokens_read: Floats
    distance: Floats
    induction: Floats
    profile: Floats


@dataclass(frozen=True)
class LayerHeads:
    """The heads of a layer at a glance.

    maps: uint8 [head, row, column], the attention weight of a query (row) on a key (column), 255 is 1. Longer prompts
        are pooled to at most `POOLED_TO` cells a side, each showing the largest weight in it: thin lines stay
    measures: HeadMeasures
    """

    maps: npt.NDArray[np.uint8]
    measures: HeadMeasures


@dataclass(frozen=True)
class HeadPlace:
    """One head among all, and its measure where they are in the order of one.

    layer, head: int; measure: float, NaN in the model's own order
    """

    layer: int
    head: int
    measure: float


@counted
def layer_heads(cap: Capture, layer: int) -> LayerHeads:
    """What there is to see of a layer's heads, a band of queries at a time and only the keys they see.

    The patterns grow with tokens squared, so they are made where the layer is.
    """
    device, n = cap.model.device_of(layer), len(cap)
    values = cap.attention(layer).moved_to(device)
    cell = cell_size(n)
    side = -(-n // cell)
    maps = torch.zeros(len(values.rot_q), side, side, device=device)

    def drawn() -> Iterator[Band]:
        for queries, left, band in bands(values, cell):
            pooled = _pooled(band, cell)
            rows, columns = queries.start // cell, left // cell
            maps[:, rows : rows + pooled.shape[1], columns : columns + pooled.shape[2]] = pooled
            yield queries, left, band

    measured = measures(drawn(), cap.token_ids.to(device))
    return LayerHeads((maps * 255).round().to(torch.uint8).cpu().numpy(), measured)


def _pooled(band: Tensor, cell: int) -> Tensor:
    """The largest weight of each cell. Keys first, then queries: a GPU gives each result to one thread alone."""
    of_keys = max_pool2d(band, (1, cell), ceil_mode=True)
    return max_pool2d(of_keys, (cell, 1), ceil_mode=True)


def cell_size(n_positions: int) -> int:
    """Tokens a side that one cell of a small map stands for."""
    return -(-n_positions // POOLED_TO)


def bands(values: Attention, cell: int = 1) -> Iterator[Band]:
    """The pattern of a layer, a band of queries at a time and only the keys they see.

    Queries and keys begin at multiples of `cell`.
    """
    n, height = values.rot_q.shape[1], cell * max(1, QUERIES_AT_ONCE // cell)
    for top in range(0, n, height):
        queries = range(top, min(top + height, n))
        seen = values.keys_seen_by(queries)
        left = seen.start // cell * cell
        scores = values.scores_of(slice(None), slice(queries.start, queries.stop), slice(left, seen.stop))
        yield queries, left, scores.softmax(-1)


def measures(pattern: Iterator[Band], ids: Tensor) -> HeadMeasures:
    """The measures of a pattern that comes in `bands`. ids: int64 [position], on the bands' device."""
    n, device = len(ids), ids.device
    sums: Tensor | int = 0  # first, tokens read, distance, induction: [4, head]
    by_distance: Tensor | None = None  # [head, distance]
    n_repeated = 0
    for queries, left, band in pattern:
        query = torch.arange(queries.start, queries.stop, device=device)[:, None]
        key = torch.arange(left, left + band.shape[-1], device=device)
        distance, counted = query - key, query > 0  # under the mask the first token can only read itself
        after_same = (ids[query] == ids[(key - 1).clamp_min(0)]) & (key > 0) & (distance >= 0)
        n_repeated += int(after_same.any(-1).sum())
        tokens_read = (-torch.xlogy(band, band).sum(-1)).exp()  # [head, query]
        sums = sums + torch.stack(
            [
                (band * (key == 0) * counted).sum((1, 2)),
                (tokens_read * counted[:, 0]).sum(-1),
                (band * distance * counted).sum((1, 2)),
                (band * after_same).sum((1, 2)),
            ]
        )
        if by_distance is None:
            by_distance = torch.zeros(len(band), n, device=device)
        back = queries.stop - left  # without a mask there are keys after the last query
        diagonals = _diagonals((band * counted)[..., :back])
        by_distance[:, : diagonals.shape[1]] += diagonals
    assert isinstance(sums, Tensor)
    assert by_distance is not None
    # Of the queries from 1 on, those that have a token at this distance.
    n_queries = torch.arange(n, 0, -1, device=device)
    n_queries[0] -= 1
    profile = by_distance / n_queries  # NaN where there is none
    first, tokens_read, distance_back = sums[:3] / (n - 1) if n > 1 else sums[:3] * torch.nan
    return HeadMeasures(
        previous=to_numpy(profile[:, 1] if n > 1 else profile[:, 0]),
        first=to_numpy(first),
        itself=to_numpy(profile[:, 0]),
        tokens_read=to_numpy(tokens_read),
        distance=to_numpy(distance_back),
        induction=to_numpy(sums[3] / n_repeated if n_repeated else sums[3] * torch.nan),
        profile=to_numpy(profile),
    )


def _diagonals(band: Tensor) -> Tensor:
    """Sums by distance of a band whose last query and last key stand at one position: [head, distance]."""
    _, height, width = band.shape
    # Row r of the mirrored band is moved r to the right, so that one distance stands in one column.
    flat = pad(band.flip(-1), (0, height)).flatten(1)[:, :-height]
    skewed = torch.unflatten(flat, 1, (height, width + height - 1))
    return skewed.sum(1)[:, height - 1 :]


def ordered(layers: Sequence[LayerHeads], measure: str, at_least: float = 0.0) -> tuple[HeadPlace, ...]:
    """All heads by one of the measures, named as its field is, the highest first.

    Heads with less than `at_least` are left out, and those that have no such measure here.
    """
    places = [
        HeadPlace(layer, head, float(value))
        for layer, heads in enumerate(layers)
        for head, value in enumerate(getattr(heads.measures, measure))
        if value >= at_least  # not so for NaN
    ]
    return tuple(sorted(places, key=lambda place: -place.measure))


def in_model_order(layers: Sequence[LayerHeads]) -> tuple[HeadPlace, ...]:
    """All heads, layer by layer."""
    return tuple(
        HeadPlace(layer, head, math.nan) for layer, heads in enumerate(layers) for head in range(len(heads.maps))
    )


@counted
def most_attentive(cap: Capture, position: int) -> HeadPlace:
    """The head that puts most of a token's weight on other tokens than the first and itself; that is its measure."""
    found = []
    for layer in range(cap.model.spec.n_layers):
        scores = cap.attention(layer).scores_of(slice(None), slice(position, position + 1))
        weights = scores.softmax(-1)[:, 0]  # [head, key]
        elsewhere = weights.sum(-1) - weights[:, 0] - weights[:, position] * (position > 0)
        found += [HeadPlace(layer, head, float(weight)) for head, weight in enumerate(elsewhere.nan_to_num())]
    return max(found, key=lambda place: place.measure)
