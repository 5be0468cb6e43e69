"""The mask drawn on the scores, its shape, and what changes without it."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gemma_viz.figures.style import (
    CATEGORICAL,
    DIVERGING,
    colour_scale,
    finish,
    symmetric,
    token_axis,
    token_hover,
)
from gemma_viz.stages import around
from gemma_viz.stages.mask import LATER, OUTSIDE, SEEN, AllScores, LaterToken, MaskShape

HIDDEN = "rgba(128, 128, 128, 0.82)"
KINDS = {
    LATER: ("later: hidden", "#9aa3ab"),
    SEEN: ("seen", CATEGORICAL[0]),
    OUTSIDE: ("too far back: hidden", "#d9a066"),
}
TOKENS_SHOWN = 64


def masked_scores(values: AllScores, labels: Sequence[str]) -> go.Figure:
    """Heatmap of the scores of all pairs, those that the mask hides under grey."""
    shown = values.shown
    names = labels[shown.start : shown.stop]
    hover = token_hover(names, shown.start)
    places = np.array(shown)
    few = len(names) <= TOKENS_SHOWN
    said = np.where(values.hidden, "hidden", "seen")
    figure = go.Figure(
        go.Heatmap(
            z=values.scores,
            x=places,
            y=places,
            colorscale=colour_scale(DIVERGING),
            **symmetric(values.scores),
            colorbar={"title": {"text": "score"}, "thickness": 12},
            customdata=[
                [f"{q} and {k}: {s}" for k, s in zip(hover, row, strict=True)]
                for q, row in zip(hover, said, strict=True)
            ]
            if few
            else None,
            hovertemplate=("%{customdata}" if few else "token %{y} and token %{x}")
            + "<br>score %{z:.2f}<extra></extra>",
        )
    )
    figure.add_heatmap(
        z=np.where(values.hidden, 1.0, np.nan),
        x=places,
        y=places,
        colorscale=[[0, HIDDEN], [1, HIDDEN]],
        showscale=False,
        hoverinfo="skip",
    )
    figure.update_xaxes(showgrid=False, **token_axis(names, shown.start))
    figure.update_yaxes(showgrid=False, autorange="reversed", **token_axis(names, shown.start))
    cut = f", tokens {shown.start} to {shown.stop - 1}" if len(names) < len(labels) else ""
    return finish(
        figure,
        title=f"Scores of all pairs, under grey what the mask hides{cut}",
        x="key",
        y="query",
        alt=f"Heatmap of {len(names)} by {len(names)} scores; {values.hidden.sum():,} of them are hidden by the mask.",
        height=500,
    )


def shape(values: MaskShape) -> go.Figure:
    """Who sees whom, in three colours."""
    places = np.arange(len(values.cells)) * values.cell
    kinds = [kind for kind in KINDS if (values.cells == kind).any()]
    colours = [KINDS[kind][1] for kind in sorted(KINDS)]
    scale = [[edge / 3, colour] for i, colour in enumerate(colours) for edge in (i, i + 1)]
    figure = go.Figure(
        go.Heatmap(
            z=values.cells, x=places, y=places, zmin=-0.5, zmax=2.5, colorscale=scale, showscale=False, hoverinfo="skip"
        )
    )
    for kind in kinds:  # a heatmap has no legend of its own
        name, colour = KINDS[kind]
        figure.add_scatter(x=[None], y=[None], mode="markers", name=name, marker={"color": colour, "symbol": "square"})
    figure.update_xaxes(showgrid=False)
    figure.update_yaxes(showgrid=False, autorange="reversed")
    reach = f"a window of {values.window:,} tokens" if values.window else "all tokens before"
    return finish(
        figure,
        title=f"Layers that see {reach}",
        x="key (position)",
        y="query (position)",
        alt=f"Picture of a mask over {values.n_positions:,} tokens: {reach}, never a later one.",
        legend=True,
        height=380,
    )


def later_token(values: LaterToken, labels: Sequence[str]) -> go.Figure:
    """Bars: how much each token's last stream changes when one token is replaced, with the mask and without."""
    shown = around(values.position, len(labels), TOKENS_SHOWN)
    part = slice(shown.start, shown.stop)
    series = (("with the mask", values.with_mask, CATEGORICAL[0]), ("without", values.without_mask, CATEGORICAL[1]))
    figure = go.Figure(
        [
            go.Bar(
                name=name,
                x=np.array(shown),
                y=line[part],
                marker_color=colour,
                customdata=token_hover(labels[part], shown.start),
                hovertemplate="%{customdata}: %{y:.3g}<extra>" + name + "</extra>",
            )
            for name, line, colour in series
        ]
    )
    figure.update_xaxes(**token_axis(labels[part], shown.start))
    figure.update_yaxes(rangemode="tozero")
    return finish(
        figure,
        title=f"How much every token's last stream changes when token {values.position} is replaced",
        x="token",
        y="change ÷ length of the stream",
        alt=f"Paired bars by token; before token {values.position} the largest change is "
        f"{values.with_mask[: values.position].max(initial=0):.2g} with the mask and "
        f"{values.without_mask[: values.position].max(initial=0):.2g} without.",
        legend=True,
    )
