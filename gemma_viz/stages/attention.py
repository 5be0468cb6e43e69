"""Attention: what each head looks at; one head with its queries, keys, scores and pattern."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d

from gemma_viz.capture import Capture
from gemma_viz.stages import Check, Floats, check, to_numpy
from gemma_viz.steps import attention as attention_step

POOLED_TO = 48  # cells a side of one head's small map, at most


@dataclass(frozen=True)
class AttentionOverview:
    """Every head of every layer as a small picture.

    maps: uint8 [layer, head, row, column], attention weight of a query (row) on a key (column), 255 is 1. Longer
        prompts are pooled to at most `POOLED_TO` cells a side, each showing the largest weight in it
    n_positions: int, tokens of the prompt
    """

    maps: npt.NDArray[np.uint8]
    n_positions: int


@dataclass(frozen=True)
class Head:
    """One head, whole, and its inside for one query.

    pattern: float32 [query, key], NaN where the query may not look
    query, scores, weights: of the selected token: float32 [d_head] after RoPE, [key] and [key]; scores are -inf where
        the query may not look
    keys: float32 [key, d_head] after RoPE, of every token
    value_norm: float32 [key], length of each token's value: a large weight on a short value moves little
    kv_head: int, the key/value head this query head reads
    window: int or None, tokens a query of this layer sees, itself included
    """

    pattern: Floats
    query: Floats
    scores: Floats
    weights: Floats
    keys: Floats
    value_norm: Floats
    kv_head: int
    window: int | None


def attention_overview(cap: Capture, progress: Callable[[float], None] = lambda share: None) -> AttentionOverview:
    """Small maps of all heads, one layer in memory at a time. `progress` is called with the share done."""
    n_layers = cap.model.spec.n_layers
    maps = []
    for layer in range(n_layers):
        maps.append(_small(cap.attention(layer).pattern))
        progress((layer + 1) / n_layers)
    return AttentionOverview(np.stack(maps), len(cap))


def head(cap: Capture, layer: int, head: int, position: int) -> Head:
    """One head and its inside for the query at a position."""
    values = cap.attention(layer)
    scores = values.scores_of(slice(head, head + 1))[0]  # [query, key]
    pattern = scores.softmax(-1)
    kv_head = head // cap.model.spec.group_size
    return Head(
        pattern=to_numpy(pattern.masked_fill(scores == -torch.inf, torch.nan)),
        query=to_numpy(values.rot_q[head, position]),
        scores=to_numpy(scores[position]),
        weights=to_numpy(pattern[position]),
        keys=to_numpy(values.rot_k[kv_head]),
        value_norm=to_numpy(values.v[kv_head].norm(dim=-1)),
        kv_head=kv_head,
        window=values.window,
    )


def check_attention(cap: Capture, layer: int) -> Check:
    """`steps.attention` against the head outputs of the model's own attention kernel."""
    values = cap.attention(layer)
    window = values.window or len(cap)
    mine = attention_step(values.rot_q, values.rot_k, values.v, values.scale, values.softcap, window)
    return check(attention_step, f"attention(rot_q, rot_k, v, scale, …), layer {layer}", mine, values.z)


def _small(pattern: Tensor) -> npt.NDArray[np.uint8]:
    """uint8 [head, row, column] from [head, query, key]. Largest weights: thin lines are not averaged away."""
    side = min(pattern.shape[-1], POOLED_TO)
    return (adaptive_max_pool2d(pattern, side) * 255).round().to(torch.uint8).numpy()
