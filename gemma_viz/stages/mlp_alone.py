"""A layer's own MLP on inputs of our choice: other tokens around one, and the line between two tokens."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gemma_viz.capture import Capture
from gemma_viz.edits import Activation
from gemma_viz.model import Model
from gemma_viz.run import Run, running
from gemma_viz.stages import Floats, counted, rms, to_numpy
from gemma_viz.stages.mlp import inside_mlp

POINTS = 201
FROM, TO = -0.5, 1.5  # along the line; 0 is the one token, 1 the other
COMPONENTS = 4


@dataclass(frozen=True)
class Alone:
    """One token's MLP output when another token of the prompt is replaced.

    The MLP is given the one token's input as it was, and beside it what the other positions have in the changed run.

    input_change, output_change: float32 [position], RMS of the difference to the original run
    own_difference: float, the largest absolute difference of the one token's output
    alone_difference: float, the same where the MLP is given this token and no other
    largest_output: float, the largest absolute value of that output, to compare with
    whole_run_change, input_rms: float, RMS of the difference of the one token's input in the changed run as it is,
        where attention has read the other tokens, and RMS of the input itself
    """

    input_change: Floats
    output_change: Floats
    own_difference: float
    alone_difference: float
    largest_output: float
    whole_run_change: float
    input_rms: float


@dataclass(frozen=True)
class Slice:
    """A layer's MLP along the straight line through the inputs of two tokens: a + t (b - a).

    t: float32 [point]
    components: int [component], of the output, those that change most; the others are like them
    gelu, relu: float32 [component, point], the MLP as it is, and with ReLU in place of GELU
    n_crossings: int, neurons whose gate changes its sign on the way
    neuron: int, the one of them whose part of the output bends most with ReLU; where there is none, of all neurons
    gate, up, neuron_gelu, neuron_relu: float32 [point], of that neuron; the last two are the products
    """

    t: Floats
    components: npt.NDArray[np.int64]
    gelu: Floats
    relu: Floats
    n_crossings: int
    neuron: int
    gate: Floats
    up: Floats
    neuron_gelu: Floats
    neuron_relu: Floats


@counted
def alone(cap: Capture, changed_cap: Capture, layer: int, position: int) -> Alone:
    """Look at the output at `position`, with the other tokens' inputs taken from a capture of the changed prompt."""
    original, changed = inside_mlp(cap, layer), inside_mlp(changed_cap, layer)
    mixed = changed.input.clone()  # [position, d_model]
    mixed[position] = original.input[position]
    output = _run(cap, layer, mixed)["mlp_projected"]
    by_itself = _run(cap, layer, mixed[[position]])["mlp_projected"][0]
    own = original.projected[position]
    return Alone(
        input_change=to_numpy(rms(mixed - original.input)),
        output_change=to_numpy(rms(output - original.projected)),
        own_difference=float((output[position] - own).abs().max()),
        alone_difference=float((by_itself - own).abs().max()),
        largest_output=float(own.abs().max()),
        whole_run_change=float(rms(changed.input[position] - original.input[position])),
        input_rms=float(rms(original.input[position])),
    )


@counted
def between(cap: Capture, layer: int, position: int, other: int) -> Slice:
    """The MLP of a layer on the way from one token's input (t = 0) to another's (t = 1), and beyond both."""
    a, b = inside_mlp(cap, layer).input[[position, other]]
    t = torch.linspace(FROM, TO, POINTS)
    line = a + t[:, None] * (b - a)  # [point, d_model]
    as_it_is, with_relu = (_run(cap, layer, line, activation) for activation in ("gelu", "relu"))
    outputs = as_it_is["mlp_projected"]
    components = (outputs.amax(0) - outputs.amin(0)).topk(COMPONENTS).indices
    gate, up = as_it_is["gate"], as_it_is["up"]  # [point, neuron], straight lines in t
    crosses = (gate[0] > 0) != (gate[-1] > 0)
    neuron = _sharpest(cap.model, layer, with_relu["act"], crosses)
    return Slice(
        t=to_numpy(t),
        components=components.numpy(),
        gelu=to_numpy(outputs[:, components].T),
        relu=to_numpy(with_relu["mlp_projected"][:, components].T),
        n_crossings=int(crosses.sum()),
        neuron=neuron,
        gate=to_numpy(gate[:, neuron]),
        up=to_numpy(up[:, neuron]),
        neuron_gelu=to_numpy(as_it_is["act"][:, neuron]),
        neuron_relu=to_numpy(with_relu["act"][:, neuron]),
    )


def _sharpest(model: Model, layer: int, act: Tensor, among: Tensor) -> int:
    """The neuron whose part of the output bends most at one point.

    act: [point, neuron]; among: bool [neuron], the neurons that count, if there are any
    """
    down = model.hf.model.layers[layer].mlp.down_proj.weight.detach().float().cpu()  # [d_model, neuron]
    bends = act.diff(n=2, dim=0).abs().amax(0) * down.norm(dim=0)
    return int((bends.where(among, -1.0) if among.any() else bends).argmax())


def _run(cap: Capture, layer: int, x: Tensor, activation: Activation | None = None) -> dict[str, Tensor]:
    """gate, up, act and mlp_projected of a layer's own MLP for inputs [position, d_model]; float32, on the CPU."""
    edits = replace(cap.edits.in_layer(layer), layers=None)
    if activation:
        edits = replace(edits, activation=activation)
    run = Run(("gate", "up", "act", "mlp_projected"), edits)
    with running(run):
        cap.model.hf.model.layers[layer].mlp(x[None].to(cap.model.device_of(layer), cap.model.dtype))
    return {name: value[0].float().cpu() for (name, _), value in run.values.items()}
