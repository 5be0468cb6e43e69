"""One neuron drawn: its product for every token of the prompt."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gemma_viz.figures.style import NEGATIVE, POSITIVE, SELECTED, finish, token_axis, token_hover
from gemma_viz.stages import around

TOKENS_IN_BARS = 96


def over_prompt(act: np.ndarray, labels: Sequence[str], neuron: int, selected: int) -> go.Figure:
    """Bars: one neuron's product for every token, the selected one framed; of long prompts the part around it."""
    shown = around(selected, len(labels), TOKENS_IN_BARS)
    names = labels[shown.start : shown.stop]
    figure = go.Figure(
        go.Bar(
            x=np.array(shown),
            y=act[shown.start : shown.stop],
            marker_color=np.where(act[shown.start : shown.stop] > 0, POSITIVE, NEGATIVE),
            customdata=token_hover(names, shown.start),
            hovertemplate="%{customdata}<br>product %{y:.3f}<extra></extra>",
        )
    )
    figure.add_vrect(selected - 0.5, selected + 0.5, line={"color": SELECTED, "width": 2})
    figure.update_xaxes(**token_axis(names, shown.start))
    strongest = int(np.abs(act).argmax())
    cut = f", tokens {shown.start} to {shown.stop - 1}" if len(names) < len(labels) else ""
    return finish(
        figure,
        title=f"Neuron {neuron} over the prompt{cut}",
        x="token",
        y="product, gelu(gate) × up (orange: above 0)",
        alt=f"Bar chart of neuron {neuron} by token; it is strongest at {labels[strongest]} with {act[strongest]:.2f}.",
    )
