"""Attention of one head: its pattern, and one query in numbers, from the products with the keys to what it reads."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import max_pool2d

from gemma_viz.attention import AttentionRule, seen_cells
from gemma_viz.capture import Capture
from gemma_viz.inside import Attention
from gemma_viz.stages import Check, Floats, around, check, counted, to_numpy
from gemma_viz.steps import attention as attention_step
from gemma_viz.steps import scores as scores_step
from gemma_viz.steps import visible_only

LARGEST_PATTERN = 384  # tokens a side of the large map: 0.6 MB of float32
POOLED_TO = 256  # cells a side of the map of a longer prompt
KEYS_SHOWN = 16
LINES_PER_QUERY = 16  # of the arcs between tokens
TOKENS_CHECKED = 1024  # by the written-out code, which makes whole patterns


@dataclass(frozen=True)
class Head:
    """One head's pattern.

    shown: range, positions that the pattern is about: all, or of a long prompt those around the query
    pattern: float32 [len(shown), len(shown)], query by key, NaN where the query may not look
    whole: float32 [cell, cell], the largest weight in each cell of the whole prompt; None where `pattern` is all
    cell: int, tokens a side of such a cell
    kv_head: int, the key/value head this query head reads
    rule: AttentionRule, of this layer: what a query may see
    """

    shown: range
    pattern: Floats
    whole: Floats | None
    cell: int
    kv_head: int
    rule: AttentionRule


@dataclass(frozen=True)
class Query:
    """One query of one head, step by step.

    q, z: float32 [d_head], the query after RoPE, and what the head read
    dots: float32 [key], q . k for every token of the prompt, hidden ones too
    rule: AttentionRule, by which they become
    scores: float32 [key], scaled (Gemma 2: soft-capped); -inf where the query may not look
    weights: float32 [key], softmax of the scores, sum to 1
    value_norms: float32 [key], length of each token's value: a large weight on a short value moves little
    strongest: int [k], the keys it reads most, by weight, at most `KEYS_SHOWN`
    strongest_keys, strongest_values: float32 [k, d_head], those keys after RoPE, and their values
    """

    q: Floats
    z: Floats
    dots: Floats
    rule: AttentionRule
    scores: Floats
    weights: Floats
    value_norms: Floats
    strongest: npt.NDArray[np.int64]
    strongest_keys: Floats
    strongest_values: Floats


@dataclass(frozen=True)
class Arcs:
    """For every query of a layer the keys that each head reads most.

    shown: range, the positions that are given
    keys: int32 [head, query, rank], relative to `shown`; weights: float32 [head, query, rank], 0 where there is none
    """

    shown: range
    keys: npt.NDArray[np.int32]
    weights: Floats


@counted
def head(cap: Capture, layer: int, head: int, position: int) -> Head:
    """One head's pattern, of a long prompt around a position."""
    values = cap.attention(layer)
    shown = around(position, len(cap), LARGEST_PATTERN)
    part = slice(shown.start, shown.stop)
    block = values.scores_of(slice(head, head + 1), part)[0]  # [shown, key]
    pattern = block.softmax(-1).masked_fill(block == -torch.inf, torch.nan)
    cell = -(-len(cap) // POOLED_TO)
    return Head(
        shown=shown,
        pattern=to_numpy(pattern[:, part]),
        whole=_pooled(values, head, cell) if len(shown) < len(cap) else None,
        cell=cell,
        kv_head=head // cap.model.spec.group_size,
        rule=values.rule,
    )


def _pooled(values: Attention, head: int, cell: int) -> Floats:
    """A head's whole pattern, the largest weight of each cell, a row of cells at a time: [cell, cell].

    NaN where nothing may be seen.
    """
    n = values.rot_q.shape[1]
    rows = []
    for top in range(0, n, cell):
        band = values.scores_of(slice(head, head + 1), slice(top, top + cell)).softmax(-1)  # [1, query, key]
        rows.append(max_pool2d(band, (band.shape[1], cell), ceil_mode=True)[0, 0])
    pooled = torch.stack(rows)
    return to_numpy(pooled.masked_fill(~seen_cells(values.rule, n, cell), torch.nan))


@counted
def query(cap: Capture, layer: int, head: int, position: int) -> Query:
    """One query of a head, from the products with the keys to what it reads."""
    values, kv_head = cap.attention(layer), head // cap.model.spec.group_size
    scores = values.scores_of(slice(head, head + 1), slice(position, position + 1))[0, 0]  # [key]
    weights = scores.softmax(-1)
    n_seen = int(scores.isfinite().sum())
    strongest = weights.sort(descending=True, stable=True).indices[: min(KEYS_SHOWN, n_seen)]
    return Query(
        q=to_numpy(values.rot_q[head, position]),
        z=to_numpy(values.z[head, position]),
        dots=to_numpy(values.rot_k[kv_head] @ values.rot_q[head, position]),
        rule=values.rule,
        scores=to_numpy(scores),
        weights=to_numpy(weights),
        value_norms=to_numpy(values.v[kv_head].norm(dim=-1)),
        strongest=strongest.numpy(),
        strongest_keys=to_numpy(values.rot_k[kv_head][strongest]),
        strongest_values=to_numpy(values.v[kv_head][strongest]),
    )


@counted
def arcs(cap: Capture, layer: int, position: int, width: int = 512) -> Arcs:
    """The strongest weights of every query of a layer, all heads, of a long prompt around a position."""
    values = cap.attention(layer)
    shown = around(position, len(cap), width)
    part = slice(shown.start, shown.stop)
    found = []
    for head in range(len(values.rot_q)):
        # The softmax is over all keys, those outside of the part that is shown too.
        pattern = values.scores_of(slice(head, head + 1), part)[0].softmax(-1)[:, part]  # [query, key]
        found.append(pattern.topk(min(LINES_PER_QUERY, len(shown))))
    return Arcs(
        shown=shown,
        keys=torch.stack([best.indices for best in found]).int().numpy(),
        weights=to_numpy(torch.stack([best.values for best in found])),
    )


@counted
def check_attention(cap: Capture, layer: int) -> Check:
    """`steps.attention` against the head outputs of the model's own attention kernel.

    No token looks at a later one, so that of a long prompt the first tokens can be checked by themselves.
    """
    values = cap.attention(layer)
    n = min(len(cap), TOKENS_CHECKED)
    rot_q, rot_k, v = (tensor[:, :n] for tensor in (values.rot_q, values.rot_k, values.v))
    mine = attention_step(rot_q, rot_k, v, values.rule.scale, values.rule.softcap, values.rule.window or n)
    part = f", first {n:,} tokens" if n < len(cap) else ""
    call = f"attention(rot_q, rot_k, v, scale, …), layer {layer}{part}"
    return check(attention_step, call, mine, values.z[:, :n], parts=(scores_step, visible_only))
