"""Residual stream: its scale at every depth, what each sublayer adds to it, and what RMSNorm divides by."""

from dataclasses import dataclass

import torch
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


def residual(cap: Capture) -> Residual:
    """Scales of the stream and of its updates."""
    n_layers, eps = cap.model.spec.n_layers, cap.model.spec.norm_eps
    stream = [cap.resid_pre(0)]
    attention_share, mlp_share = [], []
    for layer in range(n_layers):
        middle, after = cap.resid_mid(layer), cap.resid_post(layer)
        attention_share.append(_share(middle - stream[-1], stream[-1]))
        mlp_share.append(_share(after - middle, middle))
        stream += [middle, after]
    stream_rms = torch.stack([rms(x) for x in stream])  # [depth, position]
    divisors = (stream_rms.pow(2) + eps).sqrt()
    return Residual(
        stream_rms=to_numpy(stream_rms),
        attention_share=to_numpy(torch.stack(attention_share)),
        mlp_share=to_numpy(torch.stack(mlp_share)),
        attention_divisor=to_numpy(divisors[0:-1:2]),
        mlp_divisor=to_numpy(divisors[1::2]),
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
