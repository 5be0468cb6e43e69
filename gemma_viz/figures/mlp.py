"""MLP drawn: what the neurons are given and make of it for one token, and what the output is made of."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gemma_viz.figures.style import CATEGORICAL, DIVERGING, NEGATIVE, POSITIVE, colour_scale, finish, short
from gemma_viz.numbers import percent
from gemma_viz.stages.mlp import MOST, Neurons

BINS = 60
POINTS_IN_CURVE = 400


def distributions(values: Neurons, label: str) -> go.Figure:
    """Four histograms on log axes: gate, gelu(gate), up and the product, of all neurons."""
    series = {"gate": values.gate, "gelu(gate)": values.gelu_gate, "up": values.up, "product": values.act}
    figure = make_subplots(rows=2, cols=2, horizontal_spacing=0.12, vertical_spacing=0.24)
    for place, ((name, numbers), colour) in enumerate(zip(series.items(), CATEGORICAL, strict=False)):
        counts, edges = np.histogram(numbers, BINS)
        figure.add_bar(
            row=place // 2 + 1,
            col=place % 2 + 1,
            x=(edges[:-1] + edges[1:]) / 2,
            y=counts,
            width=np.diff(edges),
            marker_color=colour,
            name=name,
            hovertemplate=f"{name} about %{{x:.3f}}: %{{y}} neurons<extra></extra>",
        )
    finish(
        figure,
        title=f"What the {len(values.act):,} neurons get and give for {short(label)}",
        x="",
        y="neurons (log)",
        alt="Histograms: "
        + ", ".join(f"{name} from {numbers.min():.2f} to {numbers.max():.2f}" for name, numbers in series.items())
        + ".",
        height=460,
    )
    for place, name in enumerate(series):
        figure.update_xaxes(title_text=name, nticks=6, row=place // 2 + 1, col=place % 2 + 1)
    figure.update_yaxes(type="log", dtick=1, range=[-0.3, None])
    figure.update_yaxes(title_text="", col=2)
    figure.update_layout(bargap=0)
    return figure


def gate_and_up(values: Neurons, label: str) -> go.Figure:
    """Scatter: gate against up for every neuron, coloured by the product gelu(gate) * up."""
    largest = float(np.abs(values.act).max()) or 1.0
    figure = go.Figure(
        go.Scattergl(
            x=values.gate,
            y=values.up,
            mode="markers",
            marker={
                "size": 6,
                "color": values.act,
                "cmin": -largest,
                "cmax": largest,
                "colorscale": colour_scale(DIVERGING),
                "colorbar": {"title": {"text": "product"}, "thickness": 12},
                "line": {"width": 0.5, "color": "rgba(120,120,120,.6)"},
            },
            customdata=np.stack([np.arange(len(values.act)), values.act], -1),
            hovertemplate="neuron %{customdata[0]}<br>gate %{x:.3f}<br>up %{y:.3f}"
            "<br>product %{customdata[1]:.3f}<extra></extra>",
        )
    )
    return finish(
        figure,
        title=f"All {len(values.act):,} neurons for {short(label)}",
        x="gate",
        y="up",
        alt=f"Scatter of {len(values.act)} neurons; {values.open_share:.0%} have a gate above 0; products reach "
        f"{largest:.2f}.",
        height=420,
    )


def gelu_curve(values: Neurons) -> go.Figure:
    """Histogram of the gates, with gelu drawn over it."""
    low, high = float(values.gate.min()), float(values.gate.max())
    figure = go.Figure()
    figure.add_histogram(
        x=values.gate,
        nbinsx=80,
        name="neurons",
        marker_color=CATEGORICAL[7],
        hovertemplate="gate %{x}: %{y} neurons<extra></extra>",
    )
    order = np.argsort(values.gate)
    figure.add_scatter(
        x=values.gate[order],
        y=values.gelu_gate[order],
        yaxis="y2",
        mode="lines",
        name="gelu(gate), right axis",
        line={"color": CATEGORICAL[4], "width": 2.5},
        hovertemplate="gate %{x:.3f}: gelu %{y:.3f}<extra></extra>",
    )
    finish(
        figure,
        title="The gates, and what GELU makes of them",
        x="gate",
        y="neurons",
        alt=f"Histogram of gates from {low:.2f} to {high:.2f}, with the gelu curve: near 0 left of 0, near the gate "
        "itself right of it.",
        legend=True,
        height=420,
    )
    figure.update_layout(
        yaxis2={
            "overlaying": "y",
            "side": "right",
            "title": {"text": "gelu(gate)"},
            "showgrid": False,
            "tickmode": "auto",
            "nticks": 6,
        }
    )
    return figure


def most_active(values: Neurons, label: str) -> go.Figure:
    """Bars: the products of the most active neurons."""
    shown = values.most_active
    act = values.act[shown]
    figure = _bars(
        shown,
        act,
        np.where(act > 0, POSITIVE, NEGATIVE),
        np.stack([values.gate[shown], values.up[shown]], -1),
        "product %{y:.3f}<br>gate %{customdata[0]:.3f}<br>up %{customdata[1]:.3f}",
    )
    return finish(
        figure,
        title=f"The {len(shown)} most active neurons for {short(label)}",
        x="neuron",
        y="product, gelu(gate) × up (orange: above 0)",
        alt="Bar chart of the largest products: "
        + ", ".join(f"neuron {neuron} {value:.2f}" for neuron, value in zip(shown[:5], act[:5], strict=True))
        + ".",
    )


def most_carrying(values: Neurons, label: str) -> go.Figure:
    """Bars: the neurons that add the longest vectors to the output, as shares of the sum of all lengths."""
    shown = values.most_carrying
    total = float(values.carried.sum()) or 1.0
    shares = values.carried[shown] / total
    figure = _bars(
        shown,
        shares,
        np.full(len(shown), CATEGORICAL[2]),
        [
            (percent(float(share)), *numbers)
            for share, *numbers in zip(shares, values.carried[shown], values.act[shown], strict=True)
        ],
        "%{customdata[0]} of all lengths<br>length %{customdata[1]:.3f}<br>product %{customdata[2]:.3f}",
    )
    figure.update_yaxes(tickformat=".1%")
    return finish(
        figure,
        title=f"The {len(shown)} neurons that carry most for {short(label)}",
        x="neuron",
        y="share of all lengths",
        alt="Bar chart of the largest shares: "
        + ", ".join(
            f"neuron {neuron} {percent(float(share))}" for neuron, share in zip(shown[:5], shares[:5], strict=True)
        )
        + ".",
    )


def cumulative(values: Neurons, label: str) -> go.Figure:
    """Line: what share the first 1, 2, 3, … neurons carry, with the place where they carry most."""
    n = len(values.cumulative)
    counts = np.unique(np.linspace(1, n, min(n, POINTS_IN_CURVE)).astype(int))
    figure = go.Figure(
        go.Scatter(
            x=counts,
            y=values.cumulative[counts - 1],
            mode="lines",
            line={"color": CATEGORICAL[2], "width": 2.5},
            hovertemplate="%{x:,} neurons: %{y:.1%}<extra></extra>",
        )
    )
    figure.add_scatter(
        x=[values.n_for_most],
        y=[values.cumulative[values.n_for_most - 1]],
        mode="markers+text",
        marker={"color": CATEGORICAL[4], "size": 10},
        text=[f"{values.n_for_most:,} carry {MOST:.0%}"],
        textposition="bottom right" if values.n_for_most < n / 2 else "bottom left",
        hoverinfo="skip",
    )
    figure.update_yaxes(tickformat=".0%", range=[0, 1.03])
    return finish(
        figure,
        title=f"How many neurons the output for {short(label)} is made of",
        x="neurons, the one that carries most first",
        y="share of all lengths",
        alt=f"A line that rises to 100% with all {n:,} neurons and passes {MOST:.0%} at {values.n_for_most:,}.",
    )


def _bars(
    neurons: np.ndarray, heights: np.ndarray, colours: np.ndarray, customdata: Sequence[Any] | np.ndarray, hover: str
) -> go.Figure:
    """Bars named by neuron."""
    figure = go.Figure(
        go.Bar(
            x=[str(neuron) for neuron in neurons],
            y=heights,
            marker_color=colours,
            customdata=customdata,
            hovertemplate="neuron %{x}<br>" + hover + "<extra></extra>",
        )
    )
    figure.update_xaxes(type="category", tickangle=-60)
    return figure
