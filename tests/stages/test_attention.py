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


def measures_by_hand(pattern: np.ndarray, ids: list[int]) -> dict[str, float]:
    """Of one head's pattern [query, key], written out query by query."""
    n = len(ids)
    later = range(1, n)
    repeated = [q for q in range(n) if ids[q] in ids[:q]]
    after = {q: [p + 1 for p in range(q) if ids[p] == ids[q]] for q in repeated}
    return {
        "previous": float(np.mean([pattern[q, q - 1] for q in later])),
        "first": float(np.mean([pattern[q, 0] for q in later])),
        "itself": float(np.mean([pattern[q, q] for q in later])),
        "tokens_read": float(np.mean([np.exp(-sum(w * np.log(w) for w in pattern[q] if w > 0)) for q in later])),
        "distance": float(np.mean([sum(pattern[q, k] * (q - k) for k in range(q + 1)) for q in later])),
        "induction": float(np.mean([pattern[q, after[q]].sum() for q in repeated])) if repeated else np.nan,
    }


def test_measures_of_made_up_patterns_are_what_the_heads_do() -> None:
    ids = [0, 5, 6, 5, 6]
    previous = np.eye(5, k=-1)
    previous[0, 0] = 1
    assert measures_by_hand(previous, ids)["previous"] == 1
    assert measures_by_hand(previous, ids)["tokens_read"] == 1
    induction = np.eye(5)
    induction[3], induction[4] = np.eye(5)[2], np.eye(5)[3]  # the 5 reads the 6 after the first 5, the 6 the second 5
    assert measures_by_hand(induction, ids)["induction"] == 1
    even = np.tri(5) / np.arange(1, 6)[:, None]
    assert measures_by_hand(even, ids)["tokens_read"] == pytest.approx(np.mean([2, 3, 4, 5]))
    assert measures_by_hand(even, ids)["distance"] == pytest.approx(np.mean([0.5, 1, 1.5, 2]))


@pytest.mark.parametrize("queries_at_once", [4, 1000])
def test_head_measures_are_those_of_the_patterns(
    tiny: gv.Model, queries_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "QUERIES_AT_ONCE", queries_at_once)
    cap = tiny.capture("the red cat the red cat moving the cat")
    for layer in range(4):
        found, pattern = attention.head_measures(cap, layer), cap.attention(layer).pattern.double().numpy()
        for head in range(6):
            for name, expected in measures_by_hand(pattern[head], cap.token_ids.tolist()).items():
                assert getattr(found, name)[head] == pytest.approx(expected, rel=1e-4, abs=1e-5), name


def test_a_text_without_repetition_has_no_induction(embedded: gv.Model) -> None:
    found = attention.head_measures(embedded.capture("I want to move"), 2)
    assert np.isnan(found.induction).all()
    assert np.isfinite(found.previous).all()
    alone = attention.head_measures(embedded.capture(""), 2)
    assert np.isnan(alone.previous).all()
