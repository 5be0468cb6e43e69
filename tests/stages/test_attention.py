"""Small maps of all heads, and one head large."""

import numpy as np
import pytest

import gemma_viz as gv
from gemma_viz.stages import attention
from tests.stages.conftest import by_layer


def test_small_maps_of_a_short_prompt_are_the_patterns(cap: gv.Capture) -> None:
    values = attention.attention_overview(by_layer(attention.small_maps, cap), len(cap))
    assert values.maps.shape == (cap.model.spec.n_layers, cap.model.spec.n_heads, len(cap), len(cap))
    np.testing.assert_allclose(values.maps[2] / 255, cap.attention(2).pattern.numpy(), atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize("queries_at_once", [1, 10, 1000])
def test_small_maps_of_a_long_prompt_keep_the_largest_weight_of_each_cell(
    tiny: gv.Model, queries_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "QUERIES_AT_ONCE", queries_at_once)
    cap = tiny.capture("the red cat " * 21)
    values = attention.attention_overview(by_layer(attention.small_maps, cap), len(cap))
    n, cell = len(cap), values.cell
    assert n > attention.POOLED_TO
    assert n % cell != 0, "the last cells are smaller"
    side = values.maps.shape[-1]
    assert values.maps.shape[-2:] == (side, side)
    assert n <= side * cell < n + cell
    assert side <= attention.POOLED_TO
    pattern = cap.attention(1).pattern.numpy()
    for row, column in [(0, 0), (3, 2), (side - 1, 0), (side - 1, side - 1)]:
        largest = pattern[:, row * cell : (row + 1) * cell, column * cell : (column + 1) * cell].max((1, 2))
        np.testing.assert_allclose(values.maps[1, :, row, column] / 255, largest, atol=0.5 / 255 + 1e-6)


def test_a_head_is_that_part_of_its_layer(cap: gv.Capture) -> None:
    layer, head, position = 3, 4, 7
    values, whole = attention.head(cap, layer, head, position), cap.attention(layer)
    assert values.shown == range(len(cap))
    np.testing.assert_allclose(np.nan_to_num(values.pattern), whole.pattern[head].numpy(), atol=1e-6)
    assert (np.isnan(values.pattern) == np.isneginf(whole.scores[head].numpy())).all()
    np.testing.assert_allclose(values.scores, whole.scores[head, position].numpy(), rtol=1e-5, atol=1e-5)
    assert values.weights.sum() == pytest.approx(1, abs=1e-6)
    assert values.kv_head == head * cap.model.spec.n_kv_heads // cap.model.spec.n_heads
    assert values.strongest.tolist() == np.argsort(-values.weights, kind="stable")[: len(values.strongest)].tolist()
    assert (values.scores[values.strongest] > -np.inf).all()
    np.testing.assert_array_equal(values.strongest_keys, whole.rot_k[values.kv_head][values.strongest].numpy())


def test_of_a_long_prompt_the_part_of_the_pattern_around_the_query_is_given(
    cap: gv.Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "LARGEST_PATTERN", 6)
    values = attention.head(cap, 2, 1, 8)
    assert values.shown == range(5, 11)
    whole = cap.attention(2)
    np.testing.assert_allclose(np.nan_to_num(values.pattern), whole.pattern[1, 5:11, 5:11].numpy(), atol=1e-6)
    np.testing.assert_allclose(values.weights, whole.pattern[1, 8].numpy(), atol=1e-6)


def test_of_a_long_prompt_the_first_tokens_are_checked(cap: gv.Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "TOKENS_CHECKED", 9)
    for layer in range(4):
        checked = attention.check_attention(cap, layer)
        assert "first 9 tokens" in checked.call
        assert checked.result == "[6, 9, 16]"
        assert checked.largest_difference < 1e-4 * checked.largest_value
