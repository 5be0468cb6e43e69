"""Positions drawn: heads by how much they depend on them, and patterns side by side."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gemma_viz.figures.style import CATEGORICAL, SEQUENTIAL, colour_scale, finish, token_axis, token_hover
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
    shown = values.shown
    names = labels[shown.start : shown.stop]
    hover = token_hover(names, shown.start)
    z = (values.after if changed else values.before)[head]
    figure = go.Figure(
        go.Heatmap(
            z=z,
            x=np.array(shown),
            y=np.array(shown),
            zmin=0,
            zmax=1,
            colorscale=colour_scale(SEQUENTIAL),
            colorbar={"title": {"text": "weight"}, "thickness": 12},
            customdata=[[f"{q} looks at {k}" for k in hover] for q in hover],
            hovertemplate="%{customdata}<br>weight %{z:.3f}<extra></extra>",
        )
    )
    figure.add_shape(
        type="rect",
        x0=shown.start - 0.5,
        x1=shown.stop - 0.5,
        y0=query - 0.5,
        y1=query + 0.5,
        line={"color": CATEGORICAL[4], "width": 2},
    )
    figure.update_xaxes(showgrid=False, **token_axis(names, shown.start))
    figure.update_yaxes(showgrid=False, autorange="reversed", **token_axis(names, shown.start))
    cut = f", tokens {shown.start} to {shown.stop - 1}" if len(names) < len(labels) else ""
    row = z[query - shown.start]
    strongest = int(np.nanargmax(row)) if np.isfinite(row).any() else 0
    return finish(
        figure,
        title=f"{title}{cut}",
        x="key: the token looked at",
        y="query: the token that looks",
        alt=f"Heatmap of attention weights, {title}. The selected token {labels[query]} looks most at "
        f"{names[strongest]} with a weight of {row[strongest]:.2f}, of those shown.",
        height=440,
    )
