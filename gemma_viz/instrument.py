"""Hooks that stay on a model for good and act only for the run that asked for them.

A hook registered for one call would also see the calls other threads make on the same model meanwhile. So the
hooks here are registered once, right after loading, and look at a ContextVar: where no run of this thread is under
way they do nothing, and a plain forward pass gives what it gives without them.

A run can keep values (by reference, nothing is copied), can leave steps out or change them (`Edits`), and can have
values of another run put in the place of its own (`Injection`).
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate.hooks import remove_hook_from_submodules
from accelerate.utils import send_to_device
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, eager_mask, sdpa_mask
from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward

from gemma_viz.attention import AttentionRule, attend
from gemma_viz.edits import UNCHANGED, Activation, Edits
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


@dataclass(frozen=True)
class Injection:
    """Vectors that take the place of what a layer makes, at one position in each row of a batch.

    name: "resid_pre", "attn_out", "mlp_out" or "z"
    positions: int64 [batch]; vectors: float [batch, d_model], of a head's z [batch, d_head]
    heads: int64 [batch], whose z; 0 for the others, which fill the whole width
    """

    name: str
    layer: int
    positions: Tensor
    vectors: Tensor
    heads: Tensor

    def into(self, value: Tensor) -> Tensor:
        """A copy of the value, [batch, position, n], with the vectors in their places."""
        by_head = torch.unflatten(value.clone(), -1, (-1, self.vectors.shape[-1]))  # [batch, position, head, d_head]
        by_head[torch.arange(len(value)), self.positions, self.heads] = self.vectors.to(value)
        return by_head.flatten(-2)


@dataclass
class Run:
    """One pass, or the replay of one layer, and what it is to do.

    keep: names of the values to keep
    edits: the steps to leave out or change
    until: the name of the value after which nothing more is needed; None runs to the end
    injections: what is put in the place of values
    lengths: of the texts that stand one after the other in the one row of the pass, which do not see each other; None
        for one text
    values: what was kept, by (name, layer), each with the batch axis the model gave it
    """

    keep: Collection[str]
    edits: Edits
    until: str | None = None
    injections: tuple[Injection, ...] = ()
    lengths: tuple[int, ...] | None = None
    values: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    def see(self, name: str, layer: int, value: Tensor) -> None:
        if name in self.keep:
            self.values[name, layer] = value
        if name == self.until:
            raise SeenEnough


_run: ContextVar[Run | None] = ContextVar("gemma_viz_run", default=None)
_interrupt: ContextVar[Callable[[], None]] = ContextVar("gemma_viz_interrupt", default=lambda: None)


@contextmanager
def running(run: Run) -> Iterator[Run]:
    """Let the hooks of every model that this thread calls inside the block act for `run`."""
    token = _run.set(run)
    try:
        with torch.inference_mode(), suppress(SeenEnough):
            yield run
    finally:
        _run.reset(token)


@contextmanager
def interrupted_by(interrupt: Callable[[], None]) -> Iterator[None]:
    """Ask, before every layer that this thread calls inside the block, whether to go on: `interrupt` raises if not."""
    token = _interrupt.set(interrupt)
    try:
        yield
    finally:
        _interrupt.reset(token)


def instrument(hf: PreTrainedModel, spec: ModelSpec) -> None:
    """Register the hooks, once, on a model that uses the attention `ATTENTION`."""
    if len({parameter.device for parameter in hf.parameters()}) > 1:
        _lead_over_devices(hf)
    hf.model.embed_tokens.register_forward_hook(_embedding_hook())
    hf.model.norm.register_forward_hook(_skip_hook(("final_norm",)))
    for index, layer in enumerate(hf.model.layers):
        for module in layer.modules():
            if isinstance(module, nn.Linear) and module.bias is None:
                module.forward = _linear_forward(module, index)
        layer.self_attn.gemma_viz_spec = spec  # what `_attention` is to do, which transformers calls with the module
        _edit_layer(layer, index, spec)
        _probe_layer(layer, index, spec)
        layer.register_forward_pre_hook(_rope_hook(index, hf, spec), with_kwargs=True)


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
    layer.input_layernorm.register_forward_hook(_skip_hook(attention_norms, index))
    norm_before_mlp(layer, spec).register_forward_hook(_skip_hook(mlp_norms, index))
    if spec.post_norms:
        layer.post_attention_layernorm.register_forward_hook(_skip_hook(attention_norms, index))
        layer.post_feedforward_layernorm.register_forward_hook(_skip_hook(mlp_norms, index))
    _attention_update(layer, spec).register_forward_hook(_silence_hook("attention", index))
    _mlp_update(layer, spec).register_forward_hook(_silence_hook("mlp", index))
    layer.mlp.act_fn.register_forward_hook(_activation_hook(index))
    layer.self_attn.o_proj.register_forward_pre_hook(_part_hook("without_heads", index, spec.d_head))
    layer.mlp.down_proj.register_forward_pre_hook(_part_hook("without_neurons", index, 1))
    if spec.qk_norm:
        layer.self_attn.q_norm.register_forward_hook(_skip_hook(("qk_norms",), index))
        layer.self_attn.k_norm.register_forward_hook(_skip_hook(("qk_norms",), index))
    layer.register_forward_pre_hook(_input_injection("resid_pre", index))
    layer.self_attn.o_proj.register_forward_pre_hook(_input_injection("z", index))
    _attention_update(layer, spec).register_forward_hook(_output_injection("attn_out", index))
    _mlp_update(layer, spec).register_forward_hook(_output_injection("mlp_out", index))


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


def _input_injection(name: str, layer: int) -> Callable[..., tuple[Tensor, ...] | None]:
    def hook(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        injections = _injections(name, layer)
        return (_with_all(injections, args[0]), *args[1:]) if injections else None

    return hook


def _output_injection(name: str, layer: int) -> Callable[..., Tensor | None]:
    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        injections = _injections(name, layer)
        return _with_all(injections, output) if injections else None

    return hook


def _injections(name: str, layer: int) -> list[Injection]:
    run = _run.get()
    return [one for one in run.injections if (one.name, one.layer) == (name, layer)] if run else []


def _with_all(injections: list[Injection], value: Tensor) -> Tensor:
    for injection in injections:
        value = injection.into(value)
    return value


def _layer_forward(layer: Submodules, index: int, spec: ModelSpec) -> Callable[..., Tensor]:
    """A layer without one of its residual connections, or with both: then it is transformers' own."""
    plain: Callable[..., Tensor] = layer.forward

    def forward(hidden_states: Tensor, **kwargs: Any) -> Tensor:
        _interrupt.get()()
        run = _run.get()
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


