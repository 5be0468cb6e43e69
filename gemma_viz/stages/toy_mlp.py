"""An MLP small enough to see whole: two numbers in, a handful of neurons, one number out. No model is needed.

Follows Douglas Orr, "A transformer walk-through, with Gemma" (2024), from a linear map to ReLU, ReGLU and GeGLU.
"""

import math
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import gelu, relu

from gemma_viz.stages import Floats, to_numpy

N_NEURONS = 5
REACH = 3.0  # both inputs go from -REACH to REACH
GRID = 121  # points along each of them
FURTHEST_GATE = 4.0  # to either side, where GELU is compared with others
SAME = 1e-9  # what is nearer than this is one and the same

# The kinds of toy, and what each neuron adds to the output.
FORMULAS = {
    "linear": "w · gate",
    "ReLU": "w · relu(gate)",
    "ReGLU": "w · relu(gate) · up",
    "GeGLU": "w · gelu(gate) · up",
}
KINDS = tuple(FORMULAS)


class ToyNeuron(NamedTuple):
    """gate = cos(gate_angle) x1 + sin(gate_angle) x2 - gate_offset, up likewise; angles in degrees.

    So a gate opens in the direction of its angle, from a line on whose near side lies the origin where the offset is
    above 0. weight: what the neuron's activation is multiplied with in the output
    """

    gate_angle: float
    gate_offset: float
    up_angle: float
    up_offset: float
    weight: float


class Range(NamedTuple):
    """The lowest and the highest value of a number that a person may choose, and the step between values."""

    low: float
    high: float
    step: float


ANGLES, OFFSETS = Range(0, 355, 5), Range(-2, 2, 0.1)
RANGES = dict(zip(ToyNeuron._fields, (ANGLES, OFFSETS, ANGLES, OFFSETS, OFFSETS), strict=True))
ACROSS = Range(-REACH, REACH, 0.1)  # of x2, where the plane is cut


@dataclass(frozen=True)
class Plane:
    """The toy's output over the plane of its two inputs.

    axis: float32 [point], values of either input
    output: float32 [x2, x1]; open: int [x2, x1], a bit for each neuron, the first the lowest, set where its gate is
        above 0
    """

    axis: Floats
    output: Floats
    open: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Along:
    """Every kind's output along x1, at one x2.

    x1: float32 [point]; outputs: by kind, float32 [point]
    opens: float32 [n], where on the way gates open or close
    """

    x1: Floats
    outputs: dict[str, Floats]
    opens: Floats


@dataclass(frozen=True)
class Activations:
    """What a gate can go through. All float32 [point].

    gate; relu, gelu (the tanh form, which Gemma has), exact (with the error function): what they make of it
    difference: gelu - exact; largest_difference: float, its largest absolute value, and largest_at: float, where
    """

    gate: Floats
    relu: Floats
    gelu: Floats
    exact: Floats
    difference: Floats
    largest_difference: float
    largest_at: float


def drawn(seed: int) -> tuple[ToyNeuron, ...]:
    """Neurons drawn at random, on the steps of `RANGES`."""
    random = np.random.default_rng(seed)

    def one() -> ToyNeuron:
        angles = random.integers(0, 72, 2) * 5
        offsets = random.integers(-15, 16, 2) / 10
        weight = random.integers(5, 16) / 10 * random.choice([-1, 1])
        return ToyNeuron(*map(float, (angles[0], offsets[0], angles[1], offsets[1], weight)))

    return tuple(one() for _ in range(N_NEURONS))


def toy_mlp(kind: str, neurons: tuple[ToyNeuron, ...], x: Tensor) -> Tensor:
    """The toy itself: float [...] from float [..., 2]. kind: one of `KINDS`."""
    weight = torch.tensor([neuron.weight for neuron in neurons], dtype=x.dtype)
    gate = _projected(x, [(neuron.gate_angle, neuron.gate_offset) for neuron in neurons])  # [..., neuron]
    up = _projected(x, [(neuron.up_angle, neuron.up_offset) for neuron in neurons])
    act = {
        "linear": lambda: gate,
        "ReLU": lambda: relu(gate),
        "ReGLU": lambda: relu(gate) * up,
        "GeGLU": lambda: gelu(gate, approximate="tanh") * up,
    }[kind]()
    return act @ weight


