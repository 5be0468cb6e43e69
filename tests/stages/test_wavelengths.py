"""Wavelengths, and how long each pair is."""

import math

import numpy as np
import pytest

import gemma_viz as gv
from gemma_viz.stages import wavelengths


def test_wavelengths_are_those_of_the_models_own_rotary_embedding(cap: gv.Capture) -> None:
    rotary = cap.model.hf.model.rotary_emb
    frequencies = [
        getattr(rotary, name) for name in dir(rotary) if name.endswith("inv_freq") and "original" not in name
    ]
    models = sorted((2 * math.pi / f.double().cpu().numpy() for f in frequencies), key=lambda line: line[-1])
    values = wavelengths.wavelengths(cap)
    ours = sorted(values.wavelengths.values(), key=lambda line: line[-1])
    np.testing.assert_allclose(np.stack(ours), np.stack(models), rtol=1e-5)
    assert sorted(layer for layers in values.layers.values() for layer in layers) == [*range(cap.model.spec.n_layers)]


def test_each_layer_has_the_wavelengths_of_its_theta(cap: gv.Capture) -> None:
    for layer, theta in enumerate(cap.model.spec.rope_thetas):
        ours = wavelengths.layer_wavelengths(cap, layer)
        np.testing.assert_allclose(ours, [2 * math.pi * theta ** (pair / 8) for pair in range(8)], rtol=1e-5)


def test_a_pair_is_as_long_as_its_two_components_before_and_after_turning(cap: gv.Capture) -> None:
    values, inside = wavelengths.pair_lengths(cap, 1), cap.attention(1)
    assert values.q.shape == (6, 8)
    assert values.k.shape == (len(inside.k), 8)
    for ours, *vectors in ((values.q, inside.q, inside.rot_q), (values.k, inside.k, inside.rot_k)):
        for vector in vectors:
            plain = np.hypot(vector[..., :8].numpy(), vector[..., 8:].numpy()).mean(1)  # [head, pair]
            np.testing.assert_allclose(ours, plain, rtol=1e-4)
    assert values.q[2, 3] == pytest.approx(
        sum(math.hypot(*q) for q in inside.q[2][:, [3, 11]].tolist()) / len(cap), rel=1e-4
    )


def test_the_pair_that_is_shown_first_turns_visibly_and_not_too_fast() -> None:
    tokens_for_a_turn = np.array([6, 12, 25, 50, 200, np.inf], np.float32)
    assert wavelengths.visible_pair(tokens_for_a_turn, n_positions=1) == 2
    assert wavelengths.visible_pair(tokens_for_a_turn, n_positions=5) == 2
    assert wavelengths.visible_pair(tokens_for_a_turn, n_positions=200) == 4
