"""The sentences made from numbers say what the numbers say."""

from dataclasses import replace

import numpy as np
import pytest

from gemma_viz.stages.attribution import Split
from gemma_viz.stages.mlp_alone import Alone, Slice
from gemma_viz.stages.output import Comparison, Predictions, Sharpness
from gemma_viz.stages.positions import ChangedPatterns
from gemma_viz.stages.rope import Contributions, ScoreByDistance
from gemma_viz.stages.sampling import Choice
from gemma_viz.ui import words, words_mlp, words_output, words_rope


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


def test_a_neuron_is_told_by_the_tokens_it_is_strongest_on() -> None:
    said = words_mlp.strongest_tokens(np.array([0.5, -3.0, 1.0, 0.1], np.float32), ["a", "b", "c", "d"], 7)
    assert "`b` (token 1, product −3), `c` (token 2, product 1), `a` (token 0, product 0.5)" in said
    assert "only token" in words_mlp.strongest_tokens(np.array([2], np.float32), ["a"], 7)


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
        (-0.0004, "−4.0e-04"),
        (np.float32(-2e6), "−2.0e+06"),
        (-12.5, "−12.5"),
    ],
)
def test_sizes_are_short(number: float, said: str) -> None:
    assert words.size(number) == said


@pytest.mark.parametrize(
    ("probability", "said"),
    [
        (0.1234, "12.3%"),
        (0.00042, "0.042%"),
        (1e-9, "less than 0.001%"),
        (1, "100.0%"),
        (0, "0%"),
        (float("nan"), "not a number"),
    ],
)
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


def test_layers_that_make_a_stream_smaller_are_named() -> None:
    assert words.where_it_falls(np.array([1.0, 2.0, 1.5, 3.0])) == "It falls in layer 1, and in no other."
    assert words.where_it_falls(np.array([2.0, 1.0, 1.5, 1.2])) == "It falls in layers 0 and 2, and in no other."
    assert words.where_it_falls(np.array([1.0, 1.0, 2.0])) == "No layer as a whole makes it smaller."
    assert words.where_it_falls(np.array([3.0, 2.0])) == "Every layer makes it smaller."
    assert words.where_it_falls(np.array([3.0, np.inf])) == "On its way it runs out of range."


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


def test_a_changed_step_is_not_said_to_be_left_out() -> None:
    said = words.what_changed(comparison([0.6, 0.2], [0.6, 0.2], -1e-8), ["a", "b"], "every position moved on")
    assert "60.0% as it is, 60.0% with the change" in said
    assert "hardly changes (KL divergence 0 nats)" in said
    broken = words.what_changed(comparison([0.6, 0.2], [np.nan, np.nan], np.nan), ["a", "b"], "every position moved on")
    assert broken.startswith("With every position moved on the numbers run out of range")
    assert "As it is, `a` is the likeliest" in broken


def score(**changes: object) -> ScoreByDistance:
    line = np.zeros(3, np.float32)
    values = ScoreByDistance(4, 3, 100, 1.5, 1.5, 1.5, None, True, np.arange(3), line, line)
    return replace(values, **changes)  # type: ignore[arg-type]


def test_a_score_that_stays_is_said_to_and_one_that_does_not_too() -> None:
    said = words_rope.moved_together(score(), "a", "b")
    assert "At their own places, 4 and 3, `a` looks at `b` with a score of **1.5000**" in said
    assert "The difference is 0: turning both hands" in said
    assert "which is rounding: turning both hands" in words_rope.moved_together(score(moved=1.5 + 1e-7), "a", "b")
    assert "more than rounding should leave" in words_rope.moved_together(score(moved=1.6), "a", "b")


def test_the_models_score_is_named_before_and_after_its_cap() -> None:
    assert words_rope.models_score(score(models=1.4)).endswith("give 1.4000 (0.1 from ours).")
    assert "the soft-cap then makes it 1.1000" in words_rope.models_score(score(capped=1.1))
    assert "hides that key from this query" in words_rope.models_score(score(visible=False))


def test_the_parts_of_a_score_are_split_at_half_a_turn() -> None:
    parts = Contributions(np.array([1, -2, 4], np.float32), 3.0, np.array([6, 8, 20], np.float32))
    said = words_rope.score_by_pair(parts, distance=4)
    assert "The 3 parts sum to **3.0000**; the model's score is 3.0000 (0 apart)" in said
    assert "+4.0000, comes from pair 2, which turns once in 20 tokens" in said
    assert "(2 of them) add −1.0000, the slower ones +4.0000" in said
    assert "No pair makes half a turn" in words_rope.score_by_pair(parts, distance=1)


