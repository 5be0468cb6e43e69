"""One head drawn: its pattern, how far back it looks, and one query in numbers."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gemma_viz.figures.style import (
    CATEGORICAL,
    DIVERGING,
    SEQUENTIAL,
    colour_scale,
    finish,
    frame,
    plain,
    short,
    symmetric,
    token_axis,
    token_hover,
)
from gemma_viz.stages import Floats
from gemma_viz.stages.attention import Head, Query

VECTORS_SHOWN = 8
DISTANCES_SHOWN = 64


def pattern(values: Head, labels: Sequence[str], query: int) -> go.Figure:
    """Heatmap of one head's pattern; of long prompts the part around the query."""
    return pattern_heatmap(values.pattern, values.shown, labels, query, "This head's pattern", height=520)


def pattern_heatmap(
    weights: Floats, shown: range, labels: Sequence[str], query: int, title: str, height: int
) -> go.Figure:
    """Heatmap of attention weights, with the row of one query framed.

    weights: float32 [len(shown), len(shown)], query by key; labels: of all tokens
    """
    names = labels[shown.start : shown.stop]
    hover = token_hover(names, shown.start)
    few = len(names) <= 128  # names in every cell's hover would outgrow the picture itself
    figure = go.Figure(
        go.Heatmap(
            z=weights,
            x=np.array(shown),
            y=np.array(shown),
            zmin=0,
            # In a long row no weight is near 1; the scale beside the picture says where its own ends.
            zmax=1 if few else float(np.nanquantile(weights, 0.999)),
            colorscale=colour_scale(SEQUENTIAL),
            colorbar={"title": {"text": "weight"}, "thickness": 12},
            customdata=[[f"{q} looks at {k}" for k in hover] for q in hover] if few else None,
            hovertemplate=("%{customdata}" if few else "token %{y} looks at token %{x}")
            + "<br>weight %{z:.3f}<extra></extra>",
        )
    )
    frame(figure, (shown.start, shown.stop - 1), (query, query), width=2)
    figure.update_xaxes(showgrid=False, **token_axis(names, shown.start))
    figure.update_yaxes(showgrid=False, autorange="reversed", **token_axis(names, shown.start))
    row = weights[query - shown.start]
    strongest = int(np.nanargmax(row)) if np.isfinite(row).any() else 0
    cut = f", tokens {shown.start} to {shown.stop - 1}" if len(names) < len(labels) else ""
    return finish(
        figure,
        title=f"{title}{cut}",
        x="key: the token looked at",
        y="query: the token that looks",
        alt=f"Heatmap of attention weights, {title}. The selected token {labels[query]} looks most at "
        f"{names[strongest]}, with a weight of {row[strongest]:.2f}, of those shown.",
        height=height,
    )


def whole_pattern(values: Head, query: int) -> go.Figure:
    """Heatmap of the pattern of a long prompt, pooled, with the part framed that `pattern` shows."""
    assert values.whole is not None
    places = np.arange(len(values.whole)) * values.cell + (values.cell - 1) / 2
    figure = go.Figure(
        go.Heatmap(
            z=values.whole,
            x=places,
            y=places,
            zmin=0,
            zmax=1,
            colorscale=colour_scale(SEQUENTIAL),
            colorbar={"title": {"text": "largest<br>weight"}, "thickness": 12},
            hovertemplate="around token %{y:.0f} looking around token %{x:.0f}<br>"
            "largest weight %{z:.3f}<extra></extra>",
        )
    )
    columns = values.shown.start, values.shown.stop - 1
    row = np.asarray(values.whole)[query // values.cell]
    strongest = places[np.nanargmax(row)]
    frame(figure, columns, columns, width=2)
    frame(figure, columns, (query, query), width=1)
    figure.update_xaxes(showgrid=False)
    figure.update_yaxes(showgrid=False, autorange="reversed")
    return finish(
        figure,
        title=f"The whole prompt, one cell for {values.cell} × {values.cell} tokens",
        x="key: position of the token looked at",
        y="query: position",
        alt=f"Heatmap of the largest weights in cells of {values.cell} by {values.cell} tokens; the part around "
        f"token {query} is framed. Its largest weight, {np.nanmax(row):.2f}, lies around token {strongest:.0f}.",
        height=420,
    )


def profile(line: Floats, head: str) -> go.Figure:
    """Bars: the weight that a head puts on the token so many tokens back, on average. line: float32 [distance]."""
    shown = line[:DISTANCES_SHOWN]
    figure = go.Figure(
        go.Bar(
            x=np.arange(len(shown)),
            y=shown,
            marker_color=CATEGORICAL[0],
            hovertemplate="%{x} tokens back: %{y:.3f}<extra></extra>",
        )
    )
    figure.update_yaxes(rangemode="tozero")
    best = int(np.nanargmax(shown)) if np.isfinite(shown).any() else 0
    return finish(
        figure,
        title=f"How far back {head} looks",
        x="distance (tokens from key to query; 0 is the token itself)",
        y="average weight",
        alt=f"Bars by distance; the largest average weight stands {best} tokens back.",
        height=300,
    )


def reads(values: Query, labels: Sequence[str]) -> go.Figure:
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
            customdata=np.stack([values.scores[best], values.value_norms[best]], -1),
            hovertemplate="weight %{x:.4f}<br>score %{customdata[0]:.2f}"
            "<br>length of the value %{customdata[1]:.2f}<extra></extra>",
        )
    )
    key_axis(figure, labels, best)
    figure.update_xaxes(range=[0, 1])
    return finish(
        figure,
        title="Softmax: how much it reads of each",
        x="attention weight",
        y="",
        alt="Bar chart of the strongest weights: "
        + ", ".join(f"{labels[key]} {values.weights[key]:.2f}" for key in best[:5])
        + ".",
        height=120 + 24 * len(best),
    )


