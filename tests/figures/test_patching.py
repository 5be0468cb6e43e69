"""The colours of patched runs mean the same in both directions."""

import numpy as np
import pytest

from gemma_viz.figures.patching import legend, recovered, shade
from gemma_viz.figures.style import DIVERGING
from gemma_viz.stages.patching import PatchMap


def test_the_further_a_run_moves_the_further_its_colour_is_from_the_middle() -> None:
    assert (shade(-1), shade(1)) == (DIVERGING[0], DIVERGING[-1])
    assert (shade(-7), shade(7)) == (shade(-1), shade(1))
    assert len({shade(moved) for moved in np.linspace(-1, 1, 40)}) == 40
    assert shade(float("nan")) not in DIVERGING


@pytest.mark.parametrize(("direction", "low", "high"), [("denoise", -1, 1), ("noise", 0, 2)])
def test_the_figure_has_the_colours_of_the_map(direction: str, low: int, high: int) -> None:
    differences = np.array([[0.0, 3.0]], np.float32)
    values = PatchMap(direction, differences, clean=3.0, corrupted=0.0)  # type: ignore[arg-type]
    heatmap = recovered(values, "the stream", ["a", "b"], ["a", "c"], (0, 0)).data[0]
    assert (heatmap.zmin, heatmap.zmax) == (low, high)
    like_corrupted, like_clean = (shade(moved) for moved in values.moved[0])
    ends = {low: heatmap.colorscale[0][1], high: heatmap.colorscale[-1][1]}
    assert (like_clean if direction == "denoise" else like_corrupted) == ends[1 if direction == "denoise" else 0]
    assert "like clean" in " ".join(legend(direction))  # type: ignore[arg-type]


def test_where_the_prompts_differ_both_tokens_are_named() -> None:
    values = PatchMap("denoise", np.array([[0.0, 3.0]], np.float32), clean=3.0, corrupted=0.0)
    figure = recovered(values, "the stream", ["a", "<b>"], ["a", "c"], (0, 0))
    assert list(figure.layout.xaxis.ticktext) == ["a", "&lt;b&gt;<br>c"]
    assert "layer 0 at <b> / c, to 1.00" in figure.layout.meta["alt"]
