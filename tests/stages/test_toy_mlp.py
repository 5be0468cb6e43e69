"""The MLP that is small enough to see whole."""

import math

import numpy as np
import pytest
import torch

from gemma_viz.stages import toy_mlp
from gemma_viz.stages.toy_mlp import ToyNeuron


def gate(angle: float, offset: float) -> ToyNeuron:
    return ToyNeuron(angle, offset, 0, 0, 1)


def by_hand(kind: str, neurons: tuple[ToyNeuron, ...], x1: float, x2: float) -> float:
    total = 0.0
    for neuron in neurons:
        a, b = math.radians(neuron.gate_angle), math.radians(neuron.up_angle)
        g = math.cos(a) * x1 + math.sin(a) * x2 - neuron.gate_offset
        u = math.cos(b) * x1 + math.sin(b) * x2 - neuron.up_offset
        gelu = 0.5 * g * (1 + math.tanh(math.sqrt(2 / math.pi) * (g + 0.044715 * g**3)))
        act = {"linear": g, "ReLU": max(0.0, g), "ReGLU": max(0.0, g) * u, "GeGLU": gelu * u}[kind]
        total += neuron.weight * act
    return total


@pytest.mark.parametrize("kind", toy_mlp.KINDS)
def test_the_toy_is_what_its_formula_says(kind: str) -> None:
    neurons = toy_mlp.drawn(3)
    over_plane, cut = toy_mlp.plane(kind, neurons), toy_mlp.along(neurons, 1.3)
    for row, column in ((0, 0), (17, 90), (120, 60)):
        expected = by_hand(kind, neurons, over_plane.axis[column], over_plane.axis[row])
        assert over_plane.output[row, column] == pytest.approx(expected, abs=1e-4)
    for point in (0, 77, 240):
        assert cut.outputs[kind][point] == pytest.approx(by_hand(kind, neurons, cut.x1[point], 1.3), abs=1e-4)


def test_within_a_region_the_relu_toy_is_flat_and_across_a_border_it_is_not() -> None:
    neurons = toy_mlp.drawn(3)
    values = toy_mlp.plane("ReLU", neurons)
    bend = np.abs(np.diff(values.output.astype(float), n=2, axis=1))
    same = (values.open[:, :-2] == values.open[:, 1:-1]) & (values.open[:, 1:-1] == values.open[:, 2:])
    assert bend[same].max() < 1e-5
    assert bend[~same].max() > 1e-2


@pytest.mark.parametrize("seed", range(12))
def test_regions_are_as_many_as_a_fine_grid_finds(seed: int) -> None:
    neurons = toy_mlp.drawn(seed)
    axis = np.linspace(-3, 3, 3001)
    code = np.zeros((len(axis), len(axis)), int)
    for i, neuron in enumerate(neurons):
        angle = math.radians(neuron.gate_angle)
        is_open = np.add.outer(math.sin(angle) * axis, math.cos(angle) * axis) - neuron.gate_offset > 0
        code += is_open << i
    found = len(np.unique(code))
    assert toy_mlp.n_regions(neurons) == found


@pytest.mark.parametrize(
    ("neurons", "n"),
    [
        ((gate(0, 0),), 2),
        ((gate(0, 1), gate(180, -1)), 2),  # one line, open to different sides
        ((gate(0, 0), gate(0, 1), gate(180, 1)), 4),  # parallel
        ((gate(0, 0), gate(60, 0), gate(120, 0)), 6),  # through one point
        ((gate(0, 0), gate(90, 0), gate(45, 1)), 7),
        ((gate(45, 4.3),), 1),  # outside the square
        ((gate(0, 3),), 1),  # along its edge
        ((gate(45, 2), gate(50, 2)), 4),
        ((gate(0, 2.9), gate(5, 2.9)), 4),
    ],
)
def test_regions_of_lines_that_can_be_counted_by_hand(neurons: tuple[ToyNeuron, ...], n: int) -> None:
    assert toy_mlp.n_regions(neurons) == n


def test_gates_open_where_the_cut_crosses_their_lines() -> None:
    values = toy_mlp.along((gate(0, 1), gate(180, 2), gate(90, 0), gate(0, 3.5)), 0)
    np.testing.assert_allclose(values.opens, [-2, 1])


def test_a_seed_draws_the_same_again_and_another_draws_others() -> None:
    assert toy_mlp.drawn(5) == toy_mlp.drawn(5) != toy_mlp.drawn(6)
    for neuron in toy_mlp.drawn(5):
        for name, bounds in toy_mlp.RANGES.items():
            assert bounds.low <= getattr(neuron, name) <= bounds.high


def test_the_two_forms_of_gelu_differ_as_said() -> None:
    values = toy_mlp.activations()
    exact = np.array([g / 2 * (1 + math.erf(g / math.sqrt(2))) for g in values.gate.tolist()])
    np.testing.assert_allclose(values.exact, exact, atol=1e-6)
    np.testing.assert_array_equal(values.relu, np.maximum(values.gate, 0))
    g = torch.linspace(-10, 10, 20001, dtype=torch.float64)
    tanh_form = 0.5 * g * (1 + torch.tanh(math.sqrt(2 / math.pi) * (g + 0.044715 * g**3)))
    difference = (tanh_form - g / 2 * (1 + torch.erf(g / math.sqrt(2)))).abs()
    assert values.largest_difference == pytest.approx(float(difference.max()), rel=1e-3)
    assert values.largest_at == pytest.approx(float(g[difference.argmax()].abs()), abs=0.02)
