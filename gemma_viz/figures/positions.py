"""Positions drawn: heads by how much they depend on them, and patterns side by side."""

from collections.abc import Sequence

import plotly.graph_objects as go

from gemma_viz.figures.attention import pattern_heatmap
from gemma_viz.figures.style import CATEGORICAL, SEQUENTIAL, colour_scale, finish
from gemma_viz.stages import Floats
from gemma_viz.stages.positions import ChangedPatterns


def sensitivity(values: Floats, layer: int, head: int) -> go.Figure:
    """Heatmap: how much of each head's attention comes from position. values: [layer, head]."""
    n_layers, n_heads = values.shape
    figure = go.Figure(
        go.Heatmap(
            z=values,
            zmin=0,
            colorscale=colour_scale(SEQUENTIAL),
            colorbar={"title": {"text": "distance"}, "thickness": 12},
            hovertemplate="layer %{y}, head %{x}: %{z:.3f}<extra></extra>",
        )
    )
    figure.add_shape(
        type="rect",
        x0=head - 0.5,
        x1=head + 0.5,
        y0=layer - 0.5,
        y1=layer + 0.5,
        line={"color": CATEGORICAL[4], "width": 3},
    )
    figure.update_xaxes(showgrid=False, dtick=-(-n_heads // 16))
    figure.update_yaxes(showgrid=False, autorange="reversed", dtick=-(-n_layers // 20))
    return finish(
        figure,
        title="How much of each head's attention comes from position",
        x="head",
        y="layer",
        alt=f"Heatmap of {n_layers} layers by {n_heads} heads; layer {layer}, head {head}, which is framed, has "
        f"{values[layer, head]:.2f}.",
        height=130 + 22 * n_layers,
    )


def pattern(
    values: ChangedPatterns, changed: bool, head: int, labels: Sequence[str], query: int, title: str
) -> go.Figure:
    """Heatmap: one head's pattern around a token, in the untouched run or in the changed one."""
    weights = (values.after if changed else values.before)[head]
    return pattern_heatmap(weights, values.shown, labels, query, title, height=440)
