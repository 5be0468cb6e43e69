"""Hooks that stay on a model for good and act only for the run that asked for them.

A hook registered for one call would also see the calls other threads make on the same model meanwhile. So the
hooks here are registered once, right after loading, and look at a ContextVar: where no run of this thread is under
way they do nothing, and a plain forward pass gives what it gives without them.

A run can keep values (by reference, nothing is copied) and can leave steps out (`Edits`).
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, eager_mask, sdpa_mask
from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward

from gemma_viz.attention import attend
from gemma_viz.edits import Activation, Edits
from gemma_viz.linear import linear
from gemma_viz.spec import ModelSpec

ATTENTION = "gemma_viz"  # the name under which transformers finds `_attention`

ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "gelu_exact": nn.functional.gelu,
    "relu": nn.functional.relu,
    "identity": lambda gate: gate,
}

# A module of transformers with submodules of its own, which are not typed: a decoder layer, an attention.
Submodules = Any


class SeenEnough(Exception):
    """Ends a replay once the last value that was asked for is there; never leaves this package."""


@dataclass
class Run:
    """One pass, or the replay of one layer, and what it is to do.

    keep: names of the values to keep
    edits: the steps to leave out
    until: the name of the value after which nothing more is needed; None runs to the end
    values: what was kept, by (name, layer), each with the batch axis the model gave it
    """

    keep: Collection[str]
    edits: Edits
    until: str | None = None
    values: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    def see(self, name: str, layer: int, value: Tensor) -> None:
        if name in self.keep:
            self.values[name, layer] = value
        if name == self.until:
            raise SeenEnough


_run: ContextVar[Run | None] = ContextVar("gemma_viz_run", default=None)


@contextmanager
def running(run: Run) -> Iterator[Run]:
    """Let the hooks of every model that this thread calls inside the block act for `run`."""
    token = _run.set(run)
    try:
        with torch.inference_mode(), suppress(SeenEnough):
            yield run
    finally:
        _run.reset(token)


def instrument(hf: PreTrainedModel, spec: ModelSpec) -> None:
    """Register the hooks, once, on a model that uses the attention `ATTENTION`."""
    for module in hf.model.layers.modules():
        if isinstance(module, nn.Linear) and module.bias is None:
            module.forward = _linear_forward(module)
    hf.model.embed_tokens.register_forward_hook(_embedding_hook())
    hf.model.norm.register_forward_hook(_skip_hook(("final_norm",)))
    for index, layer in enumerate(hf.model.layers):
        _edit_layer(layer, index, spec)
        _probe_layer(layer, index, spec)
        layer.register_forward_pre_hook(_rope_hook(index, hf, spec), with_kwargs=True)


def _edit_layer(layer: Submodules, index: int, spec: ModelSpec) -> None:
    attention_norms, mlp_norms = ("norms", "attention_norms"), ("norms", "mlp_norms")
    layer.input_layernorm.register_forward_hook(_skip_hook(attention_norms, index))
    norm_before_mlp(layer, spec).register_forward_hook(_skip_hook(mlp_norms, index))
    if spec.post_norms:
        layer.post_attention_layernorm.register_forward_hook(_skip_hook(attention_norms, index))
        layer.post_feedforward_layernorm.register_forward_hook(_skip_hook(mlp_norms, index))
    _attention_update(layer, spec).register_forward_hook(_silence_hook("attention", index))
    _mlp_update(layer, spec).register_forward_hook(_silence_hook("mlp", index))
    layer.mlp.act_fn.register_forward_hook(_activation_hook(index))


def _probe_layer(layer: Submodules, index: int, spec: ModelSpec) -> None:
    """One probe for each named value; after the edits, so that it sees what they leave."""
    attention, mlp = layer.self_attn, layer.mlp
    layer.register_forward_pre_hook(_input_probe("resid_pre", index))
    layer.register_forward_hook(_output_probe("resid_post", index))
    layer.input_layernorm.register_forward_hook(_output_probe("attn_in", index))
    (attention.q_norm if spec.qk_norm else attention.q_proj).register_forward_hook(_output_probe("q", index))
    (attention.k_norm if spec.qk_norm else attention.k_proj).register_forward_hook(_output_probe("k", index))
    attention.v_proj.register_forward_hook(_output_probe("v", index))
    attention.o_proj.register_forward_pre_hook(_input_probe("z", index))
    attention.o_proj.register_forward_hook(_output_probe("attn_projected", index))
    _attention_update(layer, spec).register_forward_hook(_output_probe("attn_out", index))
    mlp_norm = norm_before_mlp(layer, spec)
    mlp_norm.register_forward_pre_hook(_input_probe("resid_mid", index))
    mlp_norm.register_forward_hook(_output_probe("mlp_in", index))
    mlp.gate_proj.register_forward_hook(_output_probe("gate", index))
    mlp.up_proj.register_forward_hook(_output_probe("up", index))
    mlp.down_proj.register_forward_pre_hook(_input_probe("act", index))
    mlp.register_forward_hook(_output_probe("mlp_projected", index))
    _mlp_update(layer, spec).register_forward_hook(_output_probe("mlp_out", index))


def norm_before_mlp(layer: Submodules, spec: ModelSpec) -> Submodules:
    """Gemma 1 calls it by the name that Gemma 2 and 3 give to the norm after the attention."""
    return layer.pre_feedforward_layernorm if spec.post_norms else layer.post_attention_layernorm


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


def _rope_hook(index: int, hf: PreTrainedModel, spec: ModelSpec) -> Callable[..., Any]:
    """Other rotations for a layer, where they are left out or the positions are changed."""

    def hook(module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any]) -> Any:
        run = _run.get()
        if run is None or not run.edits.act_in(index):
            return None
        edits = run.edits
        if not edits.rope:
            cos, sin = kwargs["position_embeddings"]
            turns = torch.ones_like(cos), torch.zeros_like(sin)
        elif edits.rope_shift or edits.rope_stretch != 1:
            positions = kwargs["position_ids"] * edits.rope_stretch + edits.rope_shift
            turns = rotations(hf, spec, index, args[0], positions)
        else:
            return None
        return args, kwargs | {"position_embeddings": turns}

    return hook


def rotations(
    hf: PreTrainedModel, spec: ModelSpec, layer: int, stream: Tensor, positions: Tensor
) -> tuple[Tensor, Tensor]:
    """Cosines and sines by which a layer turns queries and keys, both [batch, position, d_head].

    stream: gives dtype and device; positions: int or float [batch, position]
    """
    kind = f"{spec.layer_kinds[layer]}_attention"
    # Gemma 3 has rotations for each kind of layer, Gemma 1 and 2 one for all.
    which = {"layer_type": kind} if kind in hf.config.rope_parameters else {}
    cos_and_sin: tuple[Tensor, Tensor] = hf.model.rotary_emb(stream, positions, **which)
    return cos_and_sin


def _activation_hook(layer: int) -> Callable[..., Tensor | None]:
    """Another function of the gate, or none at all."""

    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        run = _run.get()
        if run is None or not run.edits.act_in(layer):
            return None
        if not run.edits.gate:
            return torch.ones_like(output)
        return ACTIVATIONS[run.edits.activation](args[0]) if run.edits.activation != "gelu" else None

    return hook


def _linear_forward(module: nn.Linear) -> Callable[[Tensor], Tensor]:
    """During a run the faster product; outside one the module's own, bit for bit."""
    plain = module.forward

    def forward(x: Tensor) -> Tensor:
        return plain(x) if _run.get() is None else linear(x, module.weight)

    return forward


