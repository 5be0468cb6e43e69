"""Hooks that stay on a model for good and act only for the run that asked for them.

A hook registered for one call would also see the calls other threads make on the same model meanwhile. So the
hooks here are registered once, right after loading, and look at a ContextVar: where no run of this thread is under
way they do nothing, and a plain forward pass gives what it gives without them.

A run can keep values (by reference, nothing is copied) and can leave steps out (`Edits`).
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from gemma_viz.edits import Edits
from gemma_viz.spec import ModelSpec

ATTENTION = "gemma_viz"  # the name under which transformers finds `_attention`

# A module of transformers with submodules of its own, which are not typed: a decoder layer, an attention.
Submodules = Any

STREAM = frozenset({"resid_pre", "resid_mid", "resid_post"})


@dataclass
class Run:
    """One pass, or the replay of one layer, and what it is to do.

    keep: names of the values to keep
    edits: the steps to leave out
    values: what was kept, by (name, layer), each with the batch axis the model gave it
    layer_calls: the keyword arguments each layer was called with, by layer
    """

    keep: Collection[str]
    edits: Edits
    values: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    layer_calls: dict[int, dict[str, Any]] = field(default_factory=dict)

    def see(self, name: str, layer: int, value: Tensor) -> None:
        if name in self.keep:
            self.values[name, layer] = value


_run: ContextVar[Run | None] = ContextVar("gemma_viz_run", default=None)


@contextmanager
def running(run: Run) -> Iterator[Run]:
    """Let the hooks of every model that this thread calls inside the block act for `run`."""
    token = _run.set(run)
    try:
        with torch.inference_mode():
            yield run
    finally:
        _run.reset(token)


def instrument(hf: PreTrainedModel, spec: ModelSpec) -> None:
    """Register the hooks, once, on a model that uses the attention `ATTENTION`."""
    hf.model.embed_tokens.register_forward_hook(_embedding_hook())
    hf.model.norm.register_forward_hook(_skip_hook("final_norm"))
    for index, layer in enumerate(hf.model.layers):
        _edit_layer(layer, spec)
        _probe_layer(layer, index, spec)


def _edit_layer(layer: Submodules, spec: ModelSpec) -> None:
    layer.input_layernorm.register_forward_hook(_skip_hook("norms"))
    layer.post_attention_layernorm.register_forward_hook(_skip_hook("norms"))
    if spec.post_norms:
        layer.pre_feedforward_layernorm.register_forward_hook(_skip_hook("norms"))
        layer.post_feedforward_layernorm.register_forward_hook(_skip_hook("norms"))
    _attention_update(layer, spec).register_forward_hook(_silence_hook("attention"))
    _mlp_update(layer, spec).register_forward_hook(_silence_hook("mlp"))


def _probe_layer(layer: Submodules, index: int, spec: ModelSpec) -> None:
    """One probe for each named value; after the edits, so that it sees what they leave."""
    attention, mlp = layer.self_attn, layer.mlp
    layer.register_forward_pre_hook(_layer_call_hook(index), with_kwargs=True)
    layer.register_forward_hook(_output_probe("resid_post", index))
    layer.input_layernorm.register_forward_hook(_output_probe("attn_in", index))
    (attention.q_norm if spec.qk_norm else attention.q_proj).register_forward_hook(_output_probe("q", index))
    (attention.k_norm if spec.qk_norm else attention.k_proj).register_forward_hook(_output_probe("k", index))
    attention.v_proj.register_forward_hook(_output_probe("v", index))
    attention.o_proj.register_forward_pre_hook(_input_probe("z", index))
    attention.o_proj.register_forward_hook(_output_probe("attn_projected", index))
    _attention_update(layer, spec).register_forward_hook(_output_probe("attn_out", index))
    mlp_norm = layer.pre_feedforward_layernorm if spec.post_norms else layer.post_attention_layernorm
    mlp_norm.register_forward_pre_hook(_input_probe("resid_mid", index))
    mlp_norm.register_forward_hook(_output_probe("mlp_in", index))
    mlp.gate_proj.register_forward_hook(_output_probe("gate", index))
    mlp.up_proj.register_forward_hook(_output_probe("up", index))
    mlp.down_proj.register_forward_pre_hook(_input_probe("act", index))
    mlp.register_forward_hook(_output_probe("mlp_projected", index))
    _mlp_update(layer, spec).register_forward_hook(_output_probe("mlp_out", index))


def _attention_update(layer: Submodules, spec: ModelSpec) -> nn.Module:
    """The module whose output is what attention adds to the stream."""
    return layer.post_attention_layernorm if spec.post_norms else layer.self_attn.o_proj


def _mlp_update(layer: Submodules, spec: ModelSpec) -> nn.Module:
    """The module whose output is what the MLP adds to the stream."""
    return layer.post_feedforward_layernorm if spec.post_norms else layer.mlp


def _output_probe(name: str, layer: int) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if run := _run.get():
            run.see(name, layer, output)

    return hook


def _input_probe(name: str, layer: int) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        if run := _run.get():
            run.see(name, layer, args[0])

    return hook


def _layer_call_hook(index: int) -> Callable[..., Any]:
    """Keeps what a layer is called with, and takes the rotation away where RoPE is off."""

    def hook(module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any]) -> Any:
        run = _run.get()
        if run is None:
            return None
        run.see("resid_pre", index, args[0])
        run.layer_calls[index] = kwargs
        if run.edits.rope:
            return None
        cos, sin = kwargs["position_embeddings"]
        return args, kwargs | {"position_embeddings": (torch.ones_like(cos), torch.zeros_like(sin))}

    return hook


def _embedding_hook() -> Callable[..., Tensor | None]:
    """The rows as they are stored, where the rescaling is off."""

    def hook(module: nn.Embedding, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        run = _run.get()
        if run is None or run.edits.embedding_scale:
            return None
        return nn.functional.embedding(args[0], module.weight)

    return hook


def _skip_hook(step: str) -> Callable[..., Tensor | None]:
    """The module hands on what it was given."""

    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        run = _run.get()
        return None if run is None or getattr(run.edits, step) else args[0]

    return hook


def _silence_hook(step: str) -> Callable[..., Tensor | None]:
    """The module gives zeros."""

    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        run = _run.get()
        return None if run is None or getattr(run.edits, step) else torch.zeros_like(output)

    return hook


def masked_scores(
    queries: Tensor, keys: Tensor, scale: float, softcap: float | None, causal: bool, window: int | None
) -> Tensor:
    """Attention scores, before the softmax, in float32.

    queries: [..., head, query, d_head], after RoPE
    keys: [..., head, key, d_head], after RoPE, those of the key/value head that each head reads; as many as queries
    returns [..., head, query, key]; -inf where the query may not look
    """
    scores = queries.float() @ keys.float().mT * scale  # [..., head, query, key]
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    return scores.masked_fill(hidden_keys(scores.shape[-1], causal, window, scores.device), -torch.inf)


def hidden_keys(n: int, causal: bool, window: int | None, device: torch.device) -> Tensor:
    """bool [query, key]: True where the key is later than the query, or outside its window."""
    if not causal:
        return torch.zeros(n, n, dtype=torch.bool, device=device)
    position = torch.arange(n, device=device)
    distance = position[:, None] - position  # [query, key]
    return (distance < 0) | (distance >= (window or n))


def _attention(
    module: Submodules,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    softcap: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' sdpa attention, seen by the run; written out where scores are soft-capped, which sdpa cannot do.

    query: [batch, head, position, d_head]; key, value: [batch, kv_head, position, d_head]
    returns z [batch, position, head, d_head], and None for the weights
    """
    run = _run.get()
    causal = run is None or run.edits.causal_mask
    if run is not None:
        run.see("rot_q", module.layer_idx, query)
        run.see("rot_k", module.layer_idx, key)
    if softcap is None:
        mask = attention_mask if causal else None
        return sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, is_causal=causal)
    keys, values = (shared.repeat_interleave(module.num_key_value_groups, dim=1) for shared in (key, value))
    scores = masked_scores(query, keys, scaling, softcap, causal, module.sliding_window)
    z = scores.softmax(-1).to(value.dtype) @ values
    return z.transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, _attention)
# Without a mask of its own name transformers would hand over None, and a sliding layer would see everything.
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