def scores(values: Query, labels: Sequence[str]) -> go.Figure:
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
    key_axis(figure, labels, best)
    return finish(
        figure,
        title="Scores, before the softmax",
        x="score: q · k, scaled",
        y="",
        alt=f"Bar chart of scores from {values.scores[best].min():.1f} to {values.scores[best].max():.1f}.",
        height=120 + 24 * len(best),
    )


def vectors(values: Query, labels: Sequence[str], query: int) -> go.Figure:
    """Heatmap: the selected token's query above the keys it reads most, after RoPE."""
    best = values.strongest[:VECTORS_SHOWN]
    rows = np.vstack([values.q[None], values.strongest_keys[:VECTORS_SHOWN]])
    names = [f"q  {plain(labels[query])}", *(f"k  {plain(labels[key])}" for key in best)]
    return _components(
        rows,
        names,
        title="The query and the keys it matches best",
        x=f"component ({rows.shape[1]}, after RoPE)",
        alt=f"Heatmap of the query vector of {labels[query]} and the key vectors of "
        + ", ".join(f"{labels[key]} (q · k {values.dots[key]:.1f})" for key in best)
        + ".",
    )


def products(values: Query, labels: Sequence[str], query: int) -> go.Figure:
    """Heatmap: the same query times each of these keys, component by component; a row sums to q · k."""
    best = values.strongest[:VECTORS_SHOWN]
    rows = values.q * values.strongest_keys[:VECTORS_SHOWN]
    names = [f"{plain(labels[key], 9)}  Σ {values.dots[key]:.1f}" for key in best]
    return _components(
        rows,
        names,
        title="Their products, component by component: each row sums to q · k",
        x=f"component ({rows.shape[1]})",
        alt=f"Heatmap of products of the query of {labels[query]} with {len(best)} keys; the rows sum to "
        + ", ".join(f"{values.dots[key]:.1f}" for key in best)
        + ".",
    )


def running_sum(values: Query, rank: int, label: str) -> go.Figure:
    """Line: q · k of one of the strongest keys as it adds up over the components."""
    parts = values.q * values.strongest_keys[rank]
    dot = float(values.dots[values.strongest[rank]])
    figure = go.Figure()
    figure.add_bar(
        x=np.arange(len(parts)),
        y=parts,
        name="product of one component",
        marker_color=CATEGORICAL[7],
        hovertemplate="component %{x}: %{y:.3f}<extra></extra>",
    )
    figure.add_scatter(
        x=np.arange(len(parts)),
        y=parts.cumsum(),
        mode="lines",
        name="sum so far",
        line={"color": CATEGORICAL[0]},
        hovertemplate="up to component %{x}: %{y:.2f}<extra></extra>",
    )
    return finish(
        figure,
        title=f"q · k with the key of {short(label)} adds up to {dot:.1f}",
        x="component",
        y="product",
        alt=f"Bars of {len(parts)} products and their running sum, which ends at {dot:.1f}.",
        legend=True,
        height=320,
    )


def weighted_values(values: Query, labels: Sequence[str]) -> go.Figure:
    """Heatmap: the values the query reads most, each times its weight, and the sum over all tokens beneath."""
    best = values.strongest[:VECTORS_SHOWN]
    rows = np.vstack([values.weights[best, None] * values.strongest_values[:VECTORS_SHOWN], values.z[None]])
    names = [*(f"{values.weights[key]:.2f} v  {plain(labels[key])}" for key in best), "sum: z"]
    return _components(
        rows,
        names,
        title="The values, each times its weight, and their sum over all tokens",
        x=f"component ({rows.shape[1]})",
        alt="Heatmap of weighted value vectors, "
        + ", ".join(f"{values.weights[key]:.2f} of that of {labels[key]}" for key in best)
        + f", and of the sum over all tokens, which is {np.linalg.norm(values.z):.1f} long.",
    )


def _components(rows: Floats, names: Sequence[str], *, title: str, x: str, alt: str) -> go.Figure:
    """Heatmap of vectors, one in each row."""
    figure = go.Figure(
        go.Heatmap(
            z=rows,
            colorscale=colour_scale(DIVERGING),
            **symmetric(np.quantile(np.abs(rows), [0.995])),
            colorbar={"title": {"text": "value"}, "thickness": 12},
            hovertemplate="component %{x}: %{z:.3f}<extra></extra>",
        )
    )
    places = list(range(len(names)))
    figure.update_yaxes(autorange="reversed", tickmode="array", tickvals=places, ticktext=list(names))
    return finish(figure, title=title, x=x, y="", alt=alt, height=130 + 30 * len(names))


def key_axis(figure: go.Figure, labels: Sequence[str], keys: np.ndarray) -> None:
    """Name the rows of a bar chart by tokens of the prompt."""
    names = [f"{key} {plain(labels[key])}" for key in keys]
    figure.update_yaxes(autorange="reversed", tickmode="array", tickvals=list(range(len(keys))), ticktext=names)
