"""What the patching page measures, against captures made one by one."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import gemma_viz as gv
from gemma_viz.errors import EditsError
from gemma_viz.patching import Patch
from gemma_viz.stages import patching

CLEAN, CORRUPTED = "the cat want to move", "the red want to move"
ANSWERS = (5, 300)


def difference(cap: gv.Capture) -> float:
    logits = cap.logits([-1])[0]
    return float(logits[ANSWERS[0]] - logits[ANSWERS[1]])


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize("kind", ["resid_pre", "attn_out", "mlp_out", "z"])
def test_a_cell_is_what_a_capture_with_that_patch_recovers(tiny: gv.Model, kind: Any, direction: Any) -> None:
    clean, corrupted = tiny.capture(CLEAN), tiny.capture(CORRUPTED)
    base, source = (corrupted, clean) if direction == "denoise" else (clean, corrupted)
    head = 3 if kind == "z" else None
    rows = [patching.patched_differences(base, layer, source, kind, head, *ANSWERS) for layer in range(4)]
    ends = difference(clean), difference(corrupted)
    values = patching.patch_map(direction, rows, *ends)
    assert values.recovered.shape == (4, len(clean))
    for layer, position in ((0, 2), (2, 1), (2, len(clean) - 1)):
        patched = tiny.capture(base.text, patch=Patch(source, kind, layer, position, head))
        expected = (difference(patched) - ends[1]) / (ends[0] - ends[1])
        assert values.recovered[layer, position] == pytest.approx(expected, abs=1e-3)
        moved = expected if direction == "denoise" else 1 - expected
        assert values.moved[layer, position] == pytest.approx(moved, abs=1e-3)


def test_the_embedding_of_the_one_word_that_differs_brings_back_everything(tiny: gv.Model) -> None:
    clean, corrupted = tiny.capture(CLEAN), tiny.capture(CORRUPTED)
    (place,) = patching.differing(clean, corrupted)
    assert clean.tokens[place].label == "␣cat"
    ends = difference(clean), difference(corrupted)
    row = patching.patched_differences(corrupted, 0, clean, "resid_pre", None, *ANSWERS)
    values = patching.patch_map("denoise", [row], *ends)
    assert values.recovered[0, place] == pytest.approx(1, abs=1e-3)
    assert values.furthest == (0, place)
    others = np.delete(values.recovered[0], place)
    np.testing.assert_allclose(others, 0, atol=1e-3)  # what is the same in both runs brings nothing


def test_heads_at_a_position_are_what_the_rows_of_each_head_have_there(tiny: gv.Model) -> None:
    clean, corrupted = tiny.capture(CLEAN), tiny.capture(CORRUPTED)
    heads = patching.patched_heads_differences(corrupted, 1, clean, 4, *ANSWERS)
    for head in range(tiny.spec.n_heads):
        row = patching.patched_differences(corrupted, 1, clean, "z", head, *ANSWERS)
        assert heads[head] == pytest.approx(row[4], abs=1e-3)


def test_texts_of_different_lengths_are_refused(tiny: gv.Model) -> None:
    with pytest.raises(EditsError, match="the same number"):
        patching.patched_differences(tiny.capture("the"), 0, tiny.capture("the cat"), "mlp_out", None, 1, 2)


def test_answers_are_the_likeliest_tokens_or_those_that_gain_most(embedded: gv.Model) -> None:
    hot, big = embedded.capture("The opposite of hot is"), embedded.capture("The opposite of big is")
    found = patching.answers(hot, big)
    assert found is not None
    assert (found.clean, found.corrupted, found.shared) == (hot.top_k(1).ids[0], big.top_k(1).ids[0], None)
    france, italy = embedded.capture("The capital of France is"), embedded.capture("The capital of Italy is")
    found = patching.answers(france, italy)
    assert found is not None
    assert found.shared == embedded.token_id("▁the")
    assert (found.clean, found.corrupted) == (embedded.token_id("▁Paris"), embedded.token_id("▁Rome"))
    assert patching.answers(france, france) is None


def test_a_capital_is_carried_by_the_country_and_then_by_the_last_token(embedded: gv.Model) -> None:
    france, italy = embedded.capture("The capital of France is"), embedded.capture("The capital of Italy is")
    ids = embedded.token_id("▁Paris"), embedded.token_id("▁Rome")
    ends = patching.logit_difference(france, *ids), patching.logit_difference(italy, *ids)
    rows = [
        patching.patched_differences(italy, layer, france, "resid_pre", None, *ids)
        for layer in range(embedded.spec.n_layers)
    ]
    recovered = patching.patch_map("denoise", rows, *ends).recovered
    assert recovered[:10, 4].min() > 0.9
    assert recovered[-1, 5] > 0.9
    assert abs(recovered[0, 5]) < 0.1


def test_three_runs_are_side_by_side(tiny: gv.Model) -> None:
    clean, corrupted = tiny.capture(CLEAN), tiny.capture(CORRUPTED)
    patched = tiny.capture(CORRUPTED, patch=Patch(clean, "mlp_out", 2, 2))
    values = patching.three_runs(clean, corrupted, patched, *ANSWERS)
    for run, cap in ((values.clean, clean), (values.corrupted, corrupted), (values.patched, patched)):
        probabilities = cap.logits([-1])[0].softmax(-1)
        np.testing.assert_allclose(run[:2], probabilities[list(ANSWERS)].numpy(), rtol=1e-5)
        assert tiny.token_text(int(probabilities.argmax())) in values.texts
    assert values.difference == pytest.approx(difference(patched), abs=1e-4)


def test_tokens_stand_above_their_like(tiny: gv.Model) -> None:
    pairs = patching.aligned(tiny.capture("the cat to move"), tiny.capture("the red cat to move"))
    assert pairs[-3:] == [("␣cat", "␣cat"), ("␣to", "␣to"), ("␣move", "␣move")]
    assert ("", "␣red") in pairs


def test_differences_that_are_alike_or_no_numbers_are_no_scale() -> None:
    assert patching.can_be_placed(3.0, -2.0)
    assert patching.can_be_placed(-3.0, 2.0)
    assert not patching.can_be_placed(1.0, 1.05)
    assert not patching.can_be_placed(float("nan"), 1.0)
    assert not patching.can_be_placed(float("inf"), float("inf"))


def test_logits_that_are_no_numbers_have_no_answers(tiny: gv.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    clean, corrupted = tiny.capture(CLEAN), tiny.capture(CORRUPTED)
    monkeypatch.setattr(corrupted, "logits", lambda *_: torch.full((1, tiny.spec.vocab_size), torch.nan))
    assert patching.answers(clean, corrupted) is None


def test_noising_moves_from_the_clean_run_to_the_corrupted_one() -> None:
    values = patching.PatchMap("denoise", np.array([[2.0, 6.0], [-2.0, 0.0]], np.float32), clean=6, corrupted=-2)
    np.testing.assert_allclose(values.recovered, [[0.5, 1], [0, 0.25]])
    assert values.furthest == (0, 1)
    assert replace(values, direction="noise").furthest == (1, 0)
    np.testing.assert_array_equal(replace(values, direction="noise").recovered, values.recovered)
