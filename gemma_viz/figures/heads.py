"""How far apart the two patterns of each head are, in two runs."""

import plotly.graph_objects as go

from gemma_viz.figures.style import SEQUENTIAL, colour_scale, finish, frame
from gemma_viz.stages import Floats


def distances(values: Floats, layer: int, head: int, title: str) -> go.Figure:
    """Heatmap of all heads, one of them framed. values: [layer, head]."""
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
    frame(figure, (head, head), (layer, layer))
    figure.update_xaxes(showgrid=False, dtick=-(-n_heads // 16))
    figure.update_yaxes(showgrid=False, autorange="reversed", dtick=-(-n_layers // 20))
    return finish(
        figure,
        title=title,
        x="head",
        y="layer",
        alt=f"Heatmap of {n_layers} layers by {n_heads} heads; layer {layer}, head {head}, which is framed, has "
        f"{values[layer, head]:.3f}.",
        height=130 + 22 * n_layers,
    )
