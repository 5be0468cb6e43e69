"""Rotations, scores by distance, and the parts of a score."""

import math

import numpy as np
import pytest

import gemma_viz as gv
from gemma_viz.stages import rope
from tests.conftest import PROMPT


def test_a_pair_is_turned_by_its_angle_and_keeps_its_length(cap: gv.Capture) -> None:
    values = rope.rotation(cap, layer=2, head=1, pair=1)
    for before, after in ((values.q, values.rot_q), (values.k, values.rot_k)):
        ours = (before[:, 0] + 1j * before[:, 1]) * np.exp(1j * np.radians(values.degrees))
        np.testing.assert_allclose(after[:, 0] + 1j * after[:, 1], ours, atol=1e-4)
    wavelength = 2 * math.pi * cap.model.spec.rope_thetas[2] ** (1 / 8)  # pair 1 of 8
    assert values.wavelength == pytest.approx(wavelength, rel=1e-5)


def test_the_keys_are_those_that_the_head_reads(cap: gv.Capture) -> None:
    heads_to_a_key = 6 // len(cap.attention(1).k)
    for head in range(6):
        values = rope.rotation(cap, layer=1, head=head, pair=2)
        assert values.kv_head == head // heads_to_a_key
        np.testing.assert_array_equal(values.k, cap.attention(1).k[values.kv_head][:, [2, 10]])


def test_scores_depend_on_the_distance_only(cap: gv.Capture) -> None:
    values = rope.score_by_distance(cap, layer=2, head=1, query=6, key=5, shift=100)
    np.testing.assert_allclose(values.scores, values.scores_moved, atol=1e-3)
    assert values.moved == pytest.approx(values.score, abs=1e-3)
    assert np.ptp(values.scores) > 0.1, "and on the distance they do depend"


@pytest.mark.parametrize(("query", "key"), [(9, 9), (9, 8), (9, 4), (0, 0)])
def test_the_score_at_the_real_distance_is_the_models(cap: gv.Capture, query: int, key: int) -> None:
    for layer in range(4):
        values = rope.score_by_distance(cap, layer, head=1, query=query, key=key, shift=7)
        assert values.score == pytest.approx(values.models, abs=1e-3)
        assert values.scores[query - key] == pytest.approx(values.models, abs=1e-3)
        models = float(cap.attention(layer).scores[1, query, key])
        assert values.visible == math.isfinite(models)
        softcap = cap.model.spec.attention_softcap
        if not values.visible:
            assert values.capped is None
        elif softcap is None:
            assert values.capped is None
            assert values.models == pytest.approx(models, abs=1e-5)
        else:
            assert values.capped == pytest.approx(models, abs=1e-5)
            assert softcap * math.tanh(values.models / softcap) == pytest.approx(models, abs=1e-5)


def test_a_distance_longer_than_the_usual_curve_is_on_it(tiny_models: dict[str, gv.Model]) -> None:
    cap = tiny_models["gemma1"].capture(PROMPT * 4)
    values = rope.score_by_distance(cap, layer=0, head=0, query=len(cap) - 1, key=2, shift=3)
    assert values.distances[-1] == len(cap) - 3 > rope.LEAST_DISTANCES
    assert values.scores[-1] == pytest.approx(values.models, abs=1e-3)


def test_the_parts_of_a_score_are_its_pairs_and_sum_to_it(cap: gv.Capture) -> None:
    values = rope.contributions(cap, layer=2, head=3, query=8, key=6)
    inside, scale = cap.attention(2), cap.model.spec.attention_scale
    q, k = inside.rot_q[3, 8].tolist(), inside.rot_k[3 // cap.model.spec.group_size, 6].tolist()
    for pair, part in enumerate(values.parts.tolist()):
        assert part == pytest.approx((q[pair] * k[pair] + q[pair + 8] * k[pair + 8]) * scale, rel=1e-3, abs=1e-4)
    assert float(values.parts.sum()) == pytest.approx(values.score, abs=1e-3)
    models = rope.score_by_distance(cap, layer=2, head=3, query=8, key=6, shift=0).models
    assert values.score == models
