"""The neurons of one layer."""

import numpy as np
import pytest

import gemma_viz as gv
from gemma_viz.stages import mlp


def test_neurons_are_the_layers_and_multiply_up(cap: gv.Capture) -> None:
    values, whole = mlp.neurons(cap, 1, 5, k=7), cap.mlp(1)
    np.testing.assert_allclose(values.gelu_gate * values.up, values.act, atol=1e-5)
    np.testing.assert_array_equal(values.act, whole.act[5].numpy())
    assert values.most_active.tolist() == np.argsort(-np.abs(values.act), kind="stable")[:7].tolist()
    assert values.open_share == pytest.approx((values.gate > 0).mean())


def test_what_a_neuron_carries_is_the_length_of_what_it_adds(cap: gv.Capture) -> None:
    values, whole = mlp.neurons(cap, 2, 4, k=7), cap.mlp(2)
    down = cap.model.hf.model.layers[2].mlp.down_proj.weight.detach().double().cpu().numpy()
    added = down * whole.act[4].double().numpy()  # [d_model, neuron]
    np.testing.assert_allclose(added.sum(1), whole.projected[4].numpy(), rtol=1e-3, atol=1e-4)
    lengths = np.sqrt((added**2).sum(0))
    np.testing.assert_allclose(values.carried, lengths, rtol=1e-4)
    assert values.most_carrying.tolist() == np.argsort(-lengths)[:7].tolist()


def test_so_many_neurons_carry_most_and_one_fewer_do_not(cap: gv.Capture) -> None:
    values = mlp.neurons(cap, 1, 5)
    lengths = np.sort(values.carried.astype(float))[::-1]
    n, enough = values.n_for_most, 0.9 * lengths.sum()
    assert lengths[: n - 1].sum() < enough <= lengths[:n].sum()
    np.testing.assert_allclose(values.cumulative, lengths.cumsum() / lengths.sum(), rtol=1e-5)
    assert values.cumulative[-1] == pytest.approx(1)
