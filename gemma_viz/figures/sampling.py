"""Sampling drawn: the likeliest tokens after each step, and the line on which a random number picks one."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gemma_viz.figures.style import CATEGORICAL, SELECTED, SEQUENTIAL, colour_scale, finish, plain
from gemma_viz.numbers import percent
from gemma_viz.stages.sampling import DRAWS, Choice

GREY = "#6f7680"  # of what is cut; white text on it can be read


def steps(values: Choice, labels: Sequence[str], settings: Sequence[str]) -> go.Figure:
    """Table in colours: the probability of the likeliest tokens (down) after each step (across).

    settings: what each step is set to, in words
    """
    others = np.where(values.candidates > (~values.cut).sum(1), values.others, np.nan)
    shares = np.vstack([np.where(values.cut, np.nan, values.probabilities).T, others])  # [token + 1, step]
    gone = np.where(np.isnan(shares), 1.0, np.nan)
    x, y = np.arange(len(values.steps)), np.arange(len(labels) + 1)
    figure = go.Figure(
        [
            go.Heatmap(
                z=shares,
                x=x,
                y=y,
                zmin=0,
                zmax=max(0.01, float(np.nanmax(shares[:-1]))),
                colorscale=colour_scale(SEQUENTIAL),
                showscale=False,  # the numbers are in the cells, which need the room on a narrow screen
                text=[[_percent(share) for share in row] for row in shares],
                texttemplate="%{text}",
                xgap=2,
                ygap=1,
                hovertemplate="probability %{text}<extra></extra>",
            ),
            go.Heatmap(
                z=gone,
                x=x,
                y=y,
                colorscale=[[0, GREY], [1, GREY]],
                showscale=False,
                textfont={"color": "white"},
                text=np.where(np.isnan(shares), "cut", ""),
                texttemplate="%{text}",
                xgap=2,
                ygap=1,
                hovertemplate="can no longer be drawn<extra></extra>",
            ),
        ]
    )
    heads = [f"{setting}<br>{n:,} left" for setting, n in zip(settings, values.candidates, strict=True)]
    figure.update_xaxes(side="top", showgrid=False, tickmode="array", tickvals=x, ticktext=heads)
    rows = [*map(plain, labels), "all others"]
    rows[values.chosen] = f"▶ {rows[values.chosen]}"
    figure.update_yaxes(autorange="reversed", showgrid=False, tickmode="array", tickvals=y, ticktext=rows)
    left = ", ".join(f"{step} {n:,}" for step, n in zip(values.steps, values.candidates, strict=True))
    return finish(
        figure,
        title="Probabilities after each step (▶: the token that is drawn)",
        x="step, from left to right",
        y="token",
        alt=f"Table of the probabilities of {len(labels)} tokens after each step. Tokens left: {left}.",
        height=160 + 24 * len(rows),
    )


def line(values: Choice, labels: Sequence[str]) -> go.Figure:
    """The tokens side by side from 0 to 1, each as wide as its probability, and the random number."""
    begin, end = values.lots[:, 0], values.lots[:, 1]
    there = np.flatnonzero(~np.isnan(begin))
    order = there[np.argsort(begin[there])]
    figure = go.Figure(
        go.Bar(
            x=(end - begin)[order],
            base=begin[order],
            y=np.zeros(len(order)),
            width=1,
            orientation="h",
            marker={
                "color": [SELECTED if i == values.chosen else CATEGORICAL[n % 2 * 7] for n, i in enumerate(order)],
                "line": {"width": 0.5, "color": "white"},
            },
            text=[plain(labels[i]) for i in order],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            customdata=np.stack([begin[order], end[order]], 1),
            hovertemplate="%{text}: from %{customdata[0]:.4f} to %{customdata[1]:.4f}<extra></extra>",
        )
    )
    figure.update_layout(uniformtext={"minsize": 10, "mode": "hide"})
    figure.add_vline(values.number, line={"color": CATEGORICAL[1], "width": 3})
    figure.update_yaxes(range=[-0.6, 0.6], showticklabels=False, showgrid=False, zeroline=False)
    figure.update_xaxes(range=[0, 1], nticks=6)
    return finish(
        figure,
        title=f"The number {values.number:.4f} falls on {labels[values.chosen]}",
        x="cumulative probability, the likeliest token first",
        y="",
        alt=f"A line from 0 to 1, divided among the tokens by probability. The random number {values.number:.4f} falls "
        f"on {labels[values.chosen]}.",
        height=190,
    )


def drawn(values: Choice, labels: Sequence[str]) -> go.Figure:
    """Bars: the probability of each candidate, and its share of many draws."""
    candidates = np.flatnonzero(~values.cut[-1])
    order = candidates[np.argsort(-values.probabilities[-1][candidates], kind="stable")]
    rows = list(range(len(order)))
    series = (
        ("probability", values.probabilities[-1][order], CATEGORICAL[0]),
        (f"share of {DRAWS:,} draws", values.drawn[order] / DRAWS, CATEGORICAL[1]),
    )
    figure = go.Figure(
        [
            go.Bar(
                name=name,
                x=shares,
                y=rows,
                orientation="h",
                marker_color=colour,
                customdata=[percent(float(share)) for share in shares],
                hovertemplate="%{customdata}<extra>" + name + "</extra>",
            )
            for name, shares, colour in series
        ]
    )
    figure.update_yaxes(
        autorange="reversed", tickmode="array", tickvals=rows, ticktext=[plain(labels[i]) for i in order]
    )
    figure.update_xaxes(tickformat=".0%", rangemode="tozero", nticks=6)
    return finish(
        figure,
        title="How often each would be drawn",
        x="probability after all steps, and share of draws",
        y="token",
        alt="Bars by token: " + ", ".join(f"{labels[i]} {values.drawn[i]:,} times" for i in order[:5]) + ".",
        height=130 + 26 * len(rows),
        legend=True,
    )


def _percent(share: float) -> str:
    """As everywhere, but as short as a cell is narrow."""
    return "" if np.isnan(share) else percent(share).replace("less than ", "&lt;")