def _embedding_hook() -> Callable[..., Tensor | None]:
    """The rows as they are stored, where the rescaling is off."""

    def hook(module: nn.Embedding, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        run = _run.get()
        if run is None or run.edits.takes("embedding_scale"):
            return None
        return nn.functional.embedding(args[0], module.weight)

    return hook


def _skip_hook(steps: tuple[str, ...], layer: int | None = None) -> Callable[..., Tensor | None]:
    """The module hands on what it was given, where one of these steps is left out."""

    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        run = _run.get()
        return None if run is None or all(run.edits.takes(step, layer) for step in steps) else args[0]

    return hook


def _silence_hook(step: str, layer: int) -> Callable[..., Tensor | None]:
    """The module gives zeros."""

    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        run = _run.get()
        return None if run is None or run.edits.takes(step, layer) else torch.zeros_like(output)

    return hook


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
    run = _run.get()
    if run is None:
        theirs = sdpa_attention_forward if softcap is None else eager_attention_forward
        return theirs(module, query, key, value, attention_mask, scaling=scaling, softcap=softcap, **kwargs)
    run.see("rot_q", module.layer_idx, query)
    run.see("rot_k", module.layer_idx, key)
    run.see("values", module.layer_idx, value)
    causal, window = run.edits.takes("causal_mask", module.layer_idx), getattr(module, "sliding_window", None)
    z = attend(query, key, value, scale=scaling, softcap=softcap, causal=causal, window=window)
    return z.transpose(1, 2).contiguous(), None


def _mask(config: PreTrainedConfig, **kwargs: Any) -> Tensor | None:
    """None during a run, whose attention hides keys by itself; a [query, key] mask would grow with tokens squared."""
    if _run.get():
        return None
    softcap = getattr(config, "attn_logit_softcapping", None)
    return (eager_mask if softcap and config.model_type == "gemma2" else sdpa_mask)(config=config, **kwargs)


AttentionInterface.register(ATTENTION, _attention)
# Without a mask of its own name transformers would hand over None outside a run too, and every token would see all.
AttentionMaskInterface.register(ATTENTION, _mask)
