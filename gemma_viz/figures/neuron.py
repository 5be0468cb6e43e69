"""One neuron drawn: over the prompt, and the tokens at both ends of what it reads and writes."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gemma_viz.figures.style import CATEGORICAL, finish, plain, token_axis, token_hover
from gemma_viz.stages import around
from gemma_viz.stages.neuron import Extremes

TOKENS_IN_BARS = 96


def over_prompt(act: np.ndarray, labels: Sequence[str], neuron: int, selected: int) -> go.Figure:
    """Bars: one neuron's product for every token; of long prompts the part around the selected one."""
    shown = around(selected, len(labels), TOKENS_IN_BARS)
    names = labels[shown.start : shown.stop]
    figure = go.Figure(
        go.Bar(
            x=np.array(shown),
            y=act[shown.start : shown.stop],
            marker_color=[CATEGORICAL[4] if position == selected else CATEGORICAL[0] for position in shown],
            customdata=token_hover(names, shown.start),
            hovertemplate="%{customdata}<br>product %{y:.3f}<extra></extra>",
        )
    )
    figure.update_xaxes(**token_axis(names, shown.start))
    strongest = int(np.abs(act).argmax())
    cut = f", tokens {shown.start} to {shown.stop - 1}" if len(names) < len(labels) else ""
    return finish(
        figure,
        title=f"Neuron {neuron} over the prompt{cut}",
        x="token",
        y="product, gelu(gate) × up",
        alt=f"Bar chart of neuron {neuron} by token; it is strongest at {labels[strongest]} with {act[strongest]:.2f}.",
    )


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
            marker_color=[CATEGORICAL[0]] * len(highest) + [CATEGORICAL[1]] * len(lowest),
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
        x=quantity,
        y="",
        alt=f"Bars of {quantity} by token: largest {', '.join(said[:3])}; smallest {', '.join(said[:-4:-1])}.",
        height=110 + 23 * len(names),
    )
