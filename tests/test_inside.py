"""The inside of a layer's attention: windows, scores and patterns, and parts of them."""

import pytest
import torch

import gemma_viz as gv
from tests.conftest import FAMILIES, PROMPT
from tests.reference import TOLERANCE, allowed_keys, difference, window_of


@pytest.fixture(params=[(family, bos) for family in FAMILIES for bos in (True, False)], ids=str)
def cap(
    request: pytest.FixtureRequest, tiny_models: dict[str, gv.Model], tiny_models_without_bos: dict[str, gv.Model]
) -> gv.Capture:
    """A tiny model's capture of PROMPT, with and without <bos> before it."""
    family, bos = request.param
    return (tiny_models if bos else tiny_models_without_bos)[family].capture(PROMPT)


def windows(model: gv.Model) -> list[int | None]:
    return [window_of(model.hf, layer) for layer in range(model.spec.n_layers)]


def test_pattern_rows_sum_to_one_inside_the_window(cap: gv.Capture) -> None:
    for layer, window in enumerate(windows(cap.model)):
        pattern = cap.attention(layer).pattern
        inside = pattern.masked_fill(~allowed_keys(len(cap), window), 0)
        torch.testing.assert_close(inside.sum(-1), torch.ones(6, len(cap)), atol=1e-5, rtol=0)


def test_scores_are_minus_infinity_and_patterns_zero_above_the_diagonal_and_outside_the_window(
    cap: gv.Capture,
) -> None:
    for layer, window in enumerate(windows(cap.model)):
        attention = cap.attention(layer)
        allowed = allowed_keys(len(cap), window).expand(6, -1, -1)
        assert (attention.scores[~allowed] == -torch.inf).all()
        assert (attention.pattern[~allowed] == 0).all()
        assert attention.scores[allowed].isfinite().all()
        assert (attention.pattern[allowed] > 0).all()


def test_the_tiny_models_have_both_kinds_of_layer_and_prompts_longer_than_their_windows(
    tiny_models: dict[str, gv.Model],
) -> None:
    assert [windows(tiny_models[family]) for family in FAMILIES] == [[None] * 4, [6, None, 6, None], [5, 5, None, 5]]
    assert all(len(model.capture(PROMPT)) > 2 * 6 for model in tiny_models.values())


@pytest.mark.parametrize("heads", [slice(0, 1), slice(1, 4), slice(5, None), slice(None), slice(-2, None), slice(4, 4)])
def test_scores_of_some_heads_are_that_part_of_the_scores(tiny: gv.Model, heads: slice) -> None:
    attention = tiny.capture(PROMPT).attention(1)
    torch.testing.assert_close(attention.scores_of(heads), attention.scores[heads], atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("layer", range(4))
def test_scores_of_some_queries_and_keys_are_that_part_of_the_scores(tiny: gv.Model, layer: int) -> None:
    attention = tiny.capture(PROMPT).attention(layer)
    for queries, keys in ((slice(9, 10), slice(4, 5)), (slice(3, 8), slice(0, 2)), (slice(2, 4), slice(3, 9))):
        part = attention.scores_of(slice(None), queries, keys)
        torch.testing.assert_close(part, attention.scores[:, queries, keys], atol=1e-5, rtol=1e-6)


def test_z_is_the_pattern_times_the_values(tiny: gv.Model) -> None:
    attention = tiny.capture(PROMPT).attention(2)
    shared_by = tiny.spec.group_size
    values = torch.stack([attention.v[head // shared_by] for head in range(6)])
    assert difference(attention.pattern @ values, attention.z) < TOLERANCE