def test_heads_are_named_from_the_most_to_the_least_positional() -> None:
    values = np.array([[0.1, 0.9], [0.4, 0.01]], np.float32)
    said = words_rope.most_and_least_positional(values)
    assert "this prompt: L0 H1 (0.900), L1 H0 (0.400)" in said
    assert "Least: L1 H1 (0.010)" in said
    assert "L0 H0 (less than 0.001)" in words_rope.most_and_least_positional(values * np.float32(1e-3))
    assert "nothing to compare" in words_rope.most_and_least_positional(values * np.nan)


@pytest.mark.parametrize(
    ("largest", "verdict"),
    [(2e-6, "do not move: this is rounding"), (0.01, "The patterns hardly move."), (0.4, "The patterns move.")],
)
def test_how_far_patterns_move_is_said_by_the_number(largest: float, verdict: str) -> None:
    nothing = np.zeros((2, 1, 1), np.float32)
    line = np.array([largest / 2, largest], np.float32)
    said = words_rope.patterns_moved(ChangedPatterns(range(1), nothing, nothing, line, line), 5, 0, "x")
    assert verdict in said
    assert "(head 1)" in said


def test_patterns_that_stay_in_every_bit_are_not_said_to_round() -> None:
    nothing, line = np.zeros((2, 1, 1), np.float32), np.zeros(2, np.float32)
    said = words_rope.patterns_moved(ChangedPatterns(range(1), nothing, nothing, line, line), 5, 0, "x")
    assert said == "With x, every weight of layer 5 stays what it is."


def test_a_position_beyond_the_context_is_said_to_be() -> None:
    assert "position 99, within the 100 tokens" in words_rope.furthest_position(99, 6.28, 100)
    assert "position 100, beyond the 100 tokens" in words_rope.furthest_position(100, 6.28, 100)
    assert "position 4.5, within" in words_rope.furthest_position(4.5, 6.28, 100)
    assert "turns by 628 radians, which float32 holds to about 3.7e-05 of" in words_rope.furthest_position(
        1000, 10, 100
    )


def surprised(*nats: float) -> Predictions:
    surprise = np.array(nats, np.float32)
    loss = float(surprise.mean()) if nats else float("nan")
    none = np.zeros((0, 0))
    return Predictions(
        ids=none,
        texts=(),
        logits=none,
        probabilities=none,
        actual_probability=np.exp(-surprise),
        actual_rank=np.ones(len(nats)),
        surprise=surprise,
        loss=loss,
        perplexity=float(np.exp(loss)),
    )


def test_the_mean_surprise_is_said_in_nats_bits_and_tokens() -> None:
    said = words_output.mean_surprise(surprised(1.0, 3.0), ["<bos>", "a", "b"])
    assert "**2.00 nats** (2.89 bits)" in said
    assert "**7.39**" in said
    assert "Least expected was `b` (token 2) with 5.0%" in said


def test_one_predicted_token_is_one_token() -> None:
    assert "Over the 1 token after the first" in words_output.mean_surprise(surprised(1.0), ["<bos>", "a"])


@pytest.mark.parametrize(
    ("leads_from", "said"),
    [
        (0, "is the likeliest at every depth"),
        (4, "leads for good from depth 4 of 6"),
        (6, "only at the end, after all 6"),
    ],
)
def test_from_which_depth_an_answer_leads(leads_from: int, said: str) -> None:
    assert said in words.leads(leads_from, 6)


def test_a_text_of_as_many_bytes_as_tokens_is_not_said_to_grow() -> None:
    assert words.into_bytes(14, 4) == "this prompt would be 14 positions long instead of 4"
    assert "this one would not" in words.into_bytes(1, 1)


def test_scales_that_read_the_same_are_not_compared() -> None:
    values = comparison([0.6, 0.2], [0.5, 0.3], 0.02)
    assert words.scales_at_the_end(values, 3) == ""
    assert words.scales_at_the_end(replace(values, edited_scale=float("nan")), 3).endswith("without it, not a number.")


def test_a_single_token_is_said_not_to_be_predicted() -> None:
    assert "nothing in it was predicted" in words_output.mean_surprise(surprised(), ["<bos>"])


@pytest.mark.parametrize(
    ("without", "said"),
    [
        (0.0, "it would collapse: **0 nats** (1 token)"),
        (4.9e-142, "it would collapse: **less than 0.001 nats** (1 token)"),
        (1.0, "it would be sharper"),
        (1.9, "it would be about as even"),
        (2.2, "it would be about as even"),
        (4.0, "it would be flatter: **4 nats** (54.6 tokens)"),
        (float("nan"), "would not all be numbers"),
    ],
)
def test_what_the_final_norm_does_is_read_off_the_entropies(without: float, said: str) -> None:
    as_it_is = Sharpness(2.0, "a", 0.4)
    assert said in words_output.without_the_final_norm(as_it_is, Sharpness(without, "b", 0.9), ["a", "b"])


