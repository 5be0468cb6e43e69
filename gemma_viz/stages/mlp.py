"""MLP: gate, gelu(gate), up and their product for one token, and the neurons that its output is made of.

One neuron by itself is in `gemma_viz.stages.neuron`, the layer's MLP on other inputs in `gemma_viz.stages.mlp_alone`,
and an MLP small enough to see whole in `gemma_viz.stages.toy_mlp`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import gelu

from gemma_viz.capture import Capture
from gemma_viz.inside import MLP, Sublayers
from gemma_viz.stages import Check, Floats, Last, check, counted, rms, to_numpy
from gemma_viz.steps import mlp as mlp_step

MOST = 0.9  # of what all neurons carry


@dataclass(frozen=True)
class Neurons:
    """The MLP of one layer at one position.

    gate, gelu_gate, up, act: float32 [neuron]; act = gelu_gate * up
    carried: float32 [neuron], length of what each adds to the MLP's output: |act| times the length of its column of
        the down-projection (before any norm of the output)
    most_active, most_carrying: int [k], neurons by |act| and by `carried`, the largest first
    cumulative: float32 [neuron], share of the sum of `carried` that the first 1, 2, 3, … of them hold; ends with 1
    n_for_most: int, how many of them hold the share `MOST`
    open_share: float, share of the neurons whose gate is above 0
    update_rms, stream_rms: float, of what the MLP adds and of the stream that it is added to
    """

    gate: Floats
    gelu_gate: Floats
    up: Floats
    act: Floats
    carried: Floats
    most_active: npt.NDArray[np.int64]
    most_carrying: npt.NDArray[np.int64]
    cumulative: Floats
    n_for_most: int
    open_share: float
    update_rms: float
    stream_rms: float


@counted
def inside_mlp(cap: Capture, layer: int) -> MLP:
    """As `Capture.mlp`; the last layer's is remembered, because a page looks at it from several sides."""
    return _mlp_and_sublayers(cap, layer)[0]


_last: Last[tuple[MLP, Sublayers]] = Last()


def _mlp_and_sublayers(cap: Capture, layer: int) -> tuple[MLP, Sublayers]:
    nbytes = 3 * len(cap) * cap.model.spec.d_mlp * torch.float32.itemsize  # gate, up, act; the rest is small
    return _last.get(cap, layer, lambda: cap.mlp_and_sublayers(layer), nbytes)


@counted
def neurons(cap: Capture, layer: int, position: int, k: int = 20) -> Neurons:
    """What the MLP of a layer does with one token."""
    values, updates = _mlp_and_sublayers(cap, layer)
    gate, act = values.gate[position], values.act[position]
    down = cap.model.hf.model.layers[layer].mlp.down_proj.weight.detach().float().cpu()  # [d_model, neuron]
    carried = act.abs() * down.norm(dim=0)
    in_order, order = carried.sort(descending=True)
    cumulative = to_numpy(in_order.double().cumsum(0) / in_order.double().sum().clamp_min(1e-300))
    return Neurons(
        gate=to_numpy(gate),
        gelu_gate=to_numpy(gelu(gate, approximate="tanh")),
        up=to_numpy(values.up[position]),
        act=to_numpy(act),
        carried=to_numpy(carried),
        most_active=act.abs().topk(min(k, len(act))).indices.numpy(),
        most_carrying=order[:k].numpy(),
        cumulative=cumulative,
        n_for_most=min(int((cumulative < MOST).sum()) + 1, len(act)),
        open_share=float((gate > 0).float().mean()),
        update_rms=float(rms(values.out[position])),
        stream_rms=float(rms(updates.resid_mid[position])),
    )


@counted
def check_mlp(cap: Capture, layer: int) -> Check:
    """`steps.mlp` against the model's own down-projection."""
    module = cap.model.hf.model.layers[layer].mlp
    weights = [p.weight.detach().float().cpu() for p in (module.gate_proj, module.up_proj, module.down_proj)]
    values = inside_mlp(cap, layer)
    return check(
        mlp_step, f"mlp(x, w_gate, w_up, w_down), layer {layer}", mlp_step(values.input, *weights), values.projected
    )