def _rope_hook(index: int, hf: PreTrainedModel, spec: ModelSpec) -> Callable[..., Any]:
    """Other rotations for a layer, where they are left out, or their base or the positions are changed."""

    def hook(module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any]) -> Any:
        run = _run.get()
        if run is None or not run.edits.in_layer(index).turn_otherwise:
            return None
        turns = rotations(hf, spec, index, args[0], kwargs["position_ids"], run.edits)
        return args, kwargs | {"position_embeddings": turns}

    return hook


def rotations(
    hf: PreTrainedModel, spec: ModelSpec, layer: int, stream: Tensor, positions: Tensor, edits: Edits = UNCHANGED
) -> tuple[Tensor, Tensor]:
    """Cosines and sines by which a layer turns queries and keys, both [batch, position, d_head].

    stream: gives dtype and device; positions: int or float [batch, position]
    """
    edits = edits.in_layer(layer)
    positions = turned_to(positions, edits)
    if not edits.rope:
        angles = torch.zeros(*positions.shape, spec.d_head, device=stream.device)
    elif edits.rope_theta is not None:
        pairs = torch.arange(0, spec.d_head, 2, device=stream.device).float() / spec.d_head
        slowed_by = spec.rope_factors[layer]
        angles = (positions[..., None].float() * (edits.rope_theta**-pairs / slowed_by)).repeat(1, 1, 2)
    else:
        kind = f"{spec.layer_kinds[layer]}_attention"
        # Gemma 3 has rotations for each kind of layer, Gemma 1 and 2 one for all.
        which = {"layer_type": kind} if kind in hf.config.rope_parameters else {}
        cos_and_sin: tuple[Tensor, Tensor] = hf.model.rotary_emb(stream, positions, **which)
        return cos_and_sin
    return angles.cos().to(stream.dtype), angles.sin().to(stream.dtype)


