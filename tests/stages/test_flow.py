"""The streams of all tokens through all layers, and what a token's attention reads."""

import numpy as np
import pytest
import torch

import gemma_viz as gv
from gemma_viz.stages import flow, heads
from tests.stages.conftest import by_layer


def flow_of(cap: gv.Capture, shown: range) -> flow.Flow:
    return flow.flow(flow.embedded_rms(cap), by_layer(flow.layer_flow, cap), shown)


def size(x: torch.Tensor) -> np.ndarray:
    return x.double().pow(2).mean(-1).sqrt().numpy()


def test_streams_and_updates_have_the_sizes_of_the_captures_own(cap: gv.Capture) -> None:
    values, shown = flow_of(cap, range(2, 9)), slice(2, 9)
    np.testing.assert_allclose(values.stream_rms[0], size(cap.resid_pre(0))[shown], rtol=1e-5)
    for layer in range(cap.model.spec.n_layers):
        before, middle, after = cap.resid_pre(layer), cap.resid_mid(layer), cap.resid_post(layer)
        np.testing.assert_allclose(values.stream_rms[2 * layer + 1], size(middle)[shown], rtol=1e-5)
        np.testing.assert_allclose(values.stream_rms[2 * layer + 2], size(after)[shown], rtol=1e-5)
        attention = size(middle.double() - before.double()) / size(before)
        mlp = size(after.double() - middle.double()) / size(middle)
        np.testing.assert_allclose(values.attention[layer], attention[shown], rtol=1e-3)
        np.testing.assert_allclose(values.mlp[layer], mlp[shown], rtol=1e-3)


@pytest.mark.parametrize("queries_at_once", [4, 1000])
def test_what_is_read_are_the_largest_mean_weights(
    cap: gv.Capture, queries_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "QUERIES_AT_ONCE", queries_at_once)
    for layer in range(cap.model.spec.n_layers):
        found = flow.layer_flow(cap, layer)
        mean = cap.attention(layer).pattern.mean(0).numpy()
        np.testing.assert_allclose(found.weights, -np.sort(-mean, axis=1)[:, :3], atol=1e-6)
        there = found.weights > 0  # the first tokens have fewer to read than are named
        of_named = np.take_along_axis(mean, found.read, axis=1)
        np.testing.assert_allclose(of_named[there], found.weights[there], atol=1e-6)
        assert (found.read[~there] == 0).all()


def test_a_text_of_one_token_reads_itself(tiny: gv.Model) -> None:
    found = flow.layer_flow(tiny.capture(""), 1)
    np.testing.assert_array_equal(found.read, [[0, 0, 0]])
    np.testing.assert_allclose(found.weights, [[1, 0, 0]])


def test_an_attention_that_is_left_out_adds_nothing(tiny: gv.Model) -> None:
    found = flow.layer_flow(tiny.capture("the red cat", edits=gv.Edits(attention=False)), 2)
    assert (found.attention == 0).all()
    assert (found.mlp > 0).all()


def test_what_is_read_out_is_likeliest_at_the_end_and_by_the_lens(cap: gv.Capture) -> None:
    following, early, by_lens = flow.following(cap, range(3, 6)), flow.early(cap, 4), cap.lens(4, target=0, k=1)
    for at, position in enumerate(range(3, 6)):
        best = cap.top_k(1, position)
        assert following.texts[at] == best.texts[0]
        assert following.probabilities[at] == pytest.approx(best.probabilities[0], rel=1e-4)
    assert early.texts == tuple(cap.model.token_text(int(by_lens.ids[depth, 0])) for depth in (1, 2, 3))
    np.testing.assert_allclose(early.probabilities, by_lens.probabilities[[1, 2, 3], 0], rtol=1e-4)


@pytest.mark.parametrize(("n_layers", "expected"), [(1, ()), (2, (1,)), (18, (3, 5, 8, 10, 13, 15))])
def test_depths_lie_between_the_first_and_the_last(n_layers: int, expected: tuple[int, ...]) -> None:
    assert flow.depths(n_layers) == expected
