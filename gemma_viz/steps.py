"""Gemma in plain PyTorch: each step as one short function, for "The code" on the pages.

These run on the captured values and are compared there with what the model itself computed; nothing else on a page
comes from them. They show one prompt without a batch axis. Follows the style of Douglas Orr, "A transformer
walk-through, with Gemma" (2024).
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import gelu


def bpe(text: str, ids: dict[str, int]) -> list[list[str]]:
    pieces = []
    for character in text.replace(" ", "▁"):
        known = character in ids
        pieces += [character] if known else [f"<0x{byte:02X}>" for byte in character.encode()]
    states = [pieces]
    while True:  # join the pair whose union comes first in the vocabulary, until no union is in it
        unions = [ids.get(left + right, len(ids)) for left, right in pairwise(pieces)]
        if not unions or min(unions) == len(ids):
            return states  # the last one is the result
        first = unions.index(min(unions))
        pieces = [*pieces[:first], pieces[first] + pieces[first + 1], *pieces[first + 2 :]]
        states.append(pieces)


def embed(token_ids: Tensor, table: Tensor) -> Tensor:
    rows = table[token_ids]  # [position, d_model]
    d_model = rows.shape[-1]
    return rows * torch.tensor(d_model**0.5, dtype=rows.dtype)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    rms = (x.pow(2).mean(-1, keepdim=True) + eps).sqrt()  # [position, 1]
    return x / rms * (1 + weight)  # [position, d_model]


def rope(q: Tensor, theta: float, slower: float = 1.0) -> Tensor:
    _, n_positions, d_head = q.shape  # [head, position, d_head]
    frequency = 1 / theta ** (torch.arange(0, d_head, 2) / d_head)  # [pair], radians per position
    position = torch.arange(n_positions) / slower  # 8 in some layers of the larger Gemma 3
    angle = position[:, None] * frequency  # [position, pair]
    x, y = q.chunk(2, dim=-1)  # pair i is made of components i and i + d_head / 2
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([x * cos - y * sin, y * cos + x * sin], dim=-1)


def scores(rot_q: Tensor, rot_k: Tensor, scale: float, softcap: float | None) -> Tensor:
    group = len(rot_q) // len(rot_k)  # query heads that share one key head
    k = rot_k.repeat_interleave(group, 0)  # [head, key, d_head]
    scores = rot_q @ k.mT * scale  # [head, query, key]
    return softcap * torch.tanh(scores / softcap) if softcap else scores


def visible_only(scores: Tensor, window: int) -> Tensor:
    position = torch.arange(scores.shape[-1])
    distance = position[:, None] - position  # [query, key]
    return scores.masked_fill((distance < 0) | (distance >= window), -torch.inf)


def attention(
    rot_q: Tensor, rot_k: Tensor, v: Tensor, scale: float, softcap: float | None, window: int,
) -> Tensor:  # fmt: skip
    masked = visible_only(scores(rot_q, rot_k, scale, softcap), window)  # [head, query, key]
    pattern = masked.softmax(-1)  # rows sum to 1
    group = len(rot_q) // len(v)  # they share one value head, too
    return pattern @ v.repeat_interleave(group, 0)  # z: [head, query, d_head]


def mlp(x: Tensor, w_gate: Tensor, w_up: Tensor, w_down: Tensor) -> Tensor:
    gate, up = x @ w_gate.T, x @ w_up.T  # [position, d_mlp]
    return (gelu(gate, approximate="tanh") * up) @ w_down.T  # [position, d_model]


def greedy(token_ids: Tensor, n_new: int, logits_after: Callable[[Tensor], Tensor]) -> Tensor:
    for _ in range(n_new):
        logits = logits_after(token_ids)  # [vocab_size], the whole model on the whole text
        token_ids = torch.cat([token_ids, logits.argmax()[None]])
    return token_ids  # [position + n_new]


def unembed(x: Tensor, norm_weight: Tensor, eps: float, w_unembed: Tensor, softcap: float | None) -> Tensor:
    logits = rms_norm(x, norm_weight, eps) @ w_unembed.T  # [position, vocab_size]
    if softcap:
        logits = softcap * torch.tanh(logits / softcap)
    return logits  # logits.softmax(-1) are the probabilities