def turned_to(positions: Tensor, edits: Edits) -> Tensor:
    """The positions that tokens are turned to: of the shape of the tokens' own, [batch, position]."""
    if edits.rope_shuffle is not None:
        order = torch.randperm(positions.shape[1], generator=torch.Generator().manual_seed(edits.rope_shuffle))
        positions = positions[:, order.to(positions.device)]
    if edits.rope_stretch != 1:
        positions = positions * edits.rope_stretch
    return positions + edits.rope_shift if edits.rope_shift else positions


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


def _linear_forward(module: nn.Linear, layer: int) -> Callable[[Tensor], Tensor]:
    """During a run the faster product, of rounded weights if it asks for them; outside one the module's own."""
    plain = module.forward

    def forward(x: Tensor) -> Tensor:
        run = _run.get()
        return plain(x) if run is None else linear(x, weight_in_run(module, layer, run.edits))

    return forward


def weight_in_run(module: nn.Linear, layer: int, edits: Edits) -> Tensor:
    """The matrix that a run multiplies with: [n_out, n_in]."""
    weight, n_bits = module.weight.detach(), edits.in_layer(layer).weight_bits
    if n_bits is None:
        return weight
    steps = 2 ** (n_bits - 1) - 1  # to either side of zero
    scale = (weight.float().abs().amax(1, keepdim=True) / steps).clamp_min(torch.finfo(torch.float32).tiny)
    return ((weight.float() / scale).round() * scale).to(weight.dtype)


def _embedding_hook() -> Callable[..., Tensor | None]:
    """The rows as they are stored, or times another factor."""

    def hook(module: nn.Embedding, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        run = _run.get()
        if run is None or (run.edits.embedding_scale and run.edits.embedding_factor is None):
            return None
        rows = nn.functional.embedding(args[0], module.weight)
        factor = run.edits.embedding_factor if run.edits.embedding_scale else None
        return rows if factor is None else rows * factor

    return hook


def _skip_hook(steps: tuple[str, ...], layer: int | None = None) -> Callable[..., Tensor | None]:
    """The module hands on what it was given, where one of these steps is left out."""

    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        run = _run.get()
        return None if run is None or all(run.edits.takes(step, layer) for step in steps) else args[0]

    return hook


def _silence_hook(step: str, layer: int) -> Callable[..., Tensor | None]:
    """The module gives zeros, or at every token its mean over the text."""

    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        run = _run.get()
        return None if run is None or run.edits.takes(step, layer) else _removed(output, run.edits)

    return hook


def _removed(value: Tensor, edits: Edits) -> Tensor:
    """What stands in the place of a value [batch, position, n] that is left out."""
    return value.mean(1, keepdim=True).expand_as(value) if edits.removal == "mean" else torch.zeros_like(value)


def _part_hook(field: str, layer: int, width: int) -> Callable[..., tuple[Tensor, ...] | None]:
    """Parts of what the module is given are left out: heads, of d_head components each, or neurons, of one."""

    def hook(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        run = _run.get()
        parts = [part for at, part in getattr(run.edits, field) if at == layer] if run else []
        if run is None or not parts:
            return None
        value = args[0].clone()
        for part in parts:
            place = slice(part * width, (part + 1) * width)
            value[..., place] = _removed(value[..., place], run.edits)
        return (value,)

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
    if _run.get():
        return None
    softcap = getattr(config, "attn_logit_softcapping", None)
    return (eager_mask if softcap and config.model_type == "gemma2" else sdpa_mask)(config=config, **kwargs)


AttentionInterface.register(ATTENTION, _attention)
# Without a mask of its own name transformers would hand over None outside a run too, and every token would see all.
AttentionMaskInterface.register(ATTENTION, _mask)
