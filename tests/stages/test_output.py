"""Predictions after every token, surprise, the two ends of the model, and the same with a step left out."""

import math

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
        logits = cap.model.hf(cap.token_ids[None].to(cap.model.device)).logits[0].float().cpu()
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


def test_the_loss_is_transformers_own(cap: gv.Capture) -> None:
    ids = cap.token_ids[None].to(cap.model.device)
    with torch.no_grad():
        expected = float(cap.model.hf(ids, labels=ids).loss)
    values = output.predictions(cap)
    assert values.loss == pytest.approx(expected, rel=1e-5)
    assert values.perplexity == pytest.approx(math.exp(expected), rel=1e-4)
    np.testing.assert_allclose(values.surprise, -np.log(values.actual_probability), rtol=1e-4, atol=1e-5)


def test_a_single_token_has_no_surprise(tiny: gv.Model) -> None:
    values = output.predictions(tiny.capture(""))
    assert values.surprise.shape == (0,)
    assert math.isnan(values.loss)


def test_sharpness_is_that_of_the_runs_with_and_without_the_final_norm(cap: gv.Capture) -> None:
    for found, run in zip(
        output.sharpness(cap, 4), (cap, cap.model.capture(PROMPT, gv.Edits(final_norm=False))), strict=True
    ):
        log_p = run.logits([4])[0].double().log_softmax(-1)
        assert found.entropy == pytest.approx(float(-(log_p.exp() * log_p).sum()), rel=1e-4, abs=1e-6)
        best = int(log_p.argmax())
        assert found.probability == pytest.approx(float(log_p[best].exp()), rel=1e-4)
        assert found.likeliest == cap.model.token_text(best)


def test_the_soft_cap_bends_the_logits_that_it_is_shown_with(cap: gv.Capture) -> None:
    values = output.soft_cap(cap, 4)
    if cap.model.spec.family != "Gemma 2":
        assert values is None
        return
    assert values is not None
    np.testing.assert_allclose(values.after, values.cap * np.tanh(values.before / values.cap), rtol=1e-5, atol=1e-6)
    assert (np.diff(values.before) <= 0).all()
    logits = cap.logits([4])[0]
    assert values.after[0] == pytest.approx(float(logits.max()))
    assert values.after[-1] == pytest.approx(float(logits.min()))
    assert np.abs(values.before - values.after).max() > 0.1, "the tiny model's cap is low enough to show"


def test_a_row_is_used_at_both_ends(cap: gv.Capture) -> None:
    token = int(cap.token_ids[3])
    values = output.both_ends(cap, 5, token)
    np.testing.assert_array_equal(values.embedding_row, values.unembedding_row)
    np.testing.assert_allclose(values.embedding_row * values.scale, cap.resid_pre(0)[3].numpy(), rtol=1e-5)
    assert values.product == pytest.approx(values.logit, abs=1e-4)
    softcap = cap.model.spec.final_softcap
    capped = softcap * math.tanh(values.product / softcap) if softcap else values.product
    assert capped == pytest.approx(float(cap.logits([5])[0, token]), abs=1e-4)


def test_the_code_checked_in_blocks_of_the_vocabulary_is_the_same(
    cap: gv.Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "ROWS_AT_ONCE", 7)
    check = output.check_unembed(cap, 4)
    assert check.result == str([1, cap.model.spec.vocab_size])
    assert check.largest_difference <= 1e-5 * check.largest_value
