"""What all figures share."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gemma_viz.figures import style


def test_a_log_axis_names_decades_or_their_parts() -> None:
    axis: Callable[..., dict] = style.log_axis
    assert axis(np.array([1, 1000]))["dtick"] == 1
    assert axis(np.array([1, 5]))["dtick"] == "D2"
    assert axis(np.array([np.nan, 0.0]))["dtick"] == "D2"


def test_streamlit_draws_with_the_same_colours() -> None:
    theme = tomllib.loads((Path(__file__).parents[2] / ".streamlit/config.toml").read_text())["theme"]
    assert tuple(theme["chartCategoricalColors"]) == style.CATEGORICAL
    assert tuple(theme["chartSequentialColors"]) == style.SEQUENTIAL
    assert tuple(theme["chartDivergingColors"]) == style.DIVERGING


def test_marks_stand_out_from_both_themes_pages() -> None:
    for colour in style.CATEGORICAL:
        for background in ("#ffffff", "#171614"):  # Streamlit's own
            assert contrast(colour, background) >= 3, (colour, background)


def contrast(*colours: str) -> float:
    """As WCAG 2.2 defines it."""
    darker, lighter = sorted(map(luminance, colours))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_labels_are_markup_free_but_keep_their_quotes() -> None:
    assert style.plain('<b>"it\'s" &', 20) == '&lt;b&gt;"it\'s" &amp;'
