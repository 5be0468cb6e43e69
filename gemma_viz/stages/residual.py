"""Residual stream: its scale at every depth, what each sublayer adds to it, and what RMSNorm divides by."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from gemma_viz.capture import Capture
from gemma_viz.stages import Check, Floats, check, rms, to_numpy
from gemma_viz.steps import rms_norm


@dataclass(frozen=True)
class Residual:
    """Depths run through the layers: 0 is the embedding, then after each attention and after each MLP.

    stream_rms: float32 [depth, position], 2 n_layers + 1 depths
    attention_share, mlp_share: float32 [layer, position], sqrt(var_r / (var_r + var_s)) of an update r to a stream s:
        near 0 it hardly changes the stream, near 1 it replaces it (the measure of Douglas Orr's article)
    attention_divisor, mlp_divisor: float32 [layer, position], what the RMSNorm before each sublayer divides by
    """

    stream_rms: Floats
    attention_share: Floats
    mlp_share: Floats
    attention_divisor: Floats
    mlp_divisor: Floats


@dataclass(frozen=True)
class LayerScales:
    """One layer's part of `Residual`. All float32 [position].

    before, middle, after: RMS of the stream before the attention, between it and the MLP, and after the MLP
    attention_share, mlp_share: as in `Residual`
    """

    before: Floats
    middle: Floats
    after: Floats
    attention_share: Floats
    mlp_share: Floats


def layer_scales(cap: Capture, layer: int) -> LayerScales:
    """Scales of the stream in one layer."""
    before, middle, after = cap.resid_pre(layer), cap.resid_mid(layer), cap.resid_post(layer)
    return LayerScales(
        before=to_numpy(rms(before)),
        middle=to_numpy(rms(middle)),
        after=to_numpy(rms(after)),
        attention_share=to_numpy(_share(middle - before, before)),
        mlp_share=to_numpy(_share(after - middle, middle)),
    )


def residual(layers: Sequence[LayerScales], norm_eps: float) -> Residual:
    """The `layer_scales` of all layers together.

    norm_eps: float, what the norms add to the mean square
    """
    stream_rms = np.stack([layers[0].before, *(rms for layer in layers for rms in (layer.middle, layer.after))])
    divisors = np.sqrt(stream_rms**2 + np.float32(norm_eps))
    return Residual(
        stream_rms=stream_rms,
        attention_share=np.stack([layer.attention_share for layer in layers]),
        mlp_share=np.stack([layer.mlp_share for layer in layers]),
        attention_divisor=divisors[0:-1:2],
        mlp_divisor=divisors[1::2],
    )


def check_rms_norm(cap: Capture, layer: int) -> Check:
    """`steps.rms_norm` against what the layer's attention was given."""
    norm = cap.model.hf.model.layers[layer].input_layernorm
    mine = rms_norm(cap.resid_pre(layer), norm.weight.detach().float().cpu(), cap.model.spec.norm_eps)
    return check(rms_norm, f"rms_norm(stream, weight, eps), layer {layer}", mine, cap.attention(layer).input)


def _share(update: Tensor, stream: Tensor) -> Tensor:
    """[position], from two [position, d_model]."""
    update_variance, stream_variance = update.var(-1), stream.var(-1)
    return (update_variance / (update_variance + stream_variance)).sqrt()
