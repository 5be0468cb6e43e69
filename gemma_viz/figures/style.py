"""What all figures share: colours, layout, and token labels as text that plotly cannot mistake for markup."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go

# The same colours stand in .streamlit/config.toml, for what Streamlit draws itself; a test keeps the two alike.
# Categorical: after Okabe and Ito, for people who do not tell red from green, evened out for light and dark pages.
CATEGORICAL = ("#0f7ec9", "#cf7f00", "#12966b", "#c9559f", "#d4541a", "#5b67d8", "#8a7a00", "#5f7f8f")
SELECTED = CATEGORICAL[4]  # what a person has chosen is framed in it
# Sequential: viridis (Smith and van der Walt, 2015). Diverging: blue to orange, after ColorBrewer's PuOr.
SEQUENTIAL = (
    *("#440154", "#482878", "#3e4989", "#31688e", "#26828e"),
    *("#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"),
)
DIVERGING = (
    *("#08519c", "#2f79b9", "#6aaed6", "#a9cfe5", "#dbe9f2"),
    *("#fdebd7", "#fdc38d", "#f99245", "#d9680d", "#a04000"),
)

POSITIVE, NEGATIVE = CATEGORICAL[1], CATEGORICAL[0]  # of bars, as on the diverging scale

LONGEST_LABEL = 14  # characters
TITLE_HEIGHT = 32  # pixels that a figure leaves for its own title
MOST_TICKS = 48

# A function `template` in JavaScript, for pages that draw figures in their own colours.
TEMPLATE_SCRIPT = Path(__file__).with_name("template.js").read_text(encoding="utf-8")


def colour_scale(colours: Sequence[str]) -> list[list[Any]]:
    """A plotly colour scale of evenly spaced colours."""
    return [[i / (len(colours) - 1), colour] for i, colour in enumerate(colours)]


def finish(
    figure: go.Figure, *, title: str, x: str, y: str, alt: str, height: int = 360, legend: bool = False
) -> go.Figure:
    """Title, axis titles, margins and the alternative text.

    title, alt: plain text, which may hold tokens as they are
    """
    # Set one by one: update_layout takes three times as long, for every chart of a page.
    layout = figure.layout
    layout.title = {
        "text": html.escape(title, quote=False),
        "x": 0,
        "xanchor": "left",
        "yref": "container",
        "y": 0.97,
    }
    layout.height = height
    layout.margin = {"l": 8, "r": 8, "t": 76 if legend else 48, "b": 8}
    layout.showlegend = legend
    layout.legend = {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "xanchor": "left"}
    layout.meta = {"title": title, "alt": alt}
    layout.hoverlabel = {"namelength": -1}
    layout.bargap = 0.25
    layout.dragmode = False  # a finger that moves over a chart scrolls the page; the toolbar can zoom
    for axes, name in ((figure.select_xaxes(), x), (figure.select_yaxes(), y)):
        for axis in axes:
            axis.title.text = name
            axis.automargin = True
    return figure


def frame(
    figure: go.Figure, columns: tuple[int, int], rows: tuple[int, int], colour: str = SELECTED, width: int = 3
) -> None:
    """Put a frame around cells of a heatmap. columns, rows: the first and the last one inside."""
    figure.add_shape(
        type="rect",
        x0=columns[0] - 0.5,
        x1=columns[1] + 0.5,
        y0=rows[0] - 0.5,
        y1=rows[1] + 0.5,
        line={"color": colour, "width": width},
    )


def short(text: str, longest: int = LONGEST_LABEL) -> str:
    """Text cut to a readable length, in characters."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def plain(text: str, longest: int = LONGEST_LABEL) -> str:
    """Text for a label or a hover: short, and with what plotly would read as markup escaped."""
    return html.escape(short(text, longest), quote=False)  # plotly does not read &quot; back


def token_axis(labels: Sequence[str], first: int = 0) -> dict[str, Any]:
    """Axis settings that name positions by their tokens; of many tokens, every second, third, … is named."""
    step = -(-len(labels) // MOST_TICKS)
    places = range(first, first + len(labels), step)
    return {"tickmode": "array", "tickvals": list(places), "ticktext": [plain(labels[i - first]) for i in places]}


def token_hover(labels: Sequence[str], first: int = 0) -> list[str]:
    """What the hover says of each token."""
    return [f"{position} {plain(label)}" for position, label in enumerate(labels, first)]


def log_axis(*series: np.ndarray) -> dict[str, Any]:
    """Axis settings for a log scale: whole decades are named, or 1, 2, 5 where there are few."""
    values = np.concatenate([np.ravel(line) for line in series])
    values = values[np.isfinite(values) & (values > 0)]
    decades = np.log10(values.max() / values.min()) if values.size else 0
    return {"type": "log", "dtick": 1 if decades > 1.5 else "D2", "tickformat": ",~r"}


def symmetric(values: np.ndarray) -> dict[str, float]:
    """Colour range from -m to m, so that the middle of a diverging scale is zero."""
    largest = float(np.nanmax(np.abs(values))) if values.size else 1.0
    return {"zmin": -largest, "zmax": largest}
