"""Attention drawn: all heads small, one head large, one query in detail."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gemma_viz.figures.style import (
    CATEGORICAL,
    DIVERGING,
    SEQUENTIAL,
    colour_scale,
    finish,
    plain,
    symmetric,
    token_axis,
    token_hover,
)
from gemma_viz.stages.attention import AttentionOverview, Head

VECTORS_SHOWN = 8
GAP = 2  # cells between two heads' maps
EMPTY_AT_ZERO = [[0, "rgba(0,0,0,0)"], *([max(place, 1e-3), colour] for place, colour in colour_scale(SEQUENTIAL))]


def overview(values: AttentionOverview, layer: int, head: int) -> go.Figure:
    """All heads' maps in one picture, layers down and heads across, the chosen one framed."""
    n_layers, n_heads, side, _ = values.maps.shape
    pitch = side + GAP
    tiles = np.zeros((n_layers * pitch, n_heads * pitch), np.uint8)  # 0: nothing there, drawn as empty
    # The square root lets weak attention be seen: a weight of 0.1 is drawn at a third of the scale.
    shades = 1 + (np.sqrt(values.maps / 255) * 254).astype(np.uint8)
    shades = np.where(np.tri(side, dtype=bool), shades, 0)  # a token may not look at later ones
    for i, j in np.ndindex(n_layers, n_heads):
        tiles[i * pitch : i * pitch + side, j * pitch : j * pitch + side] = shades[i, j]
    figure = go.Figure(
        go.Heatmap(z=tiles, zmin=0, zmax=255, colorscale=EMPTY_AT_ZERO, showscale=False, hoverinfo="skip")
    )
    figure.add_shape(
        type="rect",
        x0=head * pitch - 1,
        x1=head * pitch + side,
        y0=layer * pitch - 1,
        y1=layer * pitch + side,
        line={"color": CATEGORICAL[4], "width": 3},
    )
    middle = (side - 1) / 2
    figure.update_xaxes(
        tickvals=[j * pitch + middle for j in range(n_heads)], ticktext=[str(j) for j in range(n_heads)]
    )
    figure.update_yaxes(
        tickvals=[i * pitch + middle for i in range(n_layers)],
        ticktext=[str(i) for i in range(n_layers)],
        autorange="reversed",
    )
    figure.update_xaxes(showgrid=False)
    figure.update_yaxes(showgrid=False)
    pooled = f", one cell for {values.cell} × {values.cell} tokens" if values.cell > 1 else ""
    return finish(
        figure,
        title=f"All {n_layers * n_heads} heads{pooled}",
        x="head (in each map: key, left to right)",
        y="layer (in each map: query, top to bottom)",
        alt=f"{n_layers} by {n_heads} small attention maps; layer {layer}, head {head} is framed.",
        height=110 + 46 * n_layers,
    )