def plane(kind: str, neurons: tuple[ToyNeuron, ...]) -> Plane:
    """The toy over the whole plane."""
    axis = torch.linspace(-REACH, REACH, GRID, dtype=torch.float64)
    x2, x1 = torch.meshgrid(axis, axis, indexing="ij")
    x = torch.stack([x1, x2], -1)  # [x2, x1, 2]
    gate = _projected(x, [(neuron.gate_angle, neuron.gate_offset) for neuron in neurons])
    bits = 2 ** torch.arange(len(neurons))
    return Plane(
        axis=to_numpy(axis), output=to_numpy(toy_mlp(kind, neurons, x)), open=((gate > 0) * bits).sum(-1).numpy()
    )


def along(neurons: tuple[ToyNeuron, ...], x2: float) -> Along:
    """All kinds along x1."""
    x1 = torch.linspace(-REACH, REACH, 2 * GRID - 1, dtype=torch.float64)
    x = torch.stack([x1, torch.full_like(x1, x2)], -1)  # [point, 2]
    crossings = []
    for neuron in neurons:
        a, b = _direction(neuron.gate_angle)
        if abs(a) > SAME and abs(crossing := (neuron.gate_offset - b * x2) / a) <= REACH:
            crossings.append(crossing)
    return Along(
        x1=to_numpy(x1),
        outputs={kind: to_numpy(toy_mlp(kind, neurons, x)) for kind in KINDS},
        opens=np.array(sorted(crossings), np.float32),
    )


def n_regions(neurons: tuple[ToyNeuron, ...]) -> int:
    """Into how many parts the lines where gates open cut the square that is shown.

    Within a part the same gates are open everywhere. Every line that crosses the square makes one part more, and so
    does every point inside where lines cross, once for each line there after the first.
    """
    lines = _lines(neurons)
    return 1 + len(lines) + sum(n_lines - 1 for n_lines in _crossings(lines))


def activations() -> Activations:
    """ReLU and both forms of GELU side by side; their difference is taken in float64."""
    gate = torch.linspace(-FURTHEST_GATE, FURTHEST_GATE, 801, dtype=torch.float64)
    tanh_form, exact = gelu(gate, approximate="tanh"), gelu(gate)
    difference = tanh_form - exact
    largest = int(difference.abs().argmax())
    return Activations(
        gate=to_numpy(gate),
        relu=to_numpy(relu(gate)),
        gelu=to_numpy(tanh_form),
        exact=to_numpy(exact),
        difference=to_numpy(difference),
        largest_difference=float(difference[largest].abs()),
        largest_at=float(gate[largest].abs()),
    )


def _direction(angle: float) -> tuple[float, float]:
    return math.cos(math.radians(angle)), math.sin(math.radians(angle))


def _projected(x: Tensor, lines: list[tuple[float, float]]) -> Tensor:
    """[..., neuron] from [..., 2]. lines: angle and offset of each."""
    directions = torch.tensor([_direction(angle) for angle, _ in lines], dtype=x.dtype)
    return x @ directions.T - torch.tensor([offset for _, offset in lines], dtype=x.dtype)


def _lines(neurons: tuple[ToyNeuron, ...]) -> list[tuple[float, float, float]]:
    """The different lines a x1 + b x2 = c that cross the inside of the square."""
    found: list[tuple[float, float, float]] = []
    for neuron in neurons:
        (a, b), c = _direction(neuron.gate_angle), neuron.gate_offset
        crosses = abs(c) < (abs(a) + abs(b)) * REACH - SAME
        known = any(
            max(abs(sign * a - x), abs(sign * b - y), abs(sign * c - z)) < SAME for x, y, z in found for sign in (1, -1)
        )
        if crosses and not known:
            found.append((a, b, c))
    return found


def _crossings(lines: list[tuple[float, float, float]]) -> list[int]:
    """How many lines meet at each point inside the square where any do."""
    points: list[tuple[float, float]] = []
    for (a, b, c), (d, e, f) in combinations(lines, 2):
        determinant = a * e - b * d
        if abs(determinant) < SAME:
            continue  # parallel
        point = ((c * e - b * f) / determinant, (a * f - c * d) / determinant)
        new = all(math.dist(point, other) > SAME for other in points)
        if new and max(map(abs, point)) < REACH - SAME:
            points.append(point)
    return [sum(abs(a * x + b * y - c) < SAME for a, b, c in lines) for x, y in points]
