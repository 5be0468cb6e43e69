"""A layer's own MLP on inputs of our choice."""

import numpy as np
import torch

import gemma_viz as gv
from gemma_viz.stages import mlp_alone


@torch.no_grad()
def own_mlp(cap: gv.Capture, layer: int, x: torch.Tensor) -> np.ndarray:
    """Outside a run: transformers' own."""
    return cap.model.hf.model.layers[layer].mlp(x[None].to(cap.model.device))[0].cpu().numpy()


def replaced(cap: gv.Capture, other: int, new_id: int) -> gv.Capture:
    ids = cap.token_ids.tolist()
    ids[other] = new_id
    return cap.model.capture_ids(ids)


def test_the_same_input_gives_the_same_output_whatever_stands_around_it(cap: gv.Capture) -> None:
    position, other = 6, 2
    changed_cap = replaced(cap, other, 70)
    values = mlp_alone.alone(cap, changed_cap, 1, position)
    assert values.own_difference == 0
    assert values.alone_difference < 1e-4 * values.largest_output
    assert values.output_change[position] == 0
    original, changed = cap.mlp(1), changed_cap.mlp(1)
    for p in (other, position + 1):
        assert values.output_change[p] > 0
        there = own_mlp(cap, 1, changed.input[[p]])[0] - original.projected[p].numpy()
        np.testing.assert_allclose(values.output_change[p], np.sqrt((there**2).mean()), rtol=1e-3)
    assert (values.output_change[:other] == 0).all()  # these do not see the token that was changed
    difference = (changed.input[position] - original.input[position]).numpy()
    np.testing.assert_allclose(values.whole_run_change, np.sqrt((difference**2).mean()), rtol=1e-5)
    assert values.whole_run_change > 0


def test_a_token_that_comes_later_does_not_reach_the_input(cap: gv.Capture) -> None:
    values = mlp_alone.alone(cap, replaced(cap, 8, 70), 2, 3)
    assert values.whole_run_change == 0
    assert (values.output_change[8:] > 0).any()


def test_a_token_replaced_by_itself_changes_nothing(cap: gv.Capture) -> None:
    values = mlp_alone.alone(cap, replaced(cap, 2, int(cap.token_ids[2])), 1, 6)
    assert not values.input_change.any()
    assert not values.output_change.any()


def test_the_line_goes_through_both_tokens_outputs(cap: gv.Capture) -> None:
    values, whole = mlp_alone.between(cap, 1, 6, 2), cap.mlp(1)
    for t, position in ((0, 6), (1, 2)):
        place = int(np.abs(values.t - t).argmin())
        assert abs(values.t[place] - t) < 1e-6
        expected = whole.projected[position, values.components].numpy()
        np.testing.assert_allclose(values.gelu[:, place], expected, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(values.neuron_gelu[place], whole.act[position, values.neuron], rtol=1e-3, atol=1e-3)
    assert (values.t[0], values.t[-1]) == (-0.5, 1.5)


def test_relu_takes_the_place_of_gelu_and_nothing_else(cap: gv.Capture) -> None:
    values, inputs = mlp_alone.between(cap, 2, 6, 2), cap.mlp(2).input.double()
    module = cap.model.hf.model.layers[2].mlp
    w_gate, w_up, w_down = (
        p.weight.detach().double().cpu() for p in (module.gate_proj, module.up_proj, module.down_proj)
    )
    line = inputs[6] + torch.from_numpy(values.t).double()[:, None] * (inputs[2] - inputs[6])
    gate, up = line @ w_gate.T, line @ w_up.T
    act = gate.clamp_min(0) * up
    expected = (act @ w_down.T)[:, values.components].T
    np.testing.assert_allclose(values.relu, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(values.neuron_relu, act[:, values.neuron], rtol=1e-3, atol=1e-3)
    crossing = (gate.amin(0) < 0) & (gate.amax(0) > 0)
    assert values.n_crossings == int(crossing.sum()) > 0
    assert crossing[values.neuron]


def test_a_line_from_a_token_to_itself_is_a_point(cap: gv.Capture) -> None:
    values = mlp_alone.between(cap, 1, 3, 3)
    assert values.n_crossings == 0
    np.testing.assert_array_equal(values.gate, np.full(201, values.gate[0]))
