"""Wavelengths of RoPE drawn: tokens for one turn, and which of them the heads use."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gemma_viz.figures.style import CATEGORICAL, SELECTED, SEQUENTIAL, colour_scale, finish, frame, log_axis
from gemma_viz.stages.wavelengths import PairLengths, Wavelengths

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
    places = ((n_positions, "this prompt", "right"), (values.context_length, "context length", "left"))
    for tokens, name, side in places:  # on the side where no wavelength is near
        text = f"{name}: {tokens:,} tokens"
        figure.add_scatter(
            x=[0, n_pairs - 1],
            y=[tokens, tokens],
            mode="lines+text",
            text=[text, ""] if side == "left" else ["", text],
            textposition=["top right", "top left"],
            line={"dash": "dot", "width": 1.5, "color": CATEGORICAL[7]},
            showlegend=False,
            hoverinfo="skip",
        )
    figure.add_vline(x=pair, line={"width": 1.5, "color": SELECTED}, layer="below")
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


def pair_lengths(values: PairLengths, layer: int, head: int) -> go.Figure:
    """Heatmap: mean length of each pair of components in one layer, every query head's and every key head's."""
    z = np.vstack([values.q, values.k])
    names = [*(f"q {i}" for i in range(len(values.q))), *(f"k {i}" for i in range(len(values.k)))]
    figure = _lengths(z, customdata=np.tile(values.wavelengths, (len(z), 1)))
    figure.data[
        0
    ].hovertemplate = "pair %{x}, one turn in %{customdata:,.1f} tokens<br>mean length %{z:.3f}<extra></extra>"
    frame(figure, (0, z.shape[1] - 1), (head, head), width=2)
    figure.update_yaxes(tickmode="array", tickvals=list(range(len(names))), ticktext=names)
    longest = int(values.q[head].argmax())
    return finish(
        figure,
        title=f"How long each hand is, layer {layer}",
        x="pair of components (fast to slow)",
        y="query head, key head",
        alt=f"Heatmap of mean lengths of {z.shape[1]} pairs for {len(z)} heads. Query head {head} is longest in pair "
        f"{longest}, which turns once in {values.wavelengths[longest]:,.1f} tokens.",
        height=150 + 26 * len(z),
    )


def pair_lengths_of_all(values: Sequence[PairLengths], of: str) -> go.Figure:
    """Heatmap: the same for the queries (of: "q") or the keys ("k") of all layers, one row a head."""
    by_layer = [one.q if of == "q" else one.k for one in values]  # [head, pair] each
    z, n_heads = np.vstack(by_layer), len(by_layer[0])
    figure = _lengths(z, customdata=None)
    figure.data[0].hovertemplate = "pair %{x}, mean length %{z:.3f}<extra></extra>"
    for layer in range(1, len(values)):
        figure.add_hline(y=layer * n_heads - 0.5, line={"width": 0.5, "color": CATEGORICAL[7]})
    step = -(-len(values) // 20)
    layers = range(0, len(values), step)
    figure.update_yaxes(
        tickmode="array", tickvals=[(i + 0.5) * n_heads - 0.5 for i in layers], ticktext=[str(i) for i in layers]
    )
    what = "queries" if of == "q" else "keys"
    return finish(
        figure,
        title=f"How long each hand is, {what} of all layers",
        x="pair of components (fast to slow)",
        y=f"layer ({n_heads} {'rows' if n_heads > 1 else 'row'} each, a head a row)",
        alt=f"Heatmap of mean lengths of {z.shape[1]} pairs in the {what} of {len(z)} heads.",
        height=520,
    )


def _lengths(z: np.ndarray, customdata: np.ndarray | None) -> go.Figure:
    figure = go.Figure(
        go.Heatmap(
            z=z,
            zmin=0,
            zmax=float(np.quantile(z, 0.995)),  # one outsized pair would leave the others dark
            colorscale=colour_scale(SEQUENTIAL),
            colorbar={"title": {"text": "length"}, "thickness": 12},
            customdata=customdata,
        )
    )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(showgrid=False)
    return figure
