"""Tokenization drawn: how long the same text is in other units."""

import plotly.graph_objects as go

from gemma_viz.figures.style import CATEGORICAL, finish
from gemma_viz.stages.tokenization import Tokenization


def lengths(values: Tokenization) -> go.Figure:
    """Bars: the text's length in bytes, characters, tokens and words."""
    units = {
        "words": values.n_words,
        "tokens": values.n_tokens,
        "characters": values.n_characters,
        "bytes": values.n_bytes,
    }
    figure = go.Figure(
        go.Bar(
            x=list(units.values()),
            y=list(units),
            orientation="h",
            text=[f"{count:,}" for count in units.values()],
            textposition="auto",
            marker_color=[CATEGORICAL[0] if unit == "tokens" else CATEGORICAL[7] for unit in units],
            hovertemplate="%{x:,} %{y}<extra></extra>",
        )
    )
    said = ", ".join(f"{count:,} {unit}" for unit, count in units.items())
    return finish(
        figure,
        title="How long the text is in different units",
        x="length of the text (number of units)",
        y="",
        alt=f"Bar chart of the text's length: {said}.",
        height=260,
    )
