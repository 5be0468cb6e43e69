"""A small MLP drawn: its output over the plane of its inputs, where gates are open, a cut, and the gate's functions."""

import math

import numpy as np
import plotly.graph_objects as go

from gemma_viz.figures.style import CATEGORICAL, DIVERGING, colour_scale, finish, symmetric
from gemma_viz.stages.toy_mlp import FORMULAS, REACH, Activations, Along, Plane, ToyNeuron

# Neighbours in the plane differ in one gate, so that neighbouring numbers get colours far apart.
REGION_COLOURS = tuple(
    f"rgba({r},{g},{b},{alpha})"
    for alpha in (0.75, 0.35)
    for r, g, b in ((int(c[1:3], 16), int(c[3:5], 16), int(c[5:7], 16)) for c in CATEGORICAL)
)


def surface(values: Plane, neurons: tuple[ToyNeuron, ...], kind: str, cut: float) -> go.Figure:
    """Contours: the output over the plane, the lines where gates open, and where the plane is cut."""
    low, high = float(values.output.min()), float(values.output.max())
    figure = go.Figure(
        go.Contour(
            z=values.output,
            x=values.axis,
            y=values.axis,
            **symmetric(values.output),
            ncontours=24,
            colorscale=colour_scale(DIVERGING),
            colorbar={"title": {"text": "output"}, "thickness": 12},
            line={"width": 0.7, "color": "rgba(60,60,60,.7)"},
            hovertemplate="x1 %{x:.2f}, x2 %{y:.2f}<br>output %{z:.3f}<extra></extra>",
        )
    )
    if kind != "linear":
        _add_gates(figure, neurons)
    figure.add_hline(y=cut, line={"width": 1.5, "dash": "dot", "color": "#333"})
    return _square(
        figure,
        title=f"Output of the {kind} toy: sum of {FORMULAS[kind]}",
        alt=f"Contours of the output over both inputs, from {low:.2f} to {high:.2f}.",
    )


def regions(values: Plane, neurons: tuple[ToyNeuron, ...], n_regions: int) -> go.Figure:
    """Map: one colour wherever the same gates are open."""
    codes, places = np.unique(values.open, return_inverse=True)
    colours = [REGION_COLOURS[i % len(REGION_COLOURS)] for i in range(len(codes))]
    steps = [[(i + side) / len(codes), colour] for i, colour in enumerate(colours) for side in (0, 1)]
    named = np.array([_open_gates(int(code), len(neurons)) for code in codes], object)
    figure = go.Figure(
        go.Heatmap(
            z=places.reshape(values.open.shape).astype(np.uint8),
            x=values.axis,
            y=values.axis,
            zmin=-0.5,
            zmax=len(codes) - 0.5,
            colorscale=steps,
            showscale=False,
            text=named[places.reshape(values.open.shape)],
            hovertemplate="x1 %{x:.2f}, x2 %{y:.2f}<br>%{text}<extra></extra>",
        )
    )
    _add_gates(figure, neurons)
    return _square(
        figure,
        title=f"Which gates are open: {n_regions} regions",
        alt=f"Map of the plane: {len(neurons)} straight lines make {n_regions} regions with different open gates.",
    )


def along(values: Along, x2: float, kind: str) -> go.Figure:
    """Lines: the outputs of all four kinds along x1."""
    figure = go.Figure()
    for (name, line), colour in zip(values.outputs.items(), CATEGORICAL, strict=False):
        figure.add_scatter(
            x=values.x1,
            y=line,
            mode="lines",
            name=name,
            line={"color": colour, "width": 3.5 if name == kind else 1.5},
            hovertemplate=name + "<br>x1 %{x:.2f}: %{y:.3f}<extra></extra>",
        )
    for place in values.opens:
        figure.add_vline(x=float(place), line={"width": 1, "dash": "dot", "color": CATEGORICAL[7]})
    return finish(
        figure,
        title=f"A cut through all four, at x2 = {x2:.1f}",
        x="x1 (dotted: a gate opens or closes)",
        y="output",
        alt=f"Lines along x1 of four toys; {len(values.opens)} gates open or close on the way.",
        legend=True,
        height=420,
    )


def activations(values: Activations) -> go.Figure:
    """Lines: ReLU and GELU."""
    figure = go.Figure()
    for name, line, colour, dash in (
        ("ReLU", values.relu, CATEGORICAL[1], "dash"),
        ("GELU, tanh form (Gemma’s)", values.gelu, CATEGORICAL[0], "solid"),
        ("GELU, exact", values.exact, CATEGORICAL[3], "dot"),
    ):
        figure.add_scatter(
            x=values.gate,
            y=line,
            mode="lines",
            name=name,
            line={"color": colour, "dash": dash, "width": 2.5},
            hovertemplate=name + "<br>gate %{x:.2f}: %{y:.4f}<extra></extra>",
        )
    return finish(
        figure,
        title="What a gate goes through",
        x="gate",
        y="result",
        alt=f"ReLU is 0 up to 0 and then the gate; both GELUs are smooth and dip to {values.gelu.min():.2f} left of 0.",
        legend=True,
        height=400,
    )


def difference(values: Activations) -> go.Figure:
    """Line: the tanh form of GELU minus the exact one."""
    figure = go.Figure(
        go.Scatter(
            x=values.gate,
            y=values.difference,
            mode="lines",
            line={"color": CATEGORICAL[5], "width": 2.5},
            hovertemplate="gate %{x:.2f}: %{y:.2e}<extra></extra>",
        )
    )
    figure.update_yaxes(tickformat=".0e", nticks=7)
    return finish(
        figure,
        title="GELU’s tanh form minus the exact one",
        x="gate",
        y="difference",
        alt=f"A wavy line around 0 that reaches {values.largest_difference:.1e} at a gate of {values.largest_at:.2f} "
        "on either side.",
        height=400,
    )


def _add_gates(figure: go.Figure, neurons: tuple[ToyNeuron, ...]) -> None:
    """The line where each neuron's gate is 0, with the neuron's number on the side where it is open."""
    for number, neuron in enumerate(neurons, 1):
        angle = math.radians(neuron.gate_angle)
        out = np.array([math.cos(angle), math.sin(angle)])
        ends = neuron.gate_offset * out + np.outer([-3 * REACH, 3 * REACH], [-out[1], out[0]])
        figure.add_scatter(
            x=ends[:, 0], y=ends[:, 1], mode="lines", line={"color": "#222", "width": 1.5}, hoverinfo="skip"
        )
        beside = (neuron.gate_offset + 0.25) * out
        figure.add_annotation(
            x=beside[0],
            y=beside[1],
            text=f"{number}",
            showarrow=False,
            font={"color": "#fff"},
            bgcolor="#222",
            borderpad=2,
        )


def _open_gates(code: int, n: int) -> str:
    numbers = [str(i + 1) for i in range(n) if code >> i & 1]
    return f"open: {', '.join(numbers)}" if numbers else "all closed"


def _square(figure: go.Figure, title: str, alt: str) -> go.Figure:
    """Both inputs on axes of one scale."""
    finish(figure, title=title, x="x1", y="x2", alt=alt, height=440)
    figure.update_xaxes(range=[-REACH, REACH], constrain="domain", showgrid=False, zeroline=False)
    figure.update_yaxes(range=[-REACH, REACH], scaleanchor="x", constrain="domain", showgrid=False, zeroline=False)
    return figure
