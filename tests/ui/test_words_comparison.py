"""The sentences of the Compare page say what its numbers say."""

import math
from collections.abc import Sequence

import numpy as np

from gemma_viz.stages.comparison import Outputs, Probabilities, Streams
from gemma_viz.ui import words_comparison

NAN = math.nan
PAIR = ((0, 0), (1, 1))
RUNS = ("this *prompt*", "the other")


def apart(*cosines: Sequence[float]) -> Streams:
    """Streams of two tokens with these cosines, by depth."""
    return Streams(PAIR, np.array(cosines, np.float32), np.full(len(cosines), 0.5, np.float32), np.array([True, True]))


def test_where_streams_part_is_said_as_it_is() -> None:
    said = words_comparison.streams_part(apart((1, 1), (1, 0.4), (1, 0.7)), ("a", "b"), 1)
    assert "At **1 of 2** tokens the streams are alike" in said
    assert "The first that parts is `b`, at depth 1 (cosine 0.400). Nowhere else" in said
    assert "alike before depth 1, and furthest apart at depth 1 (cosine 0.400; two different" in said
    assert "tokens of one run have 0.500 there" in said
    assert "at the end it is 0.700" in said
    assert "Furthest apart are those of `a`, at depth 1 (0.100)" in words_comparison.streams_part(
        apart((0.9, 1), (0.1, 0.4)), ("a", "b"), None
    )
    assert words_comparison.streams_part(apart((1, 1)), ("a", "b"), 1).endswith("(cosine 0.999 or more).")
    broken = apart((1, 1), (NAN, NAN))
    assert "At 2 places a stream is not a number" in words_comparison.streams_part(broken, ("a", "b"), 0)
    assert "nothing to compare" in words_comparison.streams_part(apart((NAN, NAN)), ("a", "b"), 0)


def test_heads_that_differ_are_named() -> None:
    said = words_comparison.heads_differ(np.array([[0.1, 0.5], [NAN, 0.3]], np.float32))
    assert "L0 H1 (0.500), L1 H1 (0.300), L0 H0 (0.100)" in said
    assert "median of all heads is 0.300" in said
    assert "the same pattern" in words_comparison.heads_differ(np.full((2, 2), 1e-6, np.float32))
    assert "nothing to compare" in words_comparison.heads_differ(np.full((2, 2), NAN, np.float32))


def both_outputs(left: Sequence[float], right: Sequence[float], **others: object) -> Outputs:
    likeliest = Probabilities(("a", "b"), np.array(left), np.array(right))
    values = {"left_from_right": 0.25, "right_from_left": math.inf, "n_shared": 9, "n_own": (0, 3), "own": (0.0, 0.125)}
    values |= {"favoured": None, "is_finite": (True, True)}
    return Outputs(likeliest, likeliest, likeliest, **(values | others))  # type: ignore[arg-type]


def test_two_outputs_are_told_apart() -> None:
    same = words_comparison.outputs_differ(both_outputs((0.5, 0.1), (0.25, 0.1)), RUNS, ("x", "x"))
    assert "After `x` both rank `a` highest: 50.0% in this \\*prompt\\*, 25.0% in the other." in same
    assert "**0.25 nats** of this \\*prompt\\* from the other, **infinite nats** of the other" in same
    other = words_comparison.outputs_differ(both_outputs((0.5, 0.1), (NAN, 0.4)), RUNS, ("x", "y"))
    assert "After `x` and after `y`, `a` is the likeliest in this \\*prompt\\* (50.0%), `b` in" in other
    broken = both_outputs((1, 0), (NAN, NAN), is_finite=(True, False))
    said = words_comparison.outputs_differ(broken, RUNS, ("x", "x"))
    assert said.startswith("In the other: the logits are not all numbers")
    said = words_comparison.vocabularies(both_outputs((1, 0), (1, 0)), RUNS)
    assert "9 entries are in both vocabularies, 3 only in that of the other (together 12.5%" in said
    assert words_comparison.vocabularies(both_outputs((1, 0), (1, 0), n_own=(0, 0)), RUNS) == ""
