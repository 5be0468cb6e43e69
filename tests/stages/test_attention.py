"""Small maps of all heads, and one head large."""

import numpy as np
import pytest

import gemma_viz as gv
from gemma_viz.stages import attention


def test_small_maps_of_a_short_prompt_are_the_patterns(cap: gv.Capture) -> None:
    values = attention.attention_overview(cap)
    assert values.maps.shape == (cap.model.spec.n_layers, cap.model.spec.n_heads, len(cap), len(cap))
    np.testing.assert_allclose(values.maps[2] / 255, cap.attention(2).pattern.numpy(), atol=0.5 / 255 + 1e-6)


def test_small_maps_of_a_long_prompt_keep_the_largest_weights(tiny_models: dict[str, gv.Model]) -> None:
    cap = tiny_models["gemma2"].capture("the red cat " * 20)
    values = attention.attention_overview(cap)
    assert len(cap) > attention.POOLED_TO
    assert values.maps.shape[-2:] == (attention.POOLED_TO, attention.POOLED_TO)
    largest = cap.attention(1).pattern.amax((-1, -2)).numpy()
    np.testing.assert_allclose(values.maps[1].max((-1, -2)) / 255, largest, atol=0.5 / 255 + 1e-6)


def test_progress_of_the_overview_ends_at_one(cap: gv.Capture) -> None:
    shares: list[float] = []
    attention.attention_overview(cap, shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_a_head_is_that_part_of_its_layer(cap: gv.Capture) -> None:
    layer, head, position = 3, 4, 7
    values, whole = attention.head(cap, layer, head, position), cap.attention(layer)
    np.testing.assert_array_equal(np.nan_to_num(values.pattern), whole.pattern[head].numpy())
    assert (np.isnan(values.pattern) == np.isneginf(whole.scores[head].numpy())).all()
    np.testing.assert_array_equal(values.scores, whole.scores[head, position].numpy())
    np.testing.assert_array_equal(values.keys, whole.rot_k[values.kv_head].numpy())
    assert values.weights.sum() == pytest.approx(1, abs=1e-6)
    assert values.kv_head == head * cap.model.spec.n_kv_heads // cap.model.spec.n_heads
