"""What the Experiments page says is what the numbers say."""

from dataclasses import fields, replace

import pytest

import gemma_viz as gv
from gemma_viz.stages.experiments import Mean, Outcome
from gemma_viz.ui import edit_controls
from gemma_viz.ui import words_experiments as words
from gemma_viz.ui import words_presets as presets

NAN = float("nan")
KEPT = Outcome(" to", 0.3, 1, " to", 0.3, 0.2, 3.0, True)
LOST = Outcome(" to", 0.001, 40, " a", 0.6, 4.0, 8.0, True)
BROKEN = Outcome(" to", NAN, 0, "", NAN, NAN, NAN, False)
BEFORE = Outcome(" to", 0.2, 1, " to", 0.2, 0.0, 3.5, True)

EDITS = {"one": ("one change", gv.Edits(rope=False)), "two": ("another", gv.Edits(mlp=False))}


def preset(measure: presets.Measure) -> presets.Preset:
    changes = {"one": EDITS["one"]} if measure == "answer" else EDITS
    said = dict.fromkeys(("stays", "other", "none", "one", "two"), "")
    return presets.Preset("MLP", "Why?", "It is there.", "What if?", changes, said, measure)


@pytest.mark.parametrize(
    ("measure", "outcomes", "result"),
    [
        ("answer", [KEPT], "stays"),
        ("answer", [LOST], "other"),
        ("answer", [BROKEN], "none"),
        ("most", [KEPT, LOST], "two"),
        ("most", [BROKEN, LOST], "one"),
        ("most", [KEPT, KEPT], "none"),
        ("first", [KEPT, LOST], "two"),
        ("first", [BROKEN, LOST], "one"),
        ("first", [KEPT, KEPT], "none"),
    ],
)
def test_a_result_is_read_off_the_outcomes(measure: presets.Measure, outcomes: list[Outcome], result: str) -> None:
    asked = preset(measure)
    assert asked.result(outcomes) == result
    assert result in asked.guesses


def test_a_guess_is_judged_by_the_result() -> None:
    asked = preset("answer")
    assert "You were right. **Another token becomes the likeliest.**" in words.verdict(asked, "other", "other")
    wrong = words.verdict(asked, "stays", "none")
    assert "You expected: “The same token stays the likeliest”" in wrong
    assert "**There is no prediction" in wrong
    shown = words.verdict(asked, "show", "stays")
    assert "right" not in shown
    assert "expected" not in shown


def test_every_question_can_be_answered_whatever_happens(tiny: gv.Model) -> None:
    for name, asked in presets.presets(tiny.spec).items():
        assert 2 <= len(asked.guesses) <= 4, name
        needed = {"stays", "other"} if asked.measure == "answer" else set(asked.guesses)
        assert needed <= asked.said.keys() <= asked.guesses.keys(), name
        assert (len(asked.changes) == 1) == (asked.measure == "answer"), name
        for _, edits in asked.changes.values():
            edits.check(tiny.spec)
            assert not any(edit_controls.lacking(tiny.spec, field) for field in edits.changes), name


def test_only_what_a_model_has_is_asked_about(tiny: gv.Model) -> None:
    asked = presets.presets(tiny.spec)
    assert ("softcap" in asked) == ("scores_softcap" in asked) == (tiny.spec.final_softcap is not None)
    assert ("qk_norms" in asked) == tiny.spec.qk_norm
    assert "heads" not in presets.presets(replace(tiny.spec, n_heads=1, n_kv_heads=1))


def test_numbers_of_a_change_that_keeps_the_answer() -> None:
    said = words.in_numbers(KEPT, BEFORE, "no RoPE")
    assert "With no RoPE `␣to` stays the likeliest: 20.0% before, 30.0% now." in said
    assert "changes somewhat (KL divergence 0.2 nats)" in said
    assert "from 3.500 to 3.000 nats" in said


def test_numbers_of_a_change_that_loses_it() -> None:
    said = words.in_numbers(LOST, BEFORE, "no MLP")
    assert "`␣to` had 20.0% and has 0.1% now, rank 40; the likeliest is `␣a` with 60.0%" in said
    assert "strongly" in said


def test_numbers_of_a_run_without_any() -> None:
    said = words.in_numbers(BROKEN, BEFORE, "no norms")
    assert "no prediction at all" in said
    assert "`␣to` has 20.0%" in said
    assert "nan" not in said


def test_a_prompt_of_one_token_is_said_to_have_no_loss() -> None:
    said = words.in_numbers(replace(KEPT, loss=NAN), replace(BEFORE, loss=NAN), "no RoPE")
    assert "A prompt of one token has no loss" in said


@pytest.mark.parametrize(("loss", "moves"), [(3.0, "falls"), (4.0, "rises"), (3.5, ""), (NAN, "")])
def test_a_loss_falls_or_rises(loss: float, moves: str) -> None:
    assert words.moved(loss, 3.5) == moves


@pytest.mark.parametrize(
    ("difference", "judged"),
    [
        (Mean(0.5, 0.1, 100), "5 standard errors worse"),
        (Mean(-0.5, 0.1, 100), "5 standard errors better"),
        (Mean(0.1, 0.1, 100), "no more than chance could make: 1.0 standard errors"),
        (Mean(0.0, 0.0, 100), "no difference at all"),
    ],
)
def test_a_difference_is_judged_by_its_standard_error(difference: Mean, judged: str) -> None:
    baseline = Mean(3.0, 0.07, 100)
    said = words.loss_on_text(Mean(3.0 + difference.mean, 0.08, 100), difference, baseline, "ReLU")
    assert judged in said
    assert "100 tokens" in said
    assert "3.000 ± 0.070" in said


def test_a_loss_that_is_no_number_is_said_to_be_none() -> None:
    broken, baseline = Mean(NAN, NAN, 100), Mean(3.0, 0.07, 100)
    assert "With ReLU there is no loss" in words.loss_on_text(broken, broken, baseline, "ReLU")
    assert "nothing to measure" in words.loss_on_text(broken, broken, broken, "ReLU")


def test_the_board_counts_what_survives_and_names_what_hardly_changes_anything() -> None:
    harmless = replace(KEPT, kl_divergence=0.001)
    said = words.board(BEFORE, [BROKEN, LOST, KEPT, harmless], ["no norms", "no MLP", "no RoPE", "the exact GELU"])
    assert "Of 4 changes, each made by itself, **2** leave" in said
    assert "with **1** there are no numbers left" in said
    assert "hardly change anything: the exact GELU." in said
    assert "no numbers" not in words.board(BEFORE, [LOST], ["no MLP"])


def test_every_change_has_one_control() -> None:
    offered = [field for group in edit_controls.GROUPS.values() for field in group.fields]
    assert sorted(offered) == sorted(field.name for field in fields(gv.Edits))
