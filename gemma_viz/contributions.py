"""What single heads and neurons add to the stream: linear in the part, so that all parts sum to what the sublayer adds.

Where a norm stands between a sublayer and the stream (Gemma 2 and 3), its factors are those it had for the whole sum.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gemma_viz.linear import weight_in_run

if TYPE_CHECKING:
    from gemma_viz.capture import Capture
    from gemma_viz.inside import Attention


def of_heads(cap: "Capture", layer: int, positions: Sequence[int], values: "Attention") -> Tensor:
    """What each head adds: float32 [position, head, d_model]. layer, positions: from 0 on. See `Capture.head_outputs`.

    values: of the layer's attention
    """
    spec, edits, module = cap.model.spec, cap.edits, cap.model.hf.model.layers[layer]
    weight = weight_in_run(module.self_attn.o_proj, layer, edits).float().cpu()  # [d_model, head * d_head]
    by_head = torch.unflatten(weight, 1, (spec.n_heads, -1))  # [d_model, head, d_head]
    if not (taken := edits.takes("attention", layer)) and edits.removal == "zero":
        return torch.zeros(len(positions), spec.n_heads, spec.d_model)
    rows = list(positions if taken else range(len(cap)))  # each head's part of the mean over the text
    outputs = torch.einsum("dhc,hpc->phd", by_head, values.z[:, rows])
    if spec.post_norms and _normalises(cap, "attention_norms", layer):
        outputs = outputs * norm_factors(module.post_attention_layernorm, values.projected[rows])[:, None]
    return outputs if taken else outputs.mean(0).expand(len(positions), -1, -1)


def of_neuron(cap: "Capture", layer: int, neuron: int, position: int, projected: Tensor) -> Tensor:
    """What a neuron adds for each 1 of activation: float32 [d_model]. See `Capture.neuron_output`.

    projected: [position, d_model], what the layer's MLP gives before any norm
    """
    spec, edits, module = cap.model.spec, cap.edits, cap.model.hf.model.layers[layer]
    column = weight_in_run(module.mlp.down_proj, layer, edits)[:, neuron].float().cpu()
    if not edits.takes("mlp", layer):
        return column / len(cap) if edits.removal == "mean" else torch.zeros_like(column)
    if spec.post_norms and _normalises(cap, "mlp_norms", layer):
        column = column * norm_factors(module.post_feedforward_layernorm, projected[position])
    return column


def norm_factors(norm: Any, x: Tensor) -> Tensor:
    """What an RMSNorm multiplies each component of x with: (1 + weight) / RMS of x. Float32, of the shape of x."""
    weight = norm.weight.detach().float().cpu()
    return (1 + weight) * (x.pow(2).mean(-1, keepdim=True) + norm.eps).rsqrt()


def _normalises(cap: "Capture", kind: str, layer: int) -> bool:
    return cap.edits.takes("norms", layer) and cap.edits.takes(kind, layer)
