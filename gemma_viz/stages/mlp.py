"""MLP: gate, gelu(gate), up and their product for one token, and the neurons that are most active."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch.nn.functional import gelu

from gemma_viz.capture import Capture
from gemma_viz.stages import Check, Floats, check, rms, to_numpy
from gemma_viz.steps import mlp as mlp_step


@dataclass(frozen=True)
class Neurons:
    """The MLP of one layer at one position.

    gate, gelu_gate, up, act: float32 [neuron]; act = gelu_gate * up
    most_active: int [k], neurons by |act|, the largest first
    open_share: float, share of the neurons whose gate is above 0
    update_rms, stream_rms: float, of what the MLP adds and of the stream that it is added to
    """

    gate: Floats
    gelu_gate: Floats
    up: Floats
    act: Floats
    most_active: npt.NDArray[np.int64]
    open_share: float
    update_rms: float
    stream_rms: float


def neurons(cap: Capture, layer: int, position: int, k: int = 20) -> Neurons:
    """What the MLP of a layer does with one token."""
    values = cap.mlp(layer)
    gate, act = values.gate[position], values.act[position]
    return Neurons(
        gate=to_numpy(gate),
        gelu_gate=to_numpy(gelu(gate, approximate="tanh")),
        up=to_numpy(values.up[position]),
        act=to_numpy(act),
        most_active=act.abs().topk(min(k, len(act))).indices.numpy(),
        open_share=float((gate > 0).float().mean()),
        update_rms=float(rms(values.out[position])),
        stream_rms=float(rms(cap.resid_mid(layer)[position])),
    )


def activations(cap: Capture, layer: int, neuron: int) -> Floats:
    """float32 [position], the product gelu(gate) * up of one neuron for every token."""
    return to_numpy(cap.mlp(layer).act[:, neuron])


def check_mlp(cap: Capture, layer: int) -> Check:
    """`steps.mlp` against the model's own down-projection."""
    module = cap.model.hf.model.layers[layer].mlp
    weights = [p.weight.detach().float().cpu() for p in (module.gate_proj, module.up_proj, module.down_proj)]
    values = cap.mlp(layer)
    return check(
        mlp_step, f"mlp(x, w_gate, w_up, w_down), layer {layer}", mlp_step(values.input, *weights), values.projected
    )
