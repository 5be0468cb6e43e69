"""Attention over long texts: the same sums as everywhere, made so that no [head, query, key] tensor is needed at once.

torch's fused kernel does it without where "causal" is all that is hidden. A sliding window, new tokens after old
ones, and Gemma 2's soft-cap need a mask or the scores themselves; these are made for a block of queries at a time, and
only for the keys that the block may see.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from gemma_viz.edits import Edits
from gemma_viz.spec import ModelSpec

QUERIES_AT_ONCE = 128


@dataclass(frozen=True)
class AttentionRule:
    """How the attention of one layer makes weights of queries and keys.

    scale: what q . k is multiplied with
    softcap: c in c * tanh(x / c) for the scaled products; None for none
    temperature: what the scores are divided by after that
    causal: hide later keys; False lets every query see every key, whatever the window
    window: how many keys a query sees, its own included; None for all before it
    """

    scale: float
    softcap: float | None = None
    temperature: float = 1.0
    causal: bool = True
    window: int | None = None

    @classmethod
    def of(cls, spec: ModelSpec, layer: int, edits: Edits) -> "AttentionRule":
        """The rule of a layer, as a run with these edits has it."""
        edits = edits.in_layer(layer)
        own_token_only = edits.pattern == "own"
        slides = spec.window(layer) is not None or spec.sliding_window is None
        return cls(
            # Scores that are all 0 give every key the same weight.
            scale=0.0 if edits.pattern == "uniform" else spec.attention_scale,
            softcap=spec.attention_softcap if edits.attention_softcap else None,
            temperature=edits.attention_temperature,
            causal=edits.causal_mask or own_token_only,
            window=1 if own_token_only else edits.window if edits.window and slides else spec.window(layer),
        )


def attend(queries: Tensor, keys: Tensor, values: Tensor, rule: AttentionRule) -> Tensor:
    """What attention reads: float [batch, head, query, d_head].

    queries: [batch, head, query, d_head], of the last positions of the text, or of all
    keys, values: [batch, kv_head, key, d_head], of all positions; heads share them in groups
    """
    if rule.scale == 0:  # torch's fused kernel would multiply the -inf of hidden scores with it, to NaN
        queries, rule = torch.zeros_like(queries), replace(rule, scale=1.0)
    n_queries, n_keys = queries.shape[-2], keys.shape[-2]
    first = n_keys - n_queries
    windowed = rule.causal and rule.window is not None and rule.window < n_keys
    whole = not rule.causal or first == 0 or n_queries == 1
    if rule.softcap is None and whole and not windowed:
        scale = rule.scale / rule.temperature
        if scale == 0:  # the kernel multiplies its own mask with the scale, to NaN
            queries, scale = torch.zeros_like(queries), 1.0
        return scaled_dot_product_attention(
            queries,
            keys,
            values,
            scale=scale,
            is_causal=rule.causal and n_queries > 1,
            enable_gqa=queries.shape[1] != keys.shape[1],
        )
    group_size = queries.shape[1] // keys.shape[1]
    keys, values = (shared.repeat_interleave(group_size, dim=1) for shared in (keys, values))
    z = torch.empty_like(queries)
    for start in range(0, n_queries, QUERIES_AT_ONCE):
        rows = range(first + start, min(first + start + QUERIES_AT_ONCE, n_keys))
        seen = seen_keys(rows, n_keys, rule)
        part = slice(start, start + len(rows))
        block = queries[..., part, :], keys[..., seen.start : seen.stop, :], values[..., seen.start : seen.stop, :]
        z[..., part, :] = _attend_block(*block, hidden_keys(rows, seen, rule, queries.device), rule)
    return z


def _attend_block(queries: Tensor, keys: Tensor, values: Tensor, hidden: Tensor, rule: AttentionRule) -> Tensor:
    if rule.softcap is None:
        scale = rule.scale / rule.temperature
        return scaled_dot_product_attention(queries, keys, values, attn_mask=~hidden, scale=scale)
    scores = masked_scores(queries, keys, hidden, rule)
    return scores.softmax(-1).to(values.dtype) @ values


def masked_scores(queries: Tensor, keys: Tensor, hidden: Tensor, rule: AttentionRule) -> Tensor:
    """Attention scores, before the softmax: float32 [..., head, query, key], -inf where the query may not look.

    queries: [..., head, query, d_head], after RoPE
    keys: [..., head, key, d_head], after RoPE, those of the key/value head that each head reads
    hidden: bool [query, key], from `hidden_keys`
    """
    scores = queries.float() @ keys.float().mT  # [..., head, query, key]
    scores *= rule.scale
    if rule.softcap is not None:
        scores = rule.softcap * torch.tanh(scores / rule.softcap)
    return scores.div_(rule.temperature).masked_fill_(hidden, -torch.inf)


def seen_keys(queries: range, n_keys: int, rule: AttentionRule) -> range:
    """The keys that at least one of some neighbouring queries may look at."""
    if not rule.causal:
        return range(n_keys)
    return range(max(0, queries.start - rule.window + 1) if rule.window else 0, queries.stop)


def seen_cells(rule: AttentionRule, n_positions: int, cell: int) -> Tensor:
    """bool [row, column], cells of some tokens a side: whether a query of the row may look at a key of the column."""
    first = torch.arange(0, n_positions, cell)
    if not rule.causal:
        return torch.ones(len(first), len(first), dtype=torch.bool)
    last = (first + cell).clamp_max(n_positions) - 1
    nearest = first[:, None] - last  # [row, column], the least that a key stands back
    return (first <= last[:, None]) & (nearest < (rule.window or n_positions))


def hidden_keys(queries: range, keys: range, rule: AttentionRule, device: torch.device) -> Tensor:
    """bool [query, key]: True where the key is later than the query, or outside its window.

    queries, keys: the positions that are asked about
    """
    if not rule.causal:
        return torch.zeros(len(queries), len(keys), dtype=torch.bool, device=device)
    query = torch.arange(queries.start, queries.stop, device=device)
    key = torch.arange(keys.start, keys.stop, device=device)
    distance = query[:, None] - key  # [query, key]
    return (distance < 0) | (distance >= (rule.window or queries.stop))
