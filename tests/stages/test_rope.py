"""Wavelengths, rotations, and scores by distance."""

import math

import numpy as np
import pytest

import gemma_viz as gv
from gemma_viz.stages import rope
from tests.conftest import PROMPT


def test_wavelengths_are_those_of_the_models_own_rotary_embedding(cap: gv.Capture) -> None:
    rotary = cap.model.hf.model.rotary_emb
    frequencies = [
        getattr(rotary, name) for name in dir(rotary) if name.endswith("inv_freq") and "original" not in name
    ]
    models = sorted(2 * math.pi / float(f[-1]) for f in frequencies)
    values = rope.wavelengths(cap)
    assert sorted(float(line[-1]) for line in values.wavelengths.values()) == pytest.approx(models, rel=1e-4)
    assert sorted(layer for layers in values.layers.values() for layer in layers) == [*range(cap.model.spec.n_layers)]


def test_a_pair_is_turned_by_its_angle_and_keeps_its_length(cap: gv.Capture) -> None:
    values = rope.rotation(cap, layer=2, head=1, pair=1)
    before, after = (points[:, 0] + 1j * points[:, 1] for points in (values.before, values.after))
    np.testing.assert_allclose(after, before * np.exp(1j * np.radians(values.degrees)), atol=1e-4)


def test_scores_depend_on_the_distance_only(cap: gv.Capture) -> None:
    values = rope.score_by_offset(cap, layer=2, head=1, query=6, key=5)
    np.testing.assert_allclose(values.scores, values.scores_shifted, atol=1e-3)
    assert np.ptp(values.scores) > 0.1, "and on the distance they do depend"


def test_the_score_at_the_real_distance_is_the_models(tiny_models: dict[str, gv.Model]) -> None:
    cap = tiny_models["gemma1"].capture(PROMPT)
    values = rope.score_by_offset(cap, layer=2, head=1, query=9, key=4)
    assert values.scores[5] == pytest.approx(float(cap.attention(2).scores[1, 9, 4]), abs=1e-3)
