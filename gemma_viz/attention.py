"""Attention over long texts: the same sums as everywhere, made so that no [head, query, key] tensor is needed at once.

torch's fused kernel does it without where "causal" is all that is hidden. A sliding window, new tokens after old
ones, and Gemma 2's soft-cap need a mask or the scores themselves; these are made for a block of queries at a time, and
only for the keys that the block may see.
"""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

QUERIES_AT_ONCE = 128


def attend(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    scale: float,
    softcap: float | None = None,
    causal: bool = True,
    window: int | None = None,
) -> Tensor:
    """What attention reads: float [batch, head, query, d_head].

    queries: [batch, head, query, d_head], of the last positions of the text, or of all
    keys, values: [batch, kv_head, key, d_head], of all positions; heads share them in groups
    causal: False lets every query see every key, whatever the window
    window: how many keys a query sees, its own included; None for all before it
    """
    n_queries, n_keys = queries.shape[-2], keys.shape[-2]
    first = n_keys - n_queries
    windowed = causal and window is not None and window < n_keys
    whole = not causal or first == 0 or n_queries == 1
    if softcap is None and whole and not windowed:
        is_causal = causal and n_queries > 1
        return scaled_dot_product_attention(
            queries, keys, values, scale=scale, is_causal=is_causal, enable_gqa=queries.shape[1] != keys.shape[1]
        )
    group_size = queries.shape[1] // keys.shape[1]
    keys, values = (shared.repeat_interleave(group_size, dim=1) for shared in (keys, values))
    z = torch.empty_like(queries)
    for start in range(0, n_queries, QUERIES_AT_ONCE):
        rows = range(first + start, min(first + start + QUERIES_AT_ONCE, n_keys))
        seen = seen_keys(rows, n_keys, causal, window)
        part = slice(start, start + len(rows))
        block = queries[..., part, :], keys[..., seen.start : seen.stop, :], values[..., seen.start : seen.stop, :]
        hidden = hidden_keys(rows, seen, causal, window, queries.device)
        z[..., part, :] = _attend_block(*block, hidden, scale, softcap)
    return z


def _attend_block(
    queries: Tensor, keys: Tensor, values: Tensor, hidden: Tensor, scale: float, softcap: float | None
) -> Tensor:
    if softcap is None:
        return scaled_dot_product_attention(queries, keys, values, attn_mask=~hidden, scale=scale)
    scores = masked_scores(queries, keys, hidden, scale, softcap)
    return scores.softmax(-1).to(values.dtype) @ values


def masked_scores(queries: Tensor, keys: Tensor, hidden: Tensor, scale: float, softcap: float | None) -> Tensor:
    """Attention scores, before the softmax: float32 [..., head, query, key], -inf where the query may not look.

    queries: [..., head, query, d_head], after RoPE
    keys: [..., head, key, d_head], after RoPE, those of the key/value head that each head reads
    hidden: bool [query, key], from `hidden_keys`
    """
    scores = queries.float() @ keys.float().mT  # [..., head, query, key]
    scores *= scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    return scores.masked_fill_(hidden, -torch.inf)


def seen_keys(queries: range, n_keys: int, causal: bool, window: int | None) -> range:
    """The keys that at least one of some neighbouring queries may look at."""
    if not causal:
        return range(n_keys)
    return range(max(0, queries.start - window + 1) if window else 0, queries.stop)


def hidden_keys(queries: range, keys: range, causal: bool, window: int | None, device: torch.device) -> Tensor:
    """bool [query, key]: True where the key is later than the query, or outside its window.

    queries, keys: the positions that are asked about
    """
    if not causal:
        return torch.zeros(len(queries), len(keys), dtype=torch.bool, device=device)
    query = torch.arange(queries.start, queries.stop, device=device)
    key = torch.arange(keys.start, keys.stop, device=device)
    distance = query[:, None] - key  # [query, key]
    return (distance < 0) | (distance >= (window or queries.stop))
