"""What a change does to a prediction and to a loss, against transformers' own and plain numpy."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

import gemma_viz as gv
from gemma_viz.edits import UNCHANGED
from gemma_viz.stages import experiments, neighbours, output
from gemma_viz.stages.neuron import shipped_pieces
from tests.conftest import PROMPT


def outcome(cap: gv.Capture, edits: gv.Edits, position: int) -> experiments.Outcome:
    at = position % len(cap)
    (found,) = experiments.outcomes_at(cap, edits, range(at, at + 1))
    return found


def test_the_loss_is_the_one_that_transformers_trains_with(cap: gv.Capture) -> None:
    losses, ids = experiments.token_losses(cap), cap.token_ids[None].to(cap.model.device)
    with torch.no_grad():
        theirs = cap.model.hf(ids, labels=ids).loss
    assert losses.shape == (len(cap) - 1,)
    assert losses.mean() == pytest.approx(float(theirs), abs=1e-4)


def test_the_loss_of_a_piece_is_that_of_its_tokens_in_a_changed_run(tiny: gv.Model) -> None:
    edits = gv.Edits(mlp=False)
    ids = shipped_pieces(tiny)[1]
    losses = experiments.piece_losses(tiny, 1, edits)
    logits = tiny.capture_ids(ids, edits).logits(range(len(ids) - 1)).double()
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="none")
    np.testing.assert_allclose(losses, expected.numpy(), atol=1e-3)
    assert not np.allclose(losses, experiments.piece_losses(tiny, 1, UNCHANGED), atol=0.1)


def test_a_mean_has_the_standard_error_of_its_tokens() -> None:
    pieces = [np.array([1.0, 2.0, 4.0], np.float32), np.array([7.0], np.float32)]
    found = experiments.mean_of(pieces)
    assert found.n == 4
    assert found.mean == pytest.approx(3.5)
    assert found.standard_error == pytest.approx(np.std([1, 2, 4, 7], ddof=1) / 2)


def test_a_difference_is_paired() -> None:
    hard, easy = np.array([9.0, 8.0], np.float32), np.array([0.5, 1.0], np.float32)
    found = experiments.mean_difference([hard + 0.25, easy + 0.25], [hard, easy])
    assert found.mean == pytest.approx(0.25)
    assert found.standard_error == pytest.approx(0, abs=1e-7), "that tokens differ in how hard they are does not count"
    assert experiments.mean_of([hard, easy]).standard_error > 1


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_mean_of_what_is_no_number_is_none(broken: float) -> None:
    found = experiments.mean_of([np.array([1.0, broken], np.float32)])
    assert math.isnan(found.mean)
    assert math.isnan(found.standard_error)
    assert found.n == 2


def test_a_single_token_has_no_standard_error() -> None:
    found = experiments.mean_of([np.array([2.0], np.float32)])
    assert found.mean == 2
    assert math.isnan(found.standard_error)


def test_no_tokens_have_no_mean() -> None:
    assert math.isnan(experiments.mean_of([np.array([], np.float32)]).mean)


@pytest.mark.parametrize("position", [0, 4, -1])
def test_an_outcome_is_what_the_comparison_shows(cap: gv.Capture, position: int) -> None:
    edits = gv.Edits(rope=False)
    edited = cap.model.capture(PROMPT, edits)
    found, compared = outcome(cap, edits, position), output.compare(cap, edited, position)
    p, q = (run.logits([position])[0].softmax(-1) for run in (cap, edited))
    answer = int(p.argmax())
    assert found.answer == cap.model.token_text(answer)
    assert found.probability == pytest.approx(float(q[answer]), rel=1e-4)
    assert found.rank == int((q > q[answer]).sum()) + 1
    assert found.likeliest == cap.model.token_text(int(q.argmax()))
    assert found.likeliest_probability == pytest.approx(float(q.max()), rel=1e-4)
    assert found.kl_divergence == pytest.approx(compared.kl_divergence, abs=1e-6)
    assert found.loss == pytest.approx(output.predictions(edited).loss, abs=1e-5)
    assert found.keeps_the_answer == (answer == int(q.argmax()))
    assert found.damage == found.kl_divergence


def test_outcomes_made_together_are_those_made_one_by_one(cap: gv.Capture) -> None:
    edits = gv.Edits(mlp=False)
    for positions in (neighbours(2, len(cap)), range(len(cap))):
        for position, found in zip(positions, experiments.outcomes_at(cap, edits, positions), strict=True):
            alone = outcome(cap, edits, position)
            assert found.answer == alone.answer
            assert found.rank == alone.rank
            assert found.loss == pytest.approx(alone.loss, rel=1e-5)
            assert found.kl_divergence == pytest.approx(alone.kl_divergence, rel=1e-3)


def test_the_untouched_run_is_an_outcome_too(cap: gv.Capture) -> None:
    found = outcome(cap, UNCHANGED, 3)
    assert found.keeps_the_answer
    assert found.kl_divergence == 0
    assert found.answer == found.likeliest
    assert found.loss == pytest.approx(output.predictions(cap).loss, abs=1e-5)


def test_a_run_without_numbers_is_flagged_and_the_worst_of_all(embedded: gv.Model) -> None:
    cap = embedded.capture("I want to move")
    found = outcome(cap, gv.Edits(norms=False), 4)
    assert not found.is_finite
    assert not found.keeps_the_answer
    assert found.damage == math.inf
    assert found.answer == " to"
    assert math.isnan(found.probability)
    assert math.isnan(found.loss)


def test_one_token_has_no_loss_and_is_no_breakdown(tiny: gv.Model) -> None:
    found = outcome(tiny.capture(""), gv.Edits(mlp=False), 0)
    assert found.is_finite
    assert math.isnan(found.loss)


def test_every_switch_changes_one_thing_that_the_model_has(tiny: gv.Model) -> None:
    tried = experiments.switches(tiny.spec)
    assert len({switch.edits for switch in tried}) == len(tried) >= 30
    names = {name for switch in tried for name in switch.edits.changes}
    assert ("qk_norms" in names) == tiny.spec.qk_norm
    assert ("final_softcap" in names) == ("attention_softcap" in names) == (tiny.spec.final_softcap is not None)
    lacking = {"qk_norms", "attention_softcap", "final_softcap"}
    assert {field.name for field in fields(gv.Edits) if field.type is bool} - lacking <= names
    cap = tiny.capture(PROMPT)
    for switch in tried:
        switch.edits.check(tiny.spec)
        assert outcome(cap, switch.edits, -1).answer


def test_a_model_of_one_layer_or_head_has_fewer_switches(tiny: gv.Model) -> None:
    small = replace(tiny.spec, n_layers=1, n_heads=1)
    tried = [switch.edits for switch in experiments.switches(small)]
    assert len(set(tried)) == len(tried)
    assert not any(edits.queries_from for edits in tried)
    for edits in tried:
        edits.check(small)
