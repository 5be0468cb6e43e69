"""Small maps of all heads, and measures of what each does."""

import numpy as np
import pytest
import torch

import gemma_viz as gv
from gemma_viz.stages import heads
from tests.stages.conftest import by_layer


def test_small_maps_of_a_short_prompt_are_the_patterns(cap: gv.Capture) -> None:
    layers = by_layer(heads.layer_heads, cap)
    assert [layer.maps.shape for layer in layers] == [(6, len(cap), len(cap))] * 4
    np.testing.assert_allclose(layers[2].maps / 255, cap.attention(2).pattern.numpy(), atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize("queries_at_once", [1, 10, 1000])
def test_small_maps_of_a_long_prompt_keep_the_largest_weight_of_each_cell(
    tiny: gv.Model, queries_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "QUERIES_AT_ONCE", queries_at_once)
    cap = tiny.capture("the red cat " * 21)
    maps = heads.layer_heads(cap, 1).maps
    n, cell = len(cap), heads.cell_size(len(cap))
    assert n > heads.POOLED_TO
    assert n % cell != 0, "the last cells are smaller"
    side = maps.shape[-1]
    assert maps.shape[-2:] == (side, side)
    assert n <= side * cell < n + cell
    assert side <= heads.POOLED_TO
    pattern = cap.attention(1).pattern.numpy()
    for row, column in [(0, 0), (3, 2), (side - 1, 0), (side - 1, side - 1)]:
        largest = pattern[:, row * cell : (row + 1) * cell, column * cell : (column + 1) * cell].max((1, 2))
        np.testing.assert_allclose(maps[:, row, column] / 255, largest, atol=0.5 / 255 + 1e-6)


def band_of(pattern: np.ndarray) -> heads.Band:
    """One head's pattern, all queries at once."""
    return range(len(pattern)), 0, torch.from_numpy(pattern)[None].float()


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
        "distance": float(np.mean([sum(pattern[q, k] * (q - k) for k in range(n)) for q in later])),
        "induction": float(np.mean([pattern[q, after[q]].sum() for q in repeated])) if repeated else np.nan,
    }


IDS = [0, 5, 6, 5, 6]
PREVIOUS = np.eye(5, k=-1) + np.eye(5)[:, :1] * np.eye(5)[0]  # the first token can only read itself
FIRST = np.eye(5)[[0] * 5]
ITSELF = np.eye(5)
INDUCTION = np.eye(5)[[0, 0, 0, 2, 3]]  # the second 5 reads what came after the first one, and so does the second 6
EVEN = np.tri(5) / np.arange(1, 6)[:, None]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (PREVIOUS, {"previous": 1, "first": 1 / 4, "itself": 0, "tokens_read": 1, "distance": 1, "induction": 1}),
        (FIRST, {"previous": 1 / 4, "first": 1, "itself": 0, "tokens_read": 1, "distance": 2.5, "induction": 0}),
        (ITSELF, {"previous": 0, "first": 0, "itself": 1, "tokens_read": 1, "distance": 0, "induction": 0}),
        (INDUCTION, {"first": 1 / 2, "itself": 0, "tokens_read": 1, "induction": 1}),
        (
            EVEN,
            {"tokens_read": (2 + 3 + 4 + 5) / 4, "distance": (0.5 + 1 + 1.5 + 2) / 4, "induction": (1 / 4 + 1 / 5) / 2},
        ),
    ],
    ids=["previous", "first", "itself", "induction", "even"],
)
def test_measures_of_made_up_patterns_are_what_the_heads_do(pattern: np.ndarray, expected: dict[str, float]) -> None:
    found = heads.measures(iter([band_of(pattern)]), torch.tensor(IDS))
    for name, value in expected.items():
        assert getattr(found, name)[0] == pytest.approx(value, abs=1e-6), name
        assert measures_by_hand(pattern, IDS)[name] == pytest.approx(value), f"{name}, by the reference"


def test_the_profile_is_the_average_weight_by_distance() -> None:
    profile = heads.measures(iter([band_of(EVEN)]), torch.tensor(IDS)).profile[0]
    by_hand = [np.mean([EVEN[q, q - d] for q in range(max(d, 1), 5)]) for d in range(5)]
    np.testing.assert_allclose(profile, by_hand, atol=1e-6)


def test_heads_are_ordered_by_a_measure_and_filtered(tiny: gv.Model) -> None:
    layers = by_layer(heads.layer_heads, tiny.capture("the red cat the red cat"))
    every = heads.ordered(layers, "previous")
    assert len(every) == 24
    assert {(place.layer, place.head) for place in every} == {(i, j) for i in range(4) for j in range(6)}
    assert [place.measure for place in every] == sorted((place.measure for place in every), reverse=True)
    assert every[0].measure == pytest.approx(layers[every[0].layer].measures.previous[every[0].head])
    some = heads.ordered(layers, "previous", at_least=every[5].measure)
    assert some == every[:6]
    assert heads.in_model_order(layers)[7] == heads.HeadPlace(1, 1, pytest.approx(np.nan, nan_ok=True))
    assert heads.ordered(by_layer(heads.layer_heads, tiny.capture("the cat")), "induction") == ()


@pytest.mark.parametrize("edits", [gv.Edits(), gv.Edits(causal_mask=False)])
@pytest.mark.parametrize("queries_at_once", [4, 1000])
def test_head_measures_are_those_of_the_patterns(
    tiny: gv.Model, queries_at_once: int, edits: gv.Edits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "QUERIES_AT_ONCE", queries_at_once)
    cap = tiny.capture("the red cat the red cat moving the cat", edits=edits)
    for layer in range(4):
        found, pattern = heads.layer_heads(cap, layer).measures, cap.attention(layer).pattern.double().numpy()
        for head in range(6):
            profile = [np.mean([pattern[head, q, q - d] for q in range(max(d, 1), len(cap))]) for d in range(len(cap))]
            np.testing.assert_allclose(found.profile[head], profile, atol=1e-5)
            for name, expected in measures_by_hand(pattern[head], cap.token_ids.tolist()).items():
                assert getattr(found, name)[head] == pytest.approx(expected, rel=1e-4, abs=1e-5), name


def test_a_text_without_repetition_has_no_induction(embedded: gv.Model) -> None:
    found = heads.layer_heads(embedded.capture("I want to move"), 2).measures
    assert np.isnan(found.induction).all()
    assert np.isfinite(found.previous).all()
    alone = heads.layer_heads(embedded.capture(""), 2).measures
    assert np.isnan(alone.previous).all()
