"""Residual stream drawn: its scale by depth, what each sublayer adds, what the norms divide by."""

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
    log_axis,
    plain,
    short,
)
from gemma_viz.stages import Floats
from gemma_viz.stages.residual import Lens, NormInNumbers, Residual

LINES_SHOWN = 24
CELL_CHARACTERS = 8  # of a label in a table that has to fit on a narrow screen
SYMBOLS = ("circle", "diamond", "square", "x")


def scale(values: Residual, labels: Sequence[str], selected: int) -> go.Figure:
    """Lines on a log axis: RMS of every token's stream by depth, the selected token's on top."""
    n_depths = len(values.stream_rms)
    depth = np.arange(n_depths) / 2
    step = -(-len(labels) // LINES_SHOWN)
    others = [position for position in range(0, len(labels), step) if position != selected]
    figure = go.Figure()
    for position in [*others, selected]:
        chosen = position == selected
        figure.add_scatter(
            x=depth,
            y=values.stream_rms[:, position],
            mode="lines+markers" if chosen else "lines",
            marker={"size": 5},
            line={"width": 3 if chosen else 1.2, "color": CATEGORICAL[0] if chosen else CATEGORICAL[7]},
            opacity=1 if chosen else 0.55,
            name=f"{position} {plain(labels[position])}",
            hovertemplate="depth %{x} layers<br>RMS %{y:.1f}",
        )
    figure.update_yaxes(**log_axis(values.stream_rms))
    first, last = values.stream_rms[0, selected], values.stream_rms[-1, selected]
    return finish(
        figure,
        title=f"Scale of the residual stream, token {short(labels[selected])} in front",
        x="depth (layers; ½ is after attention)",
        y="RMS of the stream (log axis)",
        alt=f"Line chart by depth for {len(others) + 1} tokens. The selected token's stream goes from an RMS of "
        f"{first:.2f} to {last:.1f}.",
        height=400,
    )


def share(values: Residual, label: str, selected: int) -> go.Figure:
    """Lines by layer: how much of the stream each sublayer's update makes up for one token."""
    return _by_layer(
        {"attention": values.attention_share[:, selected], "MLP": values.mlp_share[:, selected]},
        title=f"What each sublayer adds to the stream of {short(label)}",
        y="share, √(var r / (var r + var s))",
        range=(0, 1),
    )


def cosine(values: Residual, label: str, selected: int) -> go.Figure:
    """Lines by layer: whether each sublayer's update points the way of the stream it is added to, for one token."""
    return _by_layer(
        {"attention": values.attention_cosine[:, selected], "MLP": values.mlp_cosine[:, selected]},
        title=f"Whether the updates point the way of the stream of {short(label)}",
        y="cosine of update and stream",
        range=(-1, 1),
    )


def divisor(values: Residual, label: str, selected: int) -> go.Figure:
    """Lines by layer on a log axis: what each of a layer's norms divides by for one token."""
    return _by_layer(
        {place: line[:, selected] for place, line in values.divisors.items()},
        title=f"What each RMSNorm divides by for {short(label)}",
        y="divisor, RMS (log axis)",
    )


def depth_similarity(values: Floats, label: str) -> go.Figure:
    """Heatmap: cosine of one token's stream between any two depths."""
    last = len(values) - 1
    figure = go.Figure(
        go.Heatmap(
            z=values,
            zmin=-1,
            zmax=1,
            colorscale=colour_scale(DIVERGING),
            colorbar={"title": {"text": "cosine"}, "thickness": 12},
            hovertemplate="after %{y} and %{x} layers: %{z:.2f}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed")
    return finish(
        figure,
        title=f"How alike the stream of {short(label)} is at two depths",
        x="depth (layers)",
        y="depth (layers)",
        alt=f"Heatmap of cosines between {last + 1} depths; first and last have {values[0, last]:.2f}.",
        height=420,
    )


def lens(values: Lens, labels: Sequence[Sequence[str]]) -> go.Figure:
    """Table in colours: at every depth (down) the tokens that the output would make likeliest (across)."""
    n_depths, n_ranks = values.ids.shape
    figure = go.Figure(
        go.Heatmap(
            z=values.probabilities,
            x=np.arange(1, n_ranks + 1),
            y=np.arange(n_depths),
            zmin=0,
            zmax=1,
            colorscale=colour_scale(SEQUENTIAL),
            colorbar={"title": {"text": "probability"}, "thickness": 12},
            text=[[plain(label, CELL_CHARACTERS) for label in row] for row in labels],
            texttemplate="%{text}",
            textfont={"size": 11},
            customdata=[[plain(label) for label in row] for row in labels],
            hovertemplate="after %{y} layers, rank %{x}: %{customdata}<br>probability %{z:.3~p}<extra></extra>",
        )
    )
    frame(figure, (1, 1), (values.leads_from, n_depths - 1))
    figure.update_xaxes(side="top", dtick=1, showgrid=False)
    figure.update_yaxes(autorange="reversed", dtick=1, showgrid=False)
    return finish(
        figure,
        title="What the output would predict from the stream at every depth (logit lens)",
        x="rank",
        y="depth (layers)",
        alt="Table of the likeliest tokens by depth: "
        + "; ".join(f"after {depth} {row[0]}" for depth, row in enumerate(labels))
        + ".",
        height=150 + 26 * n_depths,
    )


def followed(values: Lens, label: str) -> go.Figure:
    """Line: the probability of one token by depth, with its rank in the hover."""
    depth = np.arange(len(values.target_probabilities))
    figure = go.Figure(
        go.Scatter(
            x=depth,
            y=values.target_probabilities,
            mode="lines+markers",
            line={"color": CATEGORICAL[0]},
            customdata=values.target_ranks,
            hovertemplate="after %{x} layers: %{y:.3~p}, rank %{customdata:,}<extra></extra>",
        )
    )
    figure.update_yaxes(rangemode="tozero", tickformat=".0%")
    first, last = values.target_ranks[0], values.target_ranks[-1]
    return finish(
        figure,
        title=f"Probability of {short(label)} by depth",
        x="depth (layers)",
        y="probability",
        alt=f"Line chart: {label} goes from rank {first:,} to rank {last:,}.",
    )


def learned_weights(values: NormInNumbers, place: str) -> go.Figure:
    """Histogram: the factors that a norm has learned, 1 + weight."""
    factors = 1 + values.weight
    figure = go.Figure(
        go.Histogram(x=factors, nbinsx=60, marker_color=CATEGORICAL[0], hovertemplate="%{x}: %{y}<extra></extra>")
    )
    figure.add_vline(x=1, line={"width": 2, "color": CATEGORICAL[4], "dash": "dot"})
    return finish(
        figure,
        title=f"What the norm {place} multiplies with afterwards",
        x="factor, 1 + weight (dotted: 1)",
        y="components",
        alt=f"Histogram of {len(factors)} factors from {factors.min():.2f} to {factors.max():.2f}.",
    )


def both_runs(before: Floats, after: Floats, label: str, edited: str) -> go.Figure:
    """Lines on a log axis: RMS of one token's stream by depth in the untouched run and in the edited one, as far as it
    is a number. edited: its name.
    """
    depth = np.arange(len(before))
    figure = go.Figure()
    for name, line, colour in (("the model as it is", before, CATEGORICAL[0]), (edited, after, CATEGORICAL[1])):
        figure.add_scatter(
            x=depth,
            y=np.where(np.isfinite(line), line, np.nan),
            name=name,
            mode="lines+markers",
            line={"color": colour},
            hovertemplate="after %{x} layers: RMS %{y:.3g}",
        )
    figure.update_yaxes(**log_axis(before, after))
    finite = after[np.isfinite(after)]
    return finish(
        figure,
        title=f"Scale of the stream of {short(label)}, before and after",
        x="depth (layers)",
        y="RMS of the stream (log axis)",
        alt=f"Lines by depth: the model as it is up to {before.max():.3g}, {edited} up to "
        + (f"{finite.max():.3g}." if len(finite) else "no number.")
        + ("" if len(finite) == len(depth) else f" From depth {len(finite)} on it is no number."),
        legend=True,
    )


def _by_layer(
    series: dict[str, np.ndarray], *, title: str, y: str, range: tuple[float, float] | None = None
) -> go.Figure:
    figure = go.Figure()
    for (name, line), colour, symbol in zip(series.items(), CATEGORICAL, SYMBOLS, strict=False):
        figure.add_scatter(
            x=np.arange(len(line)),
            y=line,
            name=name,
            mode="lines+markers",
            line={"color": colour},
            marker={"symbol": symbol, "size": 7},
            hovertemplate="layer %{x}: %{y:.3g}",
        )
    if range:
        figure.update_yaxes(range=range)
    else:
        figure.update_yaxes(**log_axis(*series.values()))
    said = "; ".join(f"{name} from {line.min():.3g} to {line.max():.3g}" for name, line in series.items())
    return finish(figure, title=title, x="layer", y=y, alt=f"Line chart by layer: {said}.", legend=True)
