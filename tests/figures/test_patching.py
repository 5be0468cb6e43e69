"""The colours of patched runs mean the same in both directions."""

import numpy as np
import pytest

from gemma_viz.figures.patching import ENDS, legend, recovered
from gemma_viz.stages.patching import PatchMap


@pytest.mark.parametrize(("direction", "low", "high"), [("denoise", -1, 1), ("noise", 0, 2)])
def test_the_figure_has_the_colours_of_the_map(direction: str, low: int, high: int) -> None:
    differences = np.array([[0.0, 3.0]], np.float32)
    values = PatchMap(direction, differences, clean=3.0, corrupted=0.0)  # type: ignore[arg-type]
    heatmap = recovered(values, "the stream", ["a", "b"], ["a", "c"], (0, 0)).data[0]
    assert (heatmap.zmin, heatmap.zmax) == (low, high)
    ends = {low: heatmap.colorscale[0][1], high: heatmap.colorscale[-1][1]}
    assert ends[1 if direction == "denoise" else 0] == ENDS["light"][1], "all the way to the other run"
    assert "like clean" in " ".join(legend(direction))  # type: ignore[arg-type]


def test_where_the_prompts_differ_both_tokens_are_named() -> None:
    values = PatchMap("denoise", np.array([[0.0, 3.0]], np.float32), clean=3.0, corrupted=0.0)
    figure = recovered(values, "the stream", ["a", "<b>"], ["a", "c"], (0, 0))
    assert list(figure.layout.xaxis.ticktext) == ["a", "&lt;b&gt;<br>c"]
    assert "layer 0 at <b> / c, to 1.00" in figure.layout.meta["alt"]
