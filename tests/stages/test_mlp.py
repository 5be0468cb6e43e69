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
    np.testing.assert_array_equal(mlp.activations(cap, 1, 3), whole.act[:, 3].numpy())
