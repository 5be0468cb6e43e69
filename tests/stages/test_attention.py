"""One head, one query of it, and the arcs of a layer."""

import numpy as np
import pytest

import gemma_viz as gv
from gemma_viz.stages import attention


def test_a_head_is_that_part_of_its_layer(cap: gv.Capture) -> None:
    layer, head = 3, 4
    values, whole = attention.head(cap, layer, head, 7), cap.attention(layer)
    assert values.shown == range(len(cap))
    assert values.whole is None
    np.testing.assert_allclose(np.nan_to_num(values.pattern), whole.pattern[head].numpy(), atol=1e-6)
    assert (np.isnan(values.pattern) == np.isneginf(whole.scores[head].numpy())).all()
    assert values.kv_head == head * cap.model.spec.n_kv_heads // cap.model.spec.n_heads


def test_a_query_step_by_step(cap: gv.Capture) -> None:
    layer, head, position = 3, 4, 7
    values, whole = attention.query(cap, layer, head, position), cap.attention(layer)
    kv_head = head * cap.model.spec.n_kv_heads // cap.model.spec.n_heads
    np.testing.assert_allclose(values.scores, whole.scores[head, position].numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(values.weights, whole.pattern[head, position].numpy(), atol=1e-6)
    scaled = values.dots * cap.model.spec.attention_scale
    if cap.model.spec.attention_softcap:
        scaled = 2 * np.tanh(scaled / 2)
    seen = np.isfinite(values.scores)
    np.testing.assert_allclose(values.scores[seen], scaled[seen], rtol=1e-4, atol=1e-4)
    assert not seen[position + 1 :].any()
    assert values.strongest.tolist() == np.argsort(-values.weights, kind="stable")[: len(values.strongest)].tolist()
    assert seen[values.strongest].all()
    np.testing.assert_array_equal(values.strongest_keys, whole.rot_k[kv_head][values.strongest].numpy())
    np.testing.assert_allclose(values.strongest_keys @ values.q, values.dots[values.strongest], rtol=1e-4, atol=1e-4)
    read = (values.weights[:, None] * whole.v[kv_head].numpy()).sum(0)
    np.testing.assert_allclose(values.z, read, atol=1e-4)
    np.testing.assert_allclose(values.value_norms, np.linalg.norm(whole.v[kv_head].numpy(), axis=-1), rtol=1e-5)


def test_arcs_are_the_strongest_weights_of_every_query(cap: gv.Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "LINES_PER_QUERY", 3)
    whole = cap.attention(1).pattern.numpy()
    for width, position in ((512, 4), (8, 9)):
        values = attention.arcs(cap, 1, position, width)
        assert position in values.shown
        part = whole[:, values.shown.start : values.shown.stop, values.shown.start : values.shown.stop]
        np.testing.assert_allclose(values.weights, -np.sort(-part, axis=-1)[..., :3], atol=1e-6)
        np.testing.assert_allclose(values.weights, np.take_along_axis(part, values.keys, -1), atol=1e-6)


def test_of_a_long_prompt_the_part_of_the_pattern_around_the_query_is_given(
    cap: gv.Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "LARGEST_PATTERN", 6)
    values = attention.head(cap, 2, 1, 8)
    assert values.shown == range(5, 11)
    whole = cap.attention(2)
    np.testing.assert_allclose(np.nan_to_num(values.pattern), whole.pattern[1, 5:11, 5:11].numpy(), atol=1e-6)


@pytest.mark.parametrize("edits", [gv.Edits(), gv.Edits(causal_mask=False), gv.Edits(window=3)])
def test_of_a_long_prompt_there_is_a_pooled_picture_too(
    cap: gv.Capture, monkeypatch: pytest.MonkeyPatch, edits: gv.Edits
) -> None:
    cap = cap.again(edits)
    monkeypatch.setattr(attention, "LARGEST_PATTERN", 6)
    monkeypatch.setattr(attention, "POOLED_TO", 7)
    values, pattern = attention.head(cap, 2, 1, 8), cap.attention(2).pattern[1].numpy()
    assert values.whole is not None
    cell, side = values.cell, len(values.whole)
    assert cell > 1
    assert side <= 7
    hidden = np.isneginf(cap.attention(2).scores[1].numpy())
    for row, column in np.ndindex(side, side):
        part = slice(row * cell, (row + 1) * cell), slice(column * cell, (column + 1) * cell)
        expected = np.nan if hidden[part].all() else pattern[part].max()
        assert values.whole[row, column] == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_of_a_long_prompt_the_first_tokens_are_checked(cap: gv.Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "TOKENS_CHECKED", 9)
    for layer in range(4):
        checked = attention.check_attention(cap, layer)
        assert "first 9 tokens" in checked.call
        assert checked.result == "[6, 9, 16]"
        assert checked.largest_difference < 1e-4 * checked.largest_value
