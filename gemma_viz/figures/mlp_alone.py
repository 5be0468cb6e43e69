"""A layer's MLP on other inputs drawn: differences by position, and curves along the line between two tokens."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gemma_viz.figures.style import CATEGORICAL, SELECTED, finish, plain, token_axis, token_hover
from gemma_viz.stages import around
from gemma_viz.stages.mlp_alone import Alone, Slice

TOKENS_IN_BARS = 64
ROOM = 0.25  # of the range of a curve, below and above it


def differences(values: Alone, labels: Sequence[str], selected: int) -> go.Figure:
    """Bars by position: how much the MLP's input and output differ from those of the original prompt."""
    shown = around(selected, len(labels), TOKENS_IN_BARS)
    part = slice(shown.start, shown.stop)
    names = labels[part]
    series = (("input", values.input_change, CATEGORICAL[7]), ("output", values.output_change, CATEGORICAL[0]))
    figure = go.Figure(
        [
            go.Bar(
                name=f"the MLP's {name}",
                x=np.array(shown),
                y=change[part],
                marker_color=colour,
                customdata=token_hover(names, shown.start),
                hovertemplate="%{customdata}<br>RMS of the difference %{y:.3g}<extra>" + name + "</extra>",
            )
            for name, change, colour in series
        ]
    )
    figure.add_vrect(
        x0=selected - 0.5, x1=selected + 0.5, fillcolor=SELECTED, opacity=0.15, line_width=0, layer="below"
    )
    figure.update_xaxes(range=[shown.start - 0.6, shown.stop - 0.4], **token_axis(names, shown.start))
    cut = f", tokens {shown.start} to {shown.stop - 1}" if len(names) < len(labels) else ""
    n_changed = int((values.output_change > 0).sum())
    return finish(
        figure,
        title=f"What differs from the original prompt{cut}",
        x="token (the selected one shaded)",
        y="RMS of the difference",
        alt=f"Bars by token: the MLP's output differs at {n_changed} of {len(labels)} tokens; at the selected token "
        f"{labels[selected]} by {values.output_change[selected]:.2g}.",
        legend=True,
    )


def one_neuron(values: Slice, labels: tuple[str, str]) -> go.Figure:
    """Lines: gate and up of one neuron on the way between two tokens, and their product with GELU and with ReLU."""
    figure = go.Figure()
    lines: tuple[tuple[str, np.ndarray, dict[str, object]], ...] = (
        ("gate", values.gate, {"color": CATEGORICAL[7], "dash": "dot"}),
        ("up", values.up, {"color": CATEGORICAL[6], "dash": "dot"}),
        ("gelu(gate) × up", values.neuron_gelu, {"color": CATEGORICAL[0], "width": 3}),
        ("relu(gate) × up", values.neuron_relu, {"color": CATEGORICAL[4], "dash": "dash"}),
    )
    for name, line, style in lines:
        _add_line(figure, values.t, line, name, style)
    _mark_ends(figure, labels)
    # The products fill the picture; of gate and up it is enough to see where they cross 0.
    products = np.concatenate([values.neuron_gelu, values.neuron_relu, [0]])
    room = ROOM * float(np.ptp(products)) or 1.0
    figure.update_yaxes(range=[float(products.min()) - room, float(products.max()) + room])
    return finish(
        figure,
        title=f"Neuron {values.neuron} on the way",
        x="t: 0 and 1 are the two tokens' inputs",
        y="value",
        alt=f"Lines over t: gate and up are straight; the product with GELU goes from {values.neuron_gelu[0]:.2f} to "
        f"{values.neuron_gelu[-1]:.2f}, with ReLU from {values.neuron_relu[0]:.2f} to {values.neuron_relu[-1]:.2f}.",
        legend=True,
        height=420,
    )


def components(values: Slice, labels: tuple[str, str]) -> go.Figure:
    """Lines: the components of the MLP's output that change most on the way, with GELU and with ReLU."""
    figure = go.Figure()
    for component, smooth, kinked, colour in zip(
        values.components, values.gelu, values.relu, CATEGORICAL, strict=False
    ):
        name = f"component {component}"
        _add_line(figure, values.t, smooth, name, {"color": colour, "width": 2.5})
        _add_line(figure, values.t, kinked, f"{name}, ReLU", {"color": colour, "dash": "dot"}, showlegend=False)
    _mark_ends(figure, labels)
    largest = float(np.abs(values.gelu - values.relu).max())
    return finish(
        figure,
        title="The whole output on the way: the model’s own (lines), with ReLU (dotted)",
        x="t: 0 and 1 are the two tokens' inputs",
        y="component of the output",
        alt=f"Lines over t of {len(values.components)} components of the output, with GELU and with ReLU; the two "
        f"differ by {largest:.2f} at most.",
        legend=True,
        height=420,
    )


def _add_line(
    figure: go.Figure, x: np.ndarray, y: np.ndarray, name: str, line: dict[str, object], **more: bool
) -> None:
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines",
        name=name,
        line=line,
        hovertemplate=f"{name}<br>t %{{x:.2f}}: %{{y:.3f}}<extra></extra>",
        **more,
    )


def _mark_ends(figure: go.Figure, labels: tuple[str, str]) -> None:
    """Name the two tokens at t = 0 and t = 1."""
    for t, label in enumerate(labels):
        # In two steps: add_vline with a text takes four times as long.
        across = {"x0": t, "x1": t, "y0": 0, "y1": 1, "yref": "y domain"}
        figure.add_shape(type="line", **across, line={"width": 1, "color": CATEGORICAL[7]})
        figure.add_annotation(
            text=plain(label), x=t, xanchor="left", y=1, yref="y domain", yanchor="top", showarrow=False
        )
