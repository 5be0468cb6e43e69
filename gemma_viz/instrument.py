"""Hooks that stay on a model for good and act only for the run that asked for them.

A hook registered for one call would also see the calls other threads make on the same model meanwhile. So the
hooks here are registered once, right after loading, and look for the run of this thread (`gemma_viz.run`): where none
is under way they do nothing, and a plain forward pass gives what it gives without them.

Here is where each hook stands; what it does there is in `gemma_viz.hooks`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from accelerate.hooks import remove_hook_from_submodules
from accelerate.utils import send_to_device
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, eager_mask, sdpa_mask
from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward

from gemma_viz import hooks
from gemma_viz.attention import AttentionRule, attend
from gemma_viz.run import current
from gemma_viz.spec import ModelSpec

ATTENTION = "gemma_viz"  # the name under which transformers finds `_attention`

# A module of transformers with submodules of its own, which are not typed: a decoder layer, an attention.
Submodules = Any

_interrupt: ContextVar[Callable[[], None]] = ContextVar("gemma_viz_interrupt", default=lambda: None)


@contextmanager
def interrupted_by(interrupt: Callable[[], None]) -> Iterator[None]:
    """Ask, before every layer that this thread calls inside the block, whether to go on: `interrupt` raises if not."""
    token = _interrupt.set(interrupt)
    try:
        yield
    finally:
        _interrupt.reset(token)


def instrument(hf: PreTrainedModel, spec: ModelSpec) -> None:
    """Let a model use the attention `ATTENTION`, and register the hooks; one that has them already is left as it is."""
    if hasattr(hf.model.layers[0].self_attn, "gemma_viz_spec"):
        return
    hf.set_attn_implementation(ATTENTION)
    if len({parameter.device for parameter in hf.parameters()}) > 1:
        _lead_over_devices(hf)
    hf.model.embed_tokens.register_forward_hook(hooks.embedding())
    hf.model.norm.register_forward_hook(hooks.skip(("final_norm",)))
    for index, layer in enumerate(hf.model.layers):
        for module in layer.modules():
            if isinstance(module, nn.Linear) and module.bias is None:
                module.forward = hooks.linear_forward(module, index)
        layer.self_attn.gemma_viz_spec = spec  # what `_attention` is to do, which transformers calls with the module
        _edit_layer(layer, index, spec)
        _probe_layer(layer, index, spec)
        layer.register_forward_pre_hook(hooks.rotation(index, hf, spec), with_kwargs=True)


def _lead_over_devices(hf: PreTrainedModel) -> None:
    """Take what each part of the model is given to where its weights are.

    A model comes out of `from_pretrained` with accelerate's hooks for this. They act in `forward`: after the probes,
    and not at all where a run has a `forward` of its own. So they make way for hooks that are the first of all.
    """
    remove_hook_from_submodules(hf)
    for module in (hf.model.embed_tokens, *hf.model.layers, hf.model.norm, hf.lm_head):
        module.register_forward_pre_hook(_to_its_device, with_kwargs=True)


def _to_its_device(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    device = next(module.parameters()).device
    return send_to_device(args, device), send_to_device(kwargs, device, skip_keys="past_key_values")


def _edit_layer(layer: Submodules, index: int, spec: ModelSpec) -> None:
    attention_norms, mlp_norms = ("norms", "attention_norms"), ("norms", "mlp_norms")
    layer.forward = _layer_forward(layer, index, spec)
    layer.input_layernorm.register_forward_hook(hooks.skip(attention_norms, index))
    norm_before_mlp(layer, spec).register_forward_hook(hooks.skip(mlp_norms, index))
    if spec.post_norms:
        layer.post_attention_layernorm.register_forward_hook(hooks.skip(attention_norms, index))
        layer.post_feedforward_layernorm.register_forward_hook(hooks.skip(mlp_norms, index))
    _attention_update(layer, spec).register_forward_hook(hooks.silence("attention", index))
    _mlp_update(layer, spec).register_forward_hook(hooks.silence("mlp", index))
    layer.mlp.act_fn.register_forward_hook(hooks.activation(index))
    layer.self_attn.o_proj.register_forward_pre_hook(hooks.without_parts("without_heads", index, spec.d_head))
    layer.mlp.down_proj.register_forward_pre_hook(hooks.without_parts("without_neurons", index, 1))
    if spec.qk_norm:
        layer.self_attn.q_norm.register_forward_hook(hooks.skip(("qk_norms",), index))
        layer.self_attn.k_norm.register_forward_hook(hooks.skip(("qk_norms",), index))
    layer.register_forward_pre_hook(hooks.input_injection("resid_pre", index))
    layer.self_attn.o_proj.register_forward_pre_hook(hooks.input_injection("z", index))
    _attention_update(layer, spec).register_forward_hook(hooks.output_injection("attn_out", index))
    _mlp_update(layer, spec).register_forward_hook(hooks.output_injection("mlp_out", index))


def _probe_layer(layer: Submodules, index: int, spec: ModelSpec) -> None:
    """One probe for each named value; after the edits, so that it sees what they leave."""
    attention, mlp = layer.self_attn, layer.mlp
    layer.register_forward_pre_hook(hooks.input_probe("resid_pre", index))
    layer.register_forward_hook(hooks.output_probe("resid_post", index))
    layer.input_layernorm.register_forward_hook(hooks.output_probe("attn_in", index))
    (attention.q_norm if spec.qk_norm else attention.q_proj).register_forward_hook(hooks.output_probe("q", index))
    (attention.k_norm if spec.qk_norm else attention.k_proj).register_forward_hook(hooks.output_probe("k", index))
    attention.v_proj.register_forward_hook(hooks.output_probe("v", index))
    attention.o_proj.register_forward_pre_hook(hooks.input_probe("z", index))
    attention.o_proj.register_forward_hook(hooks.output_probe("attn_projected", index))
    _attention_update(layer, spec).register_forward_hook(hooks.output_probe("attn_out", index))
    mlp_norm = norm_before_mlp(layer, spec)
    mlp_norm.register_forward_pre_hook(hooks.input_probe("resid_mid", index))
    mlp_norm.register_forward_hook(hooks.output_probe("mlp_in", index))
    mlp.gate_proj.register_forward_hook(hooks.output_probe("gate", index))
    mlp.up_proj.register_forward_hook(hooks.output_probe("up", index))
    mlp.down_proj.register_forward_pre_hook(hooks.input_probe("act", index))
    mlp.register_forward_hook(hooks.output_probe("mlp_projected", index))
    _mlp_update(layer, spec).register_forward_hook(hooks.output_probe("mlp_out", index))


def norm_before_mlp(layer: Submodules, spec: ModelSpec) -> Submodules:
    """Gemma 1 calls it by the name that Gemma 2 and 3 give to the norm after the attention."""
    return layer.pre_feedforward_layernorm if spec.post_norms else layer.post_attention_layernorm


def _attention_update(layer: Submodules, spec: ModelSpec) -> nn.Module:
    """The module whose output is what attention adds to the stream."""
    return layer.post_attention_layernorm if spec.post_norms else layer.self_attn.o_proj


def _mlp_update(layer: Submodules, spec: ModelSpec) -> nn.Module:
    """The module whose output is what the MLP adds to the stream."""
    return layer.post_feedforward_layernorm if spec.post_norms else layer.mlp


def _layer_forward(layer: Submodules, index: int, spec: ModelSpec) -> Callable[..., Tensor]:
    """A layer without one of its residual connections, or with both: then it is transformers' own."""
    plain: Callable[..., Tensor] = layer.forward

    def forward(hidden_states: Tensor, **kwargs: Any) -> Tensor:
        _interrupt.get()()
        run = current()
        if run is None or all(run.edits.takes(step, index) for step in ("attention_residual", "mlp_residual")):
            return plain(hidden_states, **kwargs)
        update: Tensor
        update, _ = layer.self_attn(hidden_states=layer.input_layernorm(hidden_states), **kwargs)
        if spec.post_norms:
            update = layer.post_attention_layernorm(update)
        middle = hidden_states + update if run.edits.takes("attention_residual", index) else update
        update = layer.mlp(norm_before_mlp(layer, spec)(middle))
        if spec.post_norms:
            update = layer.post_feedforward_layernorm(update)
        return middle + update if run.edits.takes("mlp_residual", index) else update

    return forward


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
) -> tuple[Tensor, Tensor | None]:
    """Attention that a run can see into; outside a run transformers' own, sdpa or (soft-capped) eager.

    query: [batch, head, query, d_head]; key, value: [batch, kv_head, key, d_head]
    returns z [batch, query, head, d_head]
    """
    run = current()
    if run is None:
        theirs = sdpa_attention_forward if softcap is None else eager_attention_forward
        return theirs(module, query, key, value, attention_mask, scaling=scaling, softcap=softcap, **kwargs)
    edits, layer = run.edits.in_layer(module.layer_idx), module.layer_idx
    if edits.queries_from:
        sources = dict(edits.queries_from)
        query = query[:, [sources.get(head, head) for head in range(query.shape[1])]]
    run.see("rot_q", layer, query)
    run.see("rot_k", layer, key)
    run.see("values", layer, value)
    rule = AttentionRule.of(module.gemma_viz_spec, layer, run.edits)
    if run.lengths:
        texts = zip(*(torch.split(tensor, list(run.lengths), dim=2) for tensor in (query, key, value)), strict=True)
        z = torch.cat([attend(q, k, v, rule) for q, k, v in texts], dim=2)
    else:
        z = attend(query, key, value, rule)
    return z.transpose(1, 2).contiguous(), None


def _mask(config: PreTrainedConfig, **kwargs: Any) -> Tensor | None:
    """None during a run, whose attention hides keys by itself; a [query, key] mask would grow with tokens squared."""
    if current():
        return None
    softcap = getattr(config, "attn_logit_softcapping", None)
    return (eager_mask if softcap and config.model_type == "gemma2" else sdpa_mask)(config=config, **kwargs)


AttentionInterface.register(ATTENTION, _attention)
# Without a mask of its own name transformers would hand over None outside a run too, and every token would see all.
AttentionMaskInterface.register(ATTENTION, _mask)
