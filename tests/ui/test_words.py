"""The sentences made from numbers say what the numbers say."""

import numpy as np
import pytest

from gemma_viz.stages.mlp_alone import Alone, Slice
from gemma_viz.stages.output import Comparison
from gemma_viz.ui import words


def comparison(baseline: list[float], edited: list[float], kl: float) -> Comparison:
    return Comparison(
        ids=tuple(range(len(baseline))),
        texts=("a", "b"),
        baseline=np.array(baseline, np.float32),
        edited=np.array(edited, np.float32),
        kl_divergence=kl,
        is_finite=bool(np.isfinite(edited).all()),
        baseline_scale=1.0,
        edited_scale=1.0,
    )


def test_a_prediction_that_stays_is_said_to_stay() -> None:
    said = words.what_happened(comparison([0.6, 0.2], [0.5, 0.3], 0.02), ["a", "b"], "x")
    assert "stays `a`: 60.0% with the step, 50.0% without" in said
    assert "changes somewhat" in said


def test_a_prediction_that_changes_is_said_to_change() -> None:
    said = words.what_happened(comparison([0.6, 0.2], [0.1, 0.9], 2.0), ["a", "b"], "x")
    assert "changes from `a` (60.0%) to `b` (90.0%); `a` is left with 10.0%" in said
    assert "changes strongly" in said


def test_no_effect_is_not_sold_as_one() -> None:
    said = words.what_happened(comparison([0.6, 0.2], [0.6, 0.2], 0.0), ["a", "b"], "x")
    assert "hardly changes" in said


def test_a_breakdown_is_said_to_be_one() -> None:
    said = words.what_happened(comparison([0.6, 0.2], [np.nan, np.nan], np.nan), ["a", "b"], "the norms")
    assert "Without the norms the numbers run out of range" in said
    assert "%" in said


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (1369.1, "1,369"),
        (3.4159, "3.42"),
        (0, "0"),
        (1e9, "1.0e+09"),
        (float("nan"), "not a number"),
        (0.0004, "4.0e-04"),
    ],
)
def test_sizes_are_short(number: float, said: str) -> None:
    assert words.size(number) == said


@pytest.mark.parametrize(("probability", "said"), [(0.1234, "12.3%"), (0.00042, "0.042%"), (1, "100.0%"), (0, "0%")])
def test_probabilities_are_percents(probability: float, said: str) -> None:
    assert words.percent(probability) == said


@pytest.mark.parametrize(
    ("text", "markdown"), [("a", "`a`"), ("`", "`` ` ``"), ("a``b", "```a``b```"), ("*x*", "`*x*`")]
)
def test_code_holds_any_text(text: str, markdown: str) -> None:
    assert words.code(text) == markdown


def test_literal_text_has_no_markdown_left() -> None:
    assert words.literal("[a](b) $c$ :red[d]") == r"\[a\]\(b\) \$c\$ \:red\[d\]"


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("king - man + woman = queen", (("king", "woman"), ("man",), "queen")),
        ("king − man", (("king",), ("man",), "")),
        ("a b", (("a", "b"), (), "")),
        ("- man", ((), ("man",), "")),
        ("well-known + word", (("well-known", "word"), (), "")),
        ("", ((), (), "")),
        ("= queen", ((), (), "queen")),
    ],
)
def test_a_sum_is_read_as_it_is_written(text: str, parsed: tuple[tuple[str, ...], tuple[str, ...], str]) -> None:
    assert words.parsed_sum(text) == parsed


@pytest.mark.parametrize(
    ("within", "between", "said"),
    [
        (0.7, 0.3, "closer than"),
        (0.2, 0.5, "further apart than"),
        (0.4, 0.41, "as close as"),
        (float("nan"), 0.4, "two groups"),
    ],
)
def test_groups_are_compared_as_the_numbers_are(within: float, between: float, said: str) -> None:
    assert said in words.groups_compared(within, between)


def test_the_first_token_is_called_outsized_only_where_it_is() -> None:
    stream = np.ones((5, 4), np.float32)
    assert "is not outsized here: at most 1.0 times" in words.first_token(stream, "<bos>")
    stream[2, 0] = 40
    assert "outsized: at depth 1 it is 40 times" in words.first_token(stream, "<bos>")
    assert words.first_token(stream[:, :2], "<bos>") == ""


def test_a_stream_that_breaks_down_is_said_to() -> None:
    as_it_is = np.array([1, 2, 4], np.float32)
    assert "RMS of 4 as it is and of 8 without x: 2 times" in words.how_far_the_stream_goes(as_it_is, as_it_is * 2, "x")
    broken = np.array([1, np.inf, np.nan], np.float32)
    assert "no longer a number (infinite or NaN) from depth 1 on" in words.how_far_the_stream_goes(
        as_it_is, broken, "x"
    )


def alone(**changed: object) -> Alone:
    zeros = np.zeros(4, np.float32)
    values = {
        "input_change": zeros,
        "output_change": np.array([0, 0.5, 0.2, 0], np.float32),
        "own_difference": 0.0,
        "alone_difference": 2e-6,
        "largest_output": 10.0,
        "whole_run_change": 0.3,
        "input_rms": 1.5,
    }
    return Alone(**(values | changed))  # type: ignore[arg-type]


def test_a_token_by_itself_is_said_to_be_what_the_numbers_say() -> None:
    said = words.by_itself(alone(), "x")
    assert "is the same in every bit: the largest difference is **0**" in said
    assert "The output of 2 other tokens differs." in said
    assert "gets this output too, up to 2.0e-06, which is rounding" in said
    rounded = words.by_itself(alone(own_difference=1e-5, output_change=np.full(4, 1e-6)), "x")
    assert "is the same up to rounding: the largest difference is **1.0e-05**, the largest value 10" in rounded
    assert "The output of 3 other tokens differs." in rounded
    assert "differs, by **2** at most" in words.by_itself(alone(own_difference=2.0), "x")
    assert "No other output differs either." in words.by_itself(alone(output_change=np.zeros(4)), "x")
    assert "rounding" not in words.by_itself(alone(alone_difference=3.0), "x")


def test_what_attention_has_brought_is_said_only_where_it_has() -> None:
    assert "differs by an RMS of 0.3, where the input’s own is 1.5" in words.through_attention(alone(), "x")
    assert "is the same too" in words.through_attention(alone(whole_run_change=0.0), "x")


@pytest.mark.parametrize(
    ("n", "said"),
    [(0, "None of the 80 gates"), (1, "**1 gate changes"), (9, "**9 of the 80"), (60, "would be 60 kinks")],
)
def test_kinks_on_the_way_are_counted(n: int, said: str) -> None:
    line, two = np.zeros(3, np.float32), np.zeros((1, 3), np.float32)
    values = Slice(line, np.array([0]), two, two, n, 5, line, line, line, line)
    assert said in words.on_the_way(values, 80)


def test_a_marked_token_stands_in_one_line_of_its_text() -> None:
    assert words.marked("I\nwant", " to", " move") == "I⏎want« to» move"


@pytest.mark.parametrize(
    ("kind", "said"), [("linear", "one region"), ("ReLU", "flat"), ("ReGLU", "quadratic"), ("GeGLU", "smoothly")]
)
def test_each_kind_of_toy_is_described(kind: str, said: str) -> None:
    assert said in words.toy_regions(kind, 5, 12)
    assert kind == "linear" or "**12 regions**" in words.toy_regions(kind, 5, 12)
