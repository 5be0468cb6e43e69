"""A bar without a probability says why there is none."""

import dataclasses

import numpy as np
import pytest

import gemma_viz as gv
from gemma_viz.figures.comparison import likeliest
from gemma_viz.stages.comparison import Outputs, Probabilities, outputs


@pytest.fixture
def both(tiny_models: dict[str, gv.Model]) -> Outputs:
    cap = tiny_models["gemma3"].capture("the cat")
    return outputs(cap, cap, 1, 1)


@pytest.mark.parametrize(
    ("is_finite", "reason"), [((True, True), "not in its vocabulary"), ((True, False), "no number")]
)
def test_a_missing_probability_is_explained(both: Outputs, is_finite: tuple[bool, bool], reason: str) -> None:
    bars = Probabilities(("the", "cat"), np.array([0.5, 0.25]), np.array([np.nan, np.nan]))
    figure = likeliest(dataclasses.replace(both, likeliest=bars, is_finite=is_finite), ("one", "other"))
    assert [tuple(bar.text) for bar in figure.data] == [("50.0%", "25.0%"), (reason, reason)]
    assert f"the 50.0% and {reason}, cat 25.0% and {reason}." in figure.layout.meta["alt"]


def test_nothing_to_show_is_drawn_as_nothing(both: Outputs) -> None:
    empty = Probabilities((), np.array([]), np.array([]))
    figure = likeliest(dataclasses.replace(both, likeliest=empty), ("one", "other"))
    assert all(len(bar.x) == 0 for bar in figure.data)
