"""Attention: what each head looks at; one head with its queries, keys, scores and pattern."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from gemma_viz.capture import Attention, Capture
from gemma_viz.stages import Check, Floats, around, check, to_numpy
from gemma_viz.steps import attention as attention_step

POOLED_TO = 48  # cells a side of one head's small map, at most
LARGEST_PATTERN = 384  # tokens a side of the large map: 0.6 MB of float32
KEYS_SHOWN = 16
QUERIES_AT_ONCE = 256  # of patterns in memory, for all heads of a layer
TOKENS_CHECKED = 1024  # by the written-out code, which makes whole patterns


@dataclass(frozen=True)
class AttentionOverview:
    """Every head of every layer as a small picture.

    maps: uint8 [layer, head, row, column], attention weight of a query (row) on a key (column), 255 is 1. Longer
        prompts are pooled to at most `POOLED_TO` cells a side, each showing the largest weight in it
    n_positions: int, tokens of the prompt
    cell: int, tokens that a cell stands for in each direction
    """

    maps: npt.NDArray[np.uint8]
    n_positions: int
    cell: int


@dataclass(frozen=True)
class HeadMeasures:
    """What each head of a layer does on average, over all tokens but the first. All float32 [head].

    previous, first, itself: attention weight on the token before, on the first token of the text, on the token itself
    tokens_read: exp of the entropy of the weights: how many tokens a head that spread itself evenly would read
    distance: tokens, how far back the weight lies
    induction: weight on the tokens that came after earlier occurrences of the same token, over the tokens that have
        occurred before; NaN where none has

    Source for induction: Olsson et al., In-context Learning and Induction Heads (arXiv:2209.11895).
    """

    previous: Floats
    first: Floats
    itself: Floats
    tokens_read: Floats
    distance: Floats
    induction: Floats


@dataclass(frozen=True)
class Head:
    """One head, and its inside for one query.

    shown: range, positions that the pattern is about: all, or of a long prompt those around the query
    pattern: float32 [len(shown), len(shown)], query by key, NaN where the query may not look
    query, scores, weights: of the selected token: float32 [d_head] after RoPE, [key] and [key]; scores are -inf where
        the query may not look
    strongest: int [k], the keys that the query reads most, by weight, at most `KEYS_SHOWN`
    strongest_keys: float32 [k, d_head], those keys after RoPE
    value_norm: float32 [key], length of each token's value: a large weight on a short value moves little
    kv_head: int, the key/value head this query head reads
    window: int or None, tokens a query of this layer sees, itself included
    """

    shown: range
    pattern: Floats
    query: Floats
    scores: Floats
    weights: Floats
    strongest: npt.NDArray[np.int64]
    strongest_keys: Floats
    value_norm: Floats
    kv_head: int
    window: int | None


def small_maps(cap: Capture, layer: int) -> npt.NDArray[np.uint8]:
    """The maps of one layer, as in `AttentionOverview`: uint8 [head, row, column].

    A band of queries at a time, and only the keys they see. Largest weights, so that thin lines are not averaged away.
    """
    values, n = cap.attention(layer), len(cap)
    cell = cell_size(n)
    side = -(-n // cell)
    maps = torch.zeros(len(values.rot_q), side, side)
    for queries, left, band in bands(values, cell):
        pooled = max_pool2d(band, cell, ceil_mode=True)
        rows, columns = queries.start // cell, left // cell
        maps[:, rows : rows + pooled.shape[1], columns : columns + pooled.shape[2]] = pooled
    return (maps * 255).round().to(torch.uint8).numpy()


def bands(values: Attention, cell: int = 1) -> Iterator[tuple[range, int, Tensor]]:
    """The pattern of a layer, a band of queries at a time and only the keys they see.

    Yields the queries, the first key, and the pattern [head, query, key]; both begin at multiples of `cell`.
    """
    n, height = values.rot_q.shape[1], cell * max(1, QUERIES_AT_ONCE // cell)
    for top in range(0, n, height):
        queries = range(top, min(top + height, n))
        seen = values.keys_seen_by(queries)
        left = seen.start // cell * cell
        scores = values.scores_of(slice(None), slice(queries.start, queries.stop), slice(left, seen.stop))
        yield queries, left, scores.softmax(-1)


def head_measures(cap: Capture, layer: int) -> HeadMeasures:
    """What the heads of a layer do on this text, a band of queries at a time."""
    values, ids, n = cap.attention(layer), cap.token_ids, len(cap)
    sums = torch.zeros(5, len(values.rot_q))  # previous, first, itself, tokens read, distance
    induction, n_repeated = torch.zeros(len(values.rot_q)), 0
    for queries, left, band in bands(values):
        query = torch.arange(queries.start, queries.stop)[:, None]
        key = torch.arange(left, left + band.shape[-1])
        distance = query - key
        counted = query > 0  # the first token can only read itself
        for i, keys in enumerate((distance == 1, key == 0, distance == 0)):
            sums[i] += (band * (keys & counted)).sum((1, 2))
        entropy = -torch.xlogy(band, band).sum(-1)  # [head, query]
        sums[3] += (entropy.exp() * counted[:, 0]).sum(-1)
        sums[4] += (band * distance * counted).sum((1, 2))
        after_same = (ids[query] == ids[(key - 1).clamp_min(0)]) & (key > 0) & (distance >= 0)
        induction += (band * after_same).sum((1, 2))
        n_repeated += int(after_same.any(-1).sum())
    previous, first, itself, tokens_read, distance_back = sums / (n - 1) if n > 1 else sums * torch.nan
    return HeadMeasures(
        previous=to_numpy(previous),
        first=to_numpy(first),
        itself=to_numpy(itself),
        tokens_read=to_numpy(tokens_read),
        distance=to_numpy(distance_back),
        induction=to_numpy(induction / n_repeated if n_repeated else induction * torch.nan),
    )


def attention_overview(maps: Sequence[npt.NDArray[np.uint8]], n_positions: int) -> AttentionOverview:
    """The `small_maps` of all layers together."""
    return AttentionOverview(np.stack(maps), n_positions, cell_size(n_positions))


def cell_size(n_positions: int) -> int:
    """Tokens a side that one cell of a small map stands for."""
    return -(-n_positions // POOLED_TO)


def head(cap: Capture, layer: int, head: int, position: int) -> Head:
    """One head and its inside for the query at a position."""
    values = cap.attention(layer)
    one = slice(head, head + 1)
    shown = around(position, len(cap), LARGEST_PATTERN)
    part = slice(shown.start, shown.stop)
    block = values.scores_of(one, part)[0]  # [shown, key]
    pattern = block.softmax(-1).masked_fill(block == -torch.inf, torch.nan)
    scores, weights = block[position - shown.start], pattern[position - shown.start].nan_to_num(0)  # [key]
    strongest = weights.sort(descending=True, stable=True).indices[: min(KEYS_SHOWN, int(scores.isfinite().sum()))]
    kv_head = head // cap.model.spec.group_size
    return Head(
        shown=shown,
        pattern=to_numpy(pattern[:, part]),
        query=to_numpy(values.rot_q[head, position]),
        scores=to_numpy(scores),
        weights=to_numpy(weights),
        strongest=strongest.numpy(),
        strongest_keys=to_numpy(values.rot_k[kv_head][strongest]),
        value_norm=to_numpy(values.v[kv_head].norm(dim=-1)),
        kv_head=kv_head,
        window=values.window,
    )


def check_attention(cap: Capture, layer: int) -> Check:
    """`steps.attention` against the head outputs of the model's own attention kernel.

    No token looks at a later one, so that of a long prompt the first tokens can be checked by themselves.
    """
    values = cap.attention(layer)
    n = min(len(cap), TOKENS_CHECKED)
    rot_q, rot_k, v = (tensor[:, :n] for tensor in (values.rot_q, values.rot_k, values.v))
    mine = attention_step(rot_q, rot_k, v, values.scale, values.softcap, values.window or n)
    part = f", first {n:,} tokens" if n < len(cap) else ""
    return check(attention_step, f"attention(rot_q, rot_k, v, scale, …), layer {layer}{part}", mine, values.z[:, :n])
