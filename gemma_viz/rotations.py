"""RoPE's rotations as a run has them: the model's own, or left out, or of another base or other positions."""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from gemma_viz.edits import UNCHANGED, Edits
from gemma_viz.spec import ModelSpec


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