def pattern(values: Head, labels: Sequence[str], query: int) -> go.Figure:
    """Heatmap of one head's pattern; of long prompts the part around the query."""
    shown = values.shown
    names = labels[shown.start : shown.stop]
    hover = token_hover(names, shown.start)
    short = len(names) <= 128  # names in every cell's hover would outgrow the picture itself
    figure = go.Figure(
        go.Heatmap(
            z=values.pattern,
            x=np.array(shown),
            y=np.array(shown),
            zmin=0,
            # In a long row no weight is near 1; the scale beside the picture says where its own ends.
            zmax=1 if short else float(np.nanquantile(values.pattern, 0.999)),
            colorscale=colour_scale(SEQUENTIAL),
            colorbar={"title": {"text": "weight"}, "thickness": 12},
            customdata=[[f"{q} looks at {k}" for k in hover] for q in hover] if short else None,
            hovertemplate=("%{customdata}" if short else "token %{y} looks at token %{x}")
            + "<br>weight %{z:.3f}<extra></extra>",
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
    strongest = values.strongest[0]
    cut = f", tokens {shown.start} to {shown.stop - 1}" if len(names) < len(labels) else ""
    return finish(
        figure,
        title=f"This head's pattern{cut}",
        x="key: the token looked at",
        y="query: the token that looks",
        alt=f"Heatmap of attention weights. The selected token {labels[query]} looks most at {labels[strongest]}, "
        f"with a weight of {values.weights[strongest]:.2f}.",
        height=520,
    )


def reads(values: Head, labels: Sequence[str]) -> go.Figure:
    """Bars: the tokens that the query reads most, by weight, with score and length of the value in the hover."""
    best = values.strongest
    figure = go.Figure(
        go.Bar(
            x=values.weights[best],
            y=np.arange(len(best)),
            orientation="h",
            marker_color=CATEGORICAL[0],
            text=[f"{values.weights[key]:.2f}" for key in best],
            textposition="auto",
            textangle=0,
            customdata=np.stack([values.scores[best], values.value_norm[best]], -1),
            hovertemplate="weight %{x:.4f}<br>score %{customdata[0]:.2f}"
            "<br>length of the value %{customdata[1]:.2f}<extra></extra>",
        )
    )
    _key_axis(figure, labels, best)
    figure.update_xaxes(range=[0, 1])
    return finish(
        figure,
        title="Which tokens the selected one reads",
        x="attention weight",
        y="",
        alt="Bar chart of the strongest weights: "
        + ", ".join(f"{labels[key]} {values.weights[key]:.2f}" for key in best[:5])
        + ".",
        height=120 + 24 * len(best),
    )


def scores(values: Head, labels: Sequence[str]) -> go.Figure:
    """Bars: the scores of the same keys, before the softmax."""
    best = values.strongest
    figure = go.Figure(
        go.Bar(
            x=values.scores[best],
            y=np.arange(len(best)),
            orientation="h",
            marker_color=CATEGORICAL[1],
            text=[f"{values.scores[key]:.1f}" for key in best],
            textposition="auto",
            textangle=0,
            hovertemplate="score %{x:.3f}<extra></extra>",
        )
    )
    _key_axis(figure, labels, best)
    return finish(
        figure,
        title="Their scores, before the softmax",
        x="score: q · k, scaled",
        y="",
        alt=f"Bar chart of scores from {values.scores[best].min():.1f} to {values.scores[best].max():.1f}.",
        height=120 + 24 * len(best),
    )


def vectors(values: Head, labels: Sequence[str], query: int) -> go.Figure:
    """Heatmap: the selected token's query above the keys it reads most, after RoPE."""
    best = values.strongest[:VECTORS_SHOWN]
    z = np.vstack([values.query[None], values.strongest_keys[:VECTORS_SHOWN]])
    names = [f"q  {plain(labels[query])}", *(f"k  {plain(labels[key])}" for key in best)]
    figure = go.Figure(
        go.Heatmap(
            z=z,
            colorscale=colour_scale(DIVERGING),
            **symmetric(np.quantile(np.abs(z), [0.995])),
            colorbar={"title": {"text": "value"}, "thickness": 12},
            hovertemplate="component %{x}: %{z:.3f}<extra></extra>",
        )
    )
    places = list(range(len(names)))
    figure.update_yaxes(autorange="reversed", tickmode="array", tickvals=places, ticktext=names)
    return finish(
        figure,
        title="The query and the keys it matches best",
        x=f"component ({z.shape[1]}, after RoPE)",
        y="",
        alt=f"Heatmap of the query vector of {labels[query]} and of {len(best)} key vectors.",
        height=130 + 30 * len(names),
    )


def _key_axis(figure: go.Figure, labels: Sequence[str], keys: np.ndarray) -> None:
    names = [f"{key} {plain(labels[key])}" for key in keys]
    figure.update_yaxes(autorange="reversed", tickmode="array", tickvals=list(range(len(keys))), ticktext=names)
