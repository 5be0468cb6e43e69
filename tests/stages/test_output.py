"""Predictions after every token, and the same with a step left out."""

import numpy as np
import pytest
import torch

import gemma_viz as gv
from gemma_viz import ranking
from gemma_viz.stages import output
from tests.conftest import PROMPT


def test_predictions_are_the_models_after_every_token(cap: gv.Capture) -> None:
    values = output.predictions(cap, k=4)
    with torch.no_grad():
        logits = cap.model.hf(cap.token_ids[None]).logits[0].float()
    probabilities = logits.softmax(-1)
    np.testing.assert_allclose(values.logits, logits.topk(4).values.numpy(), atol=1e-4)
    np.testing.assert_allclose(values.probabilities, probabilities.topk(4).values.numpy(), atol=1e-5)
    following = cap.token_ids[1:]
    actual = probabilities[:-1].gather(-1, following[:, None])[:, 0]
    np.testing.assert_allclose(values.actual_probability, actual.numpy(), atol=1e-5)
    ranks = [int((row > row[token]).sum()) + 1 for row, token in zip(logits[:-1], following, strict=True)]
    assert values.actual_rank.tolist() == ranks


def test_predictions_in_blocks_are_the_same(cap: gv.Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = output.predictions(cap)
    monkeypatch.setattr(ranking, "POSITIONS_AT_ONCE", 3)
    in_blocks = output.predictions(cap)
    np.testing.assert_allclose(in_blocks.logits, at_once.logits, atol=1e-5)
    assert in_blocks.actual_rank.tolist() == at_once.actual_rank.tolist()


def test_comparing_with_nothing_left_out_shows_no_difference(cap: gv.Capture) -> None:
    values = output.compare(cap, cap, 4)
    np.testing.assert_array_equal(values.baseline, values.edited)
    assert values.kl_divergence == 0
    assert values.baseline_scale == values.edited_scale


def test_comparing_is_the_two_distributions(cap: gv.Capture) -> None:
    edits = gv.Edits(mlp=False)
    edited = cap.model.capture(PROMPT, edits)
    values = output.compare(cap, edited, 4)
    p, q = (c.logits([4])[0].double().softmax(-1) for c in (cap, edited))
    np.testing.assert_allclose(values.baseline, p[list(values.ids)].numpy(), rtol=1e-4)
    np.testing.assert_allclose(values.edited, q[list(values.ids)].numpy(), rtol=1e-4)
    assert values.kl_divergence == pytest.approx(float((p * (p / q).log()).sum()), rel=1e-3)


def test_a_run_that_breaks_down_is_said_to_be_no_number(embedded: gv.Model) -> None:
    text = "I want to move"
    values = output.compare(embedded.capture(text), embedded.capture(text, gv.Edits(norms=False)), 4)
    assert not values.is_finite
    assert len(values.ids) == 5, "the untouched run's tokens only"
