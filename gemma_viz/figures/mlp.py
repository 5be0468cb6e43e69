"""MLP drawn: gates against ups, the most active neurons, one neuron over the prompt."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gemma_viz.figures.style import (
    CATEGORICAL,
    DIVERGING,
    colour_scale,
    finish,
    short,
    token_axis,
    token_hover,
)
from gemma_viz.stages import around
from gemma_viz.stages.mlp import Neurons

TOKENS_IN_BARS = 96


def gate_and_up(values: Neurons, label: str) -> go.Figure:
    """Scatter: gelu(gate) against up for every neuron, coloured by their product."""
    largest = float(np.abs(values.act).max()) or 1.0
    figure = go.Figure(
        go.Scattergl(
            x=values.gelu_gate,
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
            hovertemplate="neuron %{customdata[0]}<br>gelu(gate) %{x:.3f}<br>up %{y:.3f}"
            "<br>product %{customdata[1]:.3f}<extra></extra>",
        )
    )
    return finish(
        figure,
        title=f"All {len(values.act):,} neurons for {short(label)}",
        x="gelu(gate)",
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
            "nticks": 6,
        }
    )
    return figure


def most_active(values: Neurons, label: str) -> go.Figure:
    """Bars: the products of the most active neurons."""
    names = [str(neuron) for neuron in values.most_active]
    act = values.act[values.most_active]
    figure = go.Figure(
        go.Bar(
            x=names,
            y=act,
            marker_color=[CATEGORICAL[0] if value > 0 else CATEGORICAL[1] for value in act],
            customdata=np.stack([values.gate[values.most_active], values.up[values.most_active]], -1),
            hovertemplate="neuron %{x}<br>product %{y:.3f}<br>gate %{customdata[0]:.3f}"
            "<br>up %{customdata[1]:.3f}<extra></extra>",
        )
    )
    figure.update_xaxes(type="category", tickangle=-60)
    return finish(
        figure,
        title=f"The {len(names)} most active neurons for {short(label)}",
        x="neuron",
        y="product, gelu(gate) × up",
        alt="Bar chart of the largest products: "
        + ", ".join(f"neuron {name} {value:.2f}" for name, value in zip(names[:5], act[:5], strict=True))
        + ".",
    )


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
    return finish(
        figure,
        title=f"Neuron {neuron} over the prompt",
        x="token",
        y="product, gelu(gate) × up",
        alt=f"Bar chart of neuron {neuron} by token; it is strongest at {labels[strongest]} with {act[strongest]:.2f}.",
    )
