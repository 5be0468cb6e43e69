"""Gemma 1, 2 and 3 in plain PyTorch, with every change that `Edits` has: what the engine is compared with.

It shares nothing with gemma_viz but the value that says what to change, and reads it by its description alone. One
text without a batch axis, float32, one head after the other; `test_plain_gemma.py` compares it with transformers.
Follows the style of Douglas Orr, "A transformer walk-through, with Gemma" (2024).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import gelu
from transformers import PreTrainedConfig

from gemma_viz import Edits

# By the names they have in a checkpoint; those of one layer without "model.layers.3." and ".weight".
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Pass:
    """One run. Float32 tensors.

    streams: what enters each layer, and what leaves the last, each [position, d_model]
    patterns: of each layer, [head, query, key]
    logits: [position, vocab]
    """

    streams: list[Tensor]
    patterns: list[Tensor]
    logits: Tensor


@torch.no_grad()
def run_plain(weights: Weights, config: PreTrainedConfig, token_ids: Tensor, edits: Edits) -> Pass:
    """Run a checkpoint over token ids [position]."""
    weights = {name: weight.float() for name, weight in weights.items()}
    stream = embed(token_ids, weights["model.embed_tokens.weight"], edits)  # [position, d_model]
    streams, patterns = [stream], []
    for layer in range(config.num_hidden_layers):
        stream, pattern = run_layer(layer, stream, weights, config, changes_in(layer, edits))
        streams.append(stream)
        patterns.append(pattern)
    return Pass(streams, patterns, unembed(stream, weights, config, edits))


def changes_in(layer: int, edits: Edits) -> Edits:
    """A layer that is not among the chosen ones only loses the heads and neurons that name it."""
    if edits.layers is None or layer in edits.layers:
        return edits
    return Edits(without_heads=edits.without_heads, without_neurons=edits.without_neurons, removal=edits.removal)


def embed(token_ids: Tensor, table: Tensor, edits: Edits) -> Tensor:
    rows = table[token_ids]  # [position, d_model]
    if not edits.embedding_scale:
        return rows
    return rows * (rows.shape[-1] ** 0.5 if edits.embedding_factor is None else edits.embedding_factor)


def run_layer(
    layer: int, stream: Tensor, weights: Weights, config: PreTrainedConfig, edits: Edits
) -> tuple[Tensor, Tensor]:
    w = layer_weights(weights, layer, edits)
    eps, four_norms = config.rms_norm_eps, "pre_feedforward_layernorm" in w
    attention_norms = edits.norms and edits.attention_norms
    mlp_norms = edits.norms and edits.mlp_norms

    x = rms_norm(stream, w["input_layernorm"], eps) if attention_norms else stream
    given, pattern = attention(layer, x, w, config, edits)
    if four_norms and attention_norms:
        given = rms_norm(given, w["post_attention_layernorm"], eps)
    if not edits.attention:
        given = left_out(given, edits)
    stream = stream + given if edits.attention_residual else given

    before_mlp = w["pre_feedforward_layernorm" if four_norms else "post_attention_layernorm"]
    x = rms_norm(stream, before_mlp, eps) if mlp_norms else stream
    given = mlp(layer, x, w, edits)
    if four_norms and mlp_norms:
        given = rms_norm(given, w["post_feedforward_layernorm"], eps)
    if not edits.mlp:
        given = left_out(given, edits)
    stream = stream + given if edits.mlp_residual else given
    return stream, pattern


def layer_weights(weights: Weights, layer: int, edits: Edits) -> Weights:
    prefix = f"model.layers.{layer}."
    own = {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}
    own = {name.removesuffix(".weight"): weight for name, weight in own.items()}
    if edits.weight_bits is None:
        return own
    return {name: rounded(weight, edits.weight_bits) if weight.dim() == 2 else weight for name, weight in own.items()}


def rounded(matrix: Tensor, bits: int) -> Tensor:
    """Every row to whole steps, evenly from minus to plus its largest absolute weight."""
    step = matrix.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)  # [row, 1], a row for each output
    return torch.where(step > 0, (matrix / step).round() * step, matrix)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * (1 + weight)


def left_out(x: Tensor, edits: Edits) -> Tensor:
    """What stands in its place: zeros, or at every position the mean over all positions."""
    if edits.removal == "zero":
        return torch.zeros_like(x)
    return x.mean(0).repeat(len(x), 1)


def attention(layer: int, x: Tensor, w: Weights, config: PreTrainedConfig, edits: Edits) -> tuple[Tensor, Tensor]:
    n_heads, n_kv_heads = config.num_attention_heads, config.num_key_value_heads
    q = split_heads(x @ w["self_attn.q_proj"].T, n_heads)  # [head, position, d_head]
    k = split_heads(x @ w["self_attn.k_proj"].T, n_kv_heads)
    v = split_heads(x @ w["self_attn.v_proj"].T, n_kv_heads)
    if "self_attn.q_norm" in w and edits.qk_norms:
        q = rms_norm(q, w["self_attn.q_norm"], config.rms_norm_eps)
        k = rms_norm(k, w["self_attn.k_norm"], config.rms_norm_eps)
    if edits.rope:
        q, k = rotate(q, layer, config, edits), rotate(k, layer, config, edits)
    source = dict(edits.queries_from)
    seen = visible(layer, len(x), config, edits)  # [query, key]
    patterns, z = [], []
    for head in range(n_heads):
        shared = head * n_kv_heads // n_heads  # its key/value head
        pattern = head_pattern(q[source.get(head, head)], k[shared], seen, config, edits)
        read = pattern @ v[shared]  # [position, d_head]
        patterns.append(pattern)
        z.append(left_out(read, edits) if (layer, head) in edits.without_heads else read)
    return torch.cat(z, -1) @ w["self_attn.o_proj"].T, torch.stack(patterns)


def split_heads(x: Tensor, n_heads: int) -> Tensor:
    return torch.stack(x.chunk(n_heads, -1))


def rotate(x: Tensor, layer: int, config: PreTrainedConfig, edits: Edits) -> Tensor:
    """Turn queries or keys [head, position, d_head]."""
    own = config.rope_parameters
    if config.model_type == "gemma3_text":
        own = own[config.layer_types[layer]]
    d_head, theta = x.shape[-1], edits.rope_theta or own["rope_theta"]
    frequency = 1 / theta ** (torch.arange(0, d_head, 2) / d_head)  # [pair], radians per position
    frequency = frequency / own.get("factor", 1)  # large Gemma 3s turn more slowly, in their full layers
    angle = moved_positions(x.shape[1], edits)[:, None] * frequency  # [position, pair]
    cos, sin = angle.cos(), angle.sin()
    first, second = x.chunk(2, -1)  # pair i is made of components i and i + d_head / 2
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def moved_positions(n: int, edits: Edits) -> Tensor:
    order = torch.arange(n)
    if edits.rope_shuffle is not None:
        order = torch.randperm(n, generator=torch.Generator().manual_seed(edits.rope_shuffle))
    return order * edits.rope_stretch + edits.rope_shift


def visible(layer: int, n: int, config: PreTrainedConfig, edits: Edits) -> Tensor:
    """bool [query, key]: whether the query may look at the key."""
    if not edits.causal_mask:
        return torch.ones(n, n, dtype=torch.bool)
    kinds = getattr(config, "layer_types", None) or []
    window = n
    if "sliding_attention" not in kinds:
        window = edits.window or n
    elif kinds[layer] == "sliding_attention":
        window = edits.window or config.sliding_window
    return torch.tensor([[query - window < key <= query for key in range(n)] for query in range(n)])


def head_pattern(q: Tensor, k: Tensor, seen: Tensor, config: PreTrainedConfig, edits: Edits) -> Tensor:
    """[query, key] of one head."""
    if edits.pattern == "uniform":
        return seen / seen.sum(-1, keepdim=True)
    if edits.pattern == "own":
        return torch.eye(len(q))
    scale = config.head_dim if config.model_type == "gemma" else config.query_pre_attn_scalar
    scores = q @ k.T / scale**0.5
    if config.model_type == "gemma2" and edits.attention_softcap:
        scores = soft_capped(scores, config.attn_logit_softcapping)
    return (scores / edits.attention_temperature).masked_fill(~seen, -torch.inf).softmax(-1)


def soft_capped(x: Tensor, cap: float) -> Tensor:
    return cap * torch.tanh(x / cap)


def mlp(layer: int, x: Tensor, w: Weights, edits: Edits) -> Tensor:
    act = x @ w["mlp.up_proj"].T  # [position, d_mlp]
    if edits.gate:
        act = act * activated(x @ w["mlp.gate_proj"].T, edits)
    for where, neuron in edits.without_neurons:
        if where == layer:
            act[:, [neuron]] = left_out(act[:, [neuron]], edits)
    return act @ w["mlp.down_proj"].T


def activated(gate: Tensor, edits: Edits) -> Tensor:
    if edits.activation == "gelu":
        return gelu(gate, approximate="tanh")
    if edits.activation == "gelu_exact":
        return gate * (1 + torch.erf(gate / 2**0.5)) / 2
    return gate.clamp_min(0) if edits.activation == "relu" else gate


def unembed(stream: Tensor, weights: Weights, config: PreTrainedConfig, edits: Edits) -> Tensor:
    x = rms_norm(stream, weights["model.norm.weight"], config.rms_norm_eps) if edits.final_norm else stream
    logits = x @ output_matrix(weights, edits).T  # [position, vocab]
    cap = getattr(config, "final_logit_softcapping", None)
    return soft_capped(logits, cap) if cap and edits.final_softcap else logits


def output_matrix(weights: Weights, edits: Edits) -> Tensor:
    table = weights["model.embed_tokens.weight"]  # [vocab, d_model]
    if edits.unembedding_seed is None:
        return weights.get("lm_head.weight", table)
    generator = torch.Generator().manual_seed(edits.unembedding_seed)
    rms = table.pow(2).mean().sqrt()
    return (torch.randn(table.shape, generator=generator) * rms).bfloat16().float()
