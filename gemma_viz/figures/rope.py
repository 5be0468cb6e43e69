"""RoPE drawn: wavelengths, one pair of components as clock hands, a whole query, scores by distance."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gemma_viz.figures.style import CATEGORICAL, SEQUENTIAL, colour_scale, finish, log_axis, short, token_hover
from gemma_viz.stages.rope import Rotation, ScoreByOffset, Vectors, Wavelengths

LAYERS_NAMED = 6


def wavelengths(values: Wavelengths, n_positions: int, pair: int) -> go.Figure:
    """Lines on a log axis: tokens for one turn, by pair of components; the prompt and the context length marked."""
    every = np.concatenate(list(values.wavelengths.values()))
    n_pairs = len(next(iter(values.wavelengths.values())))
    figure = go.Figure()
    for (theta, line), colour in zip(values.wavelengths.items(), CATEGORICAL, strict=False):
        layers = values.layers[theta]
        named = ", ".join(map(str, layers[:LAYERS_NAMED])) + (", …" if len(layers) > LAYERS_NAMED else "")
        figure.add_scatter(
            x=np.arange(len(line)),
            y=line,
            mode="lines",
            name=f"θ = {theta:,.0f} (layers {named})",
            line={"color": colour},
            hovertemplate="pair %{x}: one turn in %{y:,.1f} tokens<extra></extra>",
        )
    for tokens, name in ((n_positions, "this prompt"), (values.context_length, "context length")):
        figure.add_scatter(
            x=[0, n_pairs - 1],
            y=[tokens, tokens],
            mode="lines+text",
            text=[f"{name}: {tokens:,} tokens", ""],
            textposition="top right",
            line={"dash": "dot", "width": 1.5, "color": CATEGORICAL[7]},
            showlegend=False,
            hoverinfo="skip",
        )
    figure.add_vline(x=pair, line={"width": 1.5, "color": CATEGORICAL[4]})
    figure.update_yaxes(**log_axis(every))
    fastest, slowest = float(every.min()), float(every.max())
    return finish(
        figure,
        title="How many tokens one turn takes",
        x="pair of components",
        y="wavelength (tokens, log axis)",
        alt=f"Wavelengths rise from {fastest:.1f} to {slowest:,.0f} tokens over the pairs of components.",
        legend=True,
        height=400,
    )


def rotation(values: Rotation, labels: Sequence[str], selected: int) -> go.Figure:
    """Clock hands: one pair of components of every query, before and after; the selected token's drawn out."""
    hover = token_hover(labels)
    figure = go.Figure()
    series = (
        ("before RoPE", values.before, CATEGORICAL[7], "circle-open"),
        ("after RoPE", values.after, None, "circle"),
    )
    for name, points, colour, symbol in series:
        figure.add_scatter(
            x=points[:, 0],
            y=points[:, 1],
            mode="markers",
            name=name,
            marker={
                "symbol": symbol,
                "size": 9,
                "color": colour or np.arange(len(points)),
                "colorscale": colour_scale(SEQUENTIAL),
                "colorbar": None if colour else {"title": {"text": "position"}, "thickness": 12},
            },
            customdata=hover,
            hovertemplate="%{customdata}<br>(%{x:.3f}, %{y:.3f})<extra>" + name + "</extra>",
        )
    for points, colour, dash in ((values.before, CATEGORICAL[7], "dot"), (values.after, CATEGORICAL[4], "solid")):
        figure.add_scatter(
            x=[0, points[selected, 0]],
            y=[0, points[selected, 1]],
            mode="lines",
            line={"color": colour, "width": 3, "dash": dash},
            showlegend=False,
            hoverinfo="skip",
        )
    reach = float(np.abs(np.concatenate([values.before, values.after])).max()) * 1.1 or 1.0
    figure.update_xaxes(range=[-reach, reach], zeroline=True)
    figure.update_yaxes(range=[-reach, reach], zeroline=True, scaleanchor="x", scaleratio=1)
    degrees = float(values.degrees[selected])
    return finish(
        figure,
        title=f"{short(labels[selected])} at position {selected} is turned by {degrees:,.1f}°",
        x="first component of the pair",
        y="second component",
        alt=f"Scatter of one pair of components for {len(labels)} queries. The selected one is turned by "
        f"{degrees:.1f} degrees; its length stays the same.",
        legend=True,
        height=480,
    )


def query(values: Vectors, label: str) -> go.Figure:
    """Lines: all components of one query before and after."""
    figure = go.Figure()
    for name, line, colour in (("before RoPE", values.q, CATEGORICAL[7]), ("after RoPE", values.rot_q, CATEGORICAL[0])):
        figure.add_scatter(
            x=np.arange(len(line)),
            y=line,
            mode="lines",
            name=name,
            line={"color": colour, "width": 1.5},
            hovertemplate="component %{x}: %{y:.3f}",
        )
    changed = float(np.abs(values.rot_q - values.q).max())
    return finish(
        figure,
        title=f"The whole query of {short(label)}, before and after",
        x="component",
        y="value",
        alt=f"Two lines over {len(values.q)} components; the largest change is {changed:.3f}.",
        legend=True,
    )


def score_by_offset(values: ScoreByOffset, query_label: str, key_label: str) -> go.Figure:
    """Two lines that lie on each other: score by distance, and the same further on in the text."""
    figure = go.Figure()
    figure.add_scatter(
        x=values.offsets,
        y=values.scores,
        mode="lines",
        name="where they stand",
        line={"color": CATEGORICAL[0], "width": 5},
        opacity=0.5,
        hovertemplate="%{x} tokens apart: %{y:.4f}",
    )
    figure.add_scatter(
        x=values.offsets,
        y=values.scores_shifted,
        mode="lines",
        name=f"both {values.shift} tokens further on",
        line={"color": CATEGORICAL[4], "width": 2, "dash": "dot"},
        hovertemplate="%{x} tokens apart: %{y:.4f}",
    )
    gap = float(np.abs(values.scores - values.scores_shifted).max())
    return finish(
        figure,
        title=f"Score of {short(query_label)} looking at {short(key_label)}, by distance",
        x="distance (tokens from key to query)",
        y="score: q · k, scaled",
        alt=f"Two curves over the distance that differ by at most {gap:.1e}.",
        legend=True,
    )
