"""Pictures of changes and their damage."""

import numpy as np
import pytest

import gemma_viz as gv
from gemma_viz.figures import experiments as draw
from gemma_viz.figures import export
from gemma_viz.stages.experiments import Mean, Outcome, Switch

NAN = float("nan")
LOST = Outcome(" to", 0.001, 40, " a", 0.6, 4.0, 8.0, True)
UNTOUCHED = Outcome(" to", 0.2, 1, " to", 0.2, 0.0, 3.5, True)
BROKEN = Outcome(" to", NAN, 0, "", NAN, NAN, NAN, False)
TRIED = (
    Switch("norms", gv.Edits(norms=False)),
    Switch("MLP", gv.Edits(mlp=False)),
    Switch("RoPE", gv.Edits(rope_shift=1)),
)
NAMES = ("no norms", "no MLP", "positions moved by 1")


def test_a_broken_run_has_the_longest_bar_and_says_so() -> None:
    figure = draw.damage(TRIED, NAMES, [BROKEN, LOST, UNTOUCHED], "Damage")
    bars = {bar.name: bar for bar in figure.data}
    assert bars["norms"].x[0] > bars["MLP"].x[0] == 4.0
    assert bars["norms"].text == ("no numbers",)
    assert "no norms no numbers" in figure.layout.meta["alt"]


def test_no_damage_fits_on_a_log_axis() -> None:
    bars = {bar.name: bar for bar in draw.damage(TRIED, NAMES, [BROKEN, LOST, UNTOUCHED], "Damage").data}
    assert bars["RoPE"].x[0] == draw.LEAST_DRAWN
    assert bars["RoPE"].text == ("0",)


def test_a_table_of_the_figure_names_the_changes() -> None:
    values = export.table(draw.damage(TRIED, NAMES, [BROKEN, LOST, UNTOUCHED], "Damage"))
    assert {name for row in values.rows for name in row} >= set(NAMES)
    assert len(values.rows) == 3


def test_damage_can_be_drawn_where_nothing_is_left() -> None:
    assert draw.damage(TRIED[:1], NAMES[:1], [BROKEN], "Damage").data


def test_losses_stand_in_their_rows_with_their_errors() -> None:
    figure = draw.losses(NAMES, [Mean(NAN, NAN, 9), Mean(5.0, 0.2, 9), Mean(3.0, 0.1, 9)], Mean(3.0, 0.1, 9))
    points, broken = figure.data
    assert tuple(name.text for name in figure.layout.annotations) == NAMES
    assert list(points.x) == [5.0, 3.0]
    assert list(points.y) == [1, 2]
    assert list(points.error_x.array) == [0.2, 0.1]
    assert list(broken.y) == [0]
    assert list(broken.text) == ["no numbers"]


@pytest.mark.parametrize("broken", [[], [0], [0, 1, 2]])
def test_token_losses_are_drawn_in_pairs(broken: list[int]) -> None:
    before, after = np.array([1.0, 2.0, 3.0], np.float32), np.array([1.5, 1.0, 9.0], np.float32)
    after[broken] = np.nan
    figure = draw.token_losses(before, after)
    np.testing.assert_array_equal(figure.data[1].x, before)
    np.testing.assert_array_equal(figure.data[1].y, after)
    assert f"{(after > before).mean():.0%} are foreseen worse" in figure.layout.meta["alt"]
