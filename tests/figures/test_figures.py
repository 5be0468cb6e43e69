"""Every figure brings what a reader needs, stays small, and shows tokens as text."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import numpy as np
import plotly.graph_objects as go
import pytest

import gemma_viz as gv
from gemma_viz import figures
from gemma_viz.figures import neuron
from gemma_viz.figures.style import NEGATIVE, POSITIVE, SELECTED
from tests.figures.drawn import all_figures

LONGEST_FIGURE = 2_000_000  # bytes of JSON


@pytest.fixture(scope="module")
def short(embedded: gv.Model) -> dict[str, go.Figure]:
    return all_figures(embedded.capture("I want to move"), 2)


def test_every_figure_has_title_axis_labels_and_an_alternative_text(short: dict[str, go.Figure]) -> None:
    unlabelled_by_design = [
        *("reads", "scores", "vectors", "products", "weighted_values", "sharing", "cache"),
        *("line", "three_runs", "damage", "losses"),
    ]
    for name, figure in short.items():
        assert figure.layout.title.text, name
        assert figure.layout.meta["title"], name
        assert figure.layout.meta["alt"].endswith("."), name
        assert figure.layout.xaxis.title.text, name
        assert figure.layout.yaxis.title.text or name.split(".")[1] in unlabelled_by_design, name


def test_no_figure_is_left_out(short: dict[str, go.Figure]) -> None:
    parts_of_others = {"attention.pattern_heatmap", "extremes.extremes", "heads.distances", "output.probability_bars"}
    several_times = {"comparison.pattern", "positions.pattern", "wavelengths.pair_lengths_of_all"}  # under other names
    of_long_prompts = {"attention.whole_pattern"}
    known = short.keys() | parts_of_others | several_times | of_long_prompts
    assert sorted(set(figure_functions()) - known) == [], "tests/figures/drawn.py lacks them"


def figure_functions() -> Iterator[str]:
    """ "module.function" of all that draw."""
    for module in pkgutil.iter_modules(figures.__path__):
        name = f"{figures.__name__}.{module.name}"
        for function in vars(importlib.import_module(name)).values():
            is_its_own = inspect.isfunction(function) and function.__module__ == name and function.__name__[0] != "_"
            if is_its_own and module.name != "style" and inspect.signature(function).return_annotation is go.Figure:
                yield f"{module.name}.{function.__name__}"


@pytest.mark.parametrize("position", [0, 300, 599])
def test_no_figure_of_a_long_prompt_is_too_large_for_the_browser(embedded: gv.Model, position: int) -> None:
    cap = embedded.capture("word " * 598)
    assert len(cap) == 600
    for name, figure in all_figures(cap, position).items():
        assert len(figure.to_json()) < LONGEST_FIGURE, name


def test_a_prompt_of_one_token_can_be_drawn(embedded: gv.Model) -> None:
    cap = embedded.capture("")
    assert len(cap) == 1
    assert all(all_figures(cap, 0).values())


def test_figures_of_all_families_can_be_drawn(tiny: gv.Model) -> None:
    assert all(all_figures(tiny.capture("the red cat"), 1).values())


def texts_of(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for key, inner in value.items() if key != "meta" for text in texts_of(inner)]
    if isinstance(value, list | tuple | np.ndarray):
        return [text for inner in value for text in texts_of(inner)]
    return []


def test_tokens_never_become_markup(embedded: gv.Model) -> None:
    cap = embedded.capture("<b>x</b> <a href='javascript:1'>y</a> <script> &amp;")
    for name, figure in all_figures(cap, len(cap) - 1).items():
        for text in texts_of(figure.to_dict()):
            markup = text.replace("<br>", "").replace("<extra>", "").replace("</extra>", "")
            assert "<b" not in markup, name
            assert "<a" not in markup, name
            assert "<s" not in markup, name


def test_a_neuron_s_bars_are_coloured_by_sign_and_the_selected_one_is_framed() -> None:
    figure = neuron.over_prompt(np.array([2.0, -3.0, 1.0]), ["a", "b", "c"], 7, selected=1)
    assert list(figure.data[0].marker.color) == [POSITIVE, NEGATIVE, POSITIVE]
    (mark,) = figure.layout.shapes
    assert (mark.x0, mark.x1, mark.line.color) == (0.5, 1.5, SELECTED)


def test_the_same_values_give_the_same_figure(embedded: gv.Model) -> None:
    first, second = (all_figures(embedded.capture("the same"), 1) for _ in range(2))
    assert all(first[name].to_json() == second[name].to_json() for name in first)
