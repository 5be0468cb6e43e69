"""Vocabulary tokens with the largest and the smallest values of something, drawn."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gemma_viz.figures.style import NEGATIVE, POSITIVE, finish, plain
from gemma_viz.stages.extremes import Extremes


def extremes(values: Extremes, highest: Sequence[str], lowest: Sequence[str], title: str, quantity: str) -> go.Figure:
    """Bars from the middle: the tokens with the largest values at the top, those with the smallest at the bottom.

    highest, lowest: how the tokens are named
    """
    names = [*highest, *reversed(lowest)]
    numbers = np.concatenate([values.highest_values, values.lowest_values[::-1]])
    places = list(range(len(names)))
    figure = go.Figure(
        go.Bar(
            x=numbers,
            y=places,
            orientation="h",
            marker_color=np.where(numbers > 0, POSITIVE, NEGATIVE),
            customdata=[plain(name, 60) for name in names],
            hovertemplate="%{customdata}: %{x:.3f}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", tickmode="array", tickvals=places, ticktext=[plain(x) for x in names])
    figure.update_xaxes(nticks=5)
    said = [f"{name} {number:.2f}" for name, number in zip(names, numbers, strict=True)]
    return finish(
        figure,
        title=title,
        x=f"{quantity} (orange: above 0)",
        y="token",
        alt=f"Bars of {quantity} by token: largest {', '.join(said[:3])}; smallest {', '.join(said[:-4:-1])}.",
        height=110 + 23 * len(names),
    )
