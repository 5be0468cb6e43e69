"""Residual stream drawn: its scale by depth, what each sublayer adds, what the norms divide by."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gemma_viz.figures.style import CATEGORICAL, finish, log_axis, plain, short
from gemma_viz.stages.residual import Residual

LINES_SHOWN = 24


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


def divisor(values: Residual, label: str, selected: int) -> go.Figure:
    """Lines by layer on a log axis: what the RMSNorm before each sublayer divides by for one token."""
    return _by_layer(
        {"before attention": values.attention_divisor[:, selected], "before MLP": values.mlp_divisor[:, selected]},
        title=f"What RMSNorm divides by for {short(label)}",
        y="divisor, RMS (log axis)",
    )


def _by_layer(
    series: dict[str, np.ndarray], *, title: str, y: str, range: tuple[float, float] | None = None
) -> go.Figure:
    figure = go.Figure()
    for (name, line), colour, symbol in zip(series.items(), CATEGORICAL, ("circle", "diamond"), strict=False):
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