def test_a_token_that_stays_the_likeliest_is_said_to() -> None:
    one, other = Sharpness(2.0, "a", 0.4), Sharpness(1.0, "a", 0.8)
    assert "would still be `a` with 80.0%" in words_output.without_the_final_norm(one, other, ["a", "a"])
    assert "would be `b`" in words_output.without_the_final_norm(one, other, ["a", "b"])


def drawn(steps: tuple[str, ...], probabilities: list[list[float]], chosen: int) -> Choice:
    shares = np.array(probabilities, np.float32)
    return Choice(
        ids=(4, 5),
        texts=("a", "b"),
        steps=steps,
        probabilities=shares,
        cut=shares == 0,
        candidates=(shares > 0).sum(1),
        others=np.zeros(len(steps), np.float32),
        lots=np.zeros((2, 2)),
        number=0.75,
        chosen=chosen,
        drawn=np.zeros(2, np.int64),
    )


def test_a_drawn_token_is_said_with_its_rank_and_share() -> None:
    values = drawn(("the model", "temperature"), [[0.6, 0.4], [0.7, 0.3]], 1)
    said = words_output.what_was_drawn(values, ["a", "b"], 8)
    assert "With seed 8 the random number is 0.7500" in said
    assert "**`b`**: rank 2 of the 2 that are left, with 30.0% (the model itself gave it 40.0%)" in said


def test_greedy_is_not_sold_as_chance() -> None:
    values = drawn(("the model", "greedy"), [[0.6, 0.4], [1.0, 0.0]], 0)
    assert "`a`, the likeliest, is taken whatever the seed" in words_output.what_was_drawn(values, ["a", "b"], 8)


def test_a_sum_and_its_difference_are_said_as_they_are() -> None:
    values = Split(1.0, np.ones((1, 2), np.float32), np.ones(1, np.float32), 4.0, 4.001, is_sum=True)
    said = words_output.added_up(values, before_cap=True, dtype="float32")
    assert "The 4 parts add up to **4.00000**; the model has **4.00100** before the soft-cap" in said
    assert "1.0e-03" in said


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
    said = words_mlp.by_itself(alone(), "x")
    assert "is the same in every bit: the largest difference is **0**" in said
    assert "The output of 2 other tokens differs." in said
    assert "gets this output too, up to 2.0e-06, which is rounding" in said
    rounded = words_mlp.by_itself(alone(own_difference=1e-5, output_change=np.full(4, 1e-6)), "x")
    assert "is the same up to rounding: the largest difference is **1.0e-05**, the largest value 10" in rounded
    assert "The output of 3 other tokens differs." in rounded
    assert "differs, by **2** at most" in words_mlp.by_itself(alone(own_difference=2.0), "x")
    assert "No other output differs either." in words_mlp.by_itself(alone(output_change=np.zeros(4)), "x")
    assert "rounding" not in words_mlp.by_itself(alone(alone_difference=3.0), "x")


def test_what_attention_has_brought_is_said_only_where_it_has() -> None:
    assert "differs by an RMS of 0.3, where the input’s own is 1.5" in words_mlp.through_attention(alone(), "x")
    assert "is the same too" in words_mlp.through_attention(alone(whole_run_change=0.0), "x")


@pytest.mark.parametrize(
    ("n", "said"),
    [(0, "None of the 80 gates"), (1, "**1 gate changes"), (9, "**9 of the 80"), (60, "would be 60 kinks")],
)
def test_kinks_on_the_way_are_counted(n: int, said: str) -> None:
    line, two = np.zeros(3, np.float32), np.zeros((1, 3), np.float32)
    values = Slice(line, np.array([0]), two, two, n, 5, line, line, line, line)
    assert said in words_mlp.on_the_way(values, 80)


def test_a_marked_token_stands_in_one_line_of_its_text() -> None:
    assert words_mlp.marked("I\nwant", " to", " move") == "I⏎want« to» move"


@pytest.mark.parametrize(
    ("kind", "said"), [("linear", "one region"), ("ReLU", "flat"), ("ReGLU", "quadratic"), ("GeGLU", "smoothly")]
)
def test_each_kind_of_toy_is_described(kind: str, said: str) -> None:
    assert said in words_mlp.toy_regions(kind, 5, 12)
    assert kind == "linear" or "**12 regions**" in words_mlp.toy_regions(kind, 5, 12)
