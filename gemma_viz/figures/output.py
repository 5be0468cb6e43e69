"""Output drawn: next tokens after one position and after every position, the final norm, two runs side by side."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gemma_viz.figures.style import (
    CATEGORICAL,
    SEQUENTIAL,
    colour_scale,
    finish,
    log_axis,
    plain,
    token_axis,
    token_hover,
)
from gemma_viz.stages import around
from gemma_viz.stages.output import Comparison, FinalNorm, Predictions

TOKENS_IN_TABLE = 8
TOKENS_IN_BARS = 64
ROOM = 1.18  # of the longest bar, so that its figure fits beside it


def next_tokens(labels: Sequence[str], probabilities: Sequence[float], logits: Sequence[float]) -> go.Figure:
    """Bars: the likeliest next tokens after one position."""
    ranks = list(range(len(labels)))
    figure = go.Figure(
        go.Bar(
            x=np.array(probabilities),
            y=ranks,
            orientation="h",
            marker_color=CATEGORICAL[0],
            text=[f"{probability:.1%}" for probability in probabilities],
            textposition="auto",
            cliponaxis=False,
            customdata=np.array(logits),
            hovertemplate="probability %{x:.4f}<br>logit %{customdata:.3f}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", tickmode="array", tickvals=ranks, ticktext=[plain(x) for x in labels])
    figure.update_xaxes(tickformat=".0%", range=[0, max(probabilities) * ROOM], nticks=5)
    said = ", ".join(f"{label} {p:.1%}" for label, p in zip(labels[:5], probabilities[:5], strict=True))
    return finish(
        figure,
        title=f"The {len(ranks)} likeliest next tokens",
        x="probability",
        y="",
        alt=f"Bar chart of the likeliest next tokens: {said}.",
        height=110 + 28 * len(ranks),
    )


def along_prompt(
    values: Predictions, next_labels: Sequence[Sequence[str]], labels: Sequence[str], selected: int
) -> go.Figure:
    """Table in colours: after each token of the prompt (across) the likeliest next tokens (down)."""
    shown = around(selected, len(labels), TOKENS_IN_TABLE)
    part = slice(shown.start, shown.stop)
    names = labels[part]
    figure = go.Figure(
        go.Heatmap(
            z=values.probabilities[part].T,
            x=np.array(shown),
            y=np.arange(1, values.ids.shape[1] + 1),
            zmin=0,
            zmax=1,
            colorscale=colour_scale(SEQUENTIAL),
            colorbar={"title": {"text": "probability"}, "thickness": 12},
            text=np.array([[plain(x) for x in row] for row in next_labels[part]], object).T,
            texttemplate="%{text}",
            customdata=values.logits[part].T,
            hovertemplate="rank %{y}: %{text}<br>probability %{z:.4f}<br>logit %{customdata:.2f}<extra></extra>",
        )
    )
    figure.add_shape(
        type="rect",
        x0=selected - 0.5,
        x1=selected + 0.5,
        y0=0.5,
        y1=values.ids.shape[1] + 0.5,
        line={"color": CATEGORICAL[4], "width": 3},
    )
    figure.update_xaxes(side="top", showgrid=False, **token_axis(names, shown.start))
    figure.update_yaxes(autorange="reversed", dtick=1, showgrid=False)
    cut = f", tokens {shown.start} to {shown.stop - 1}" if len(names) < len(labels) else ""
    return finish(
        figure,
        title=f"What is likeliest to come next, after every token{cut}",
        x="after this token of the prompt",
        y="rank",
        alt="Table of the likeliest next tokens after each token: "
        + "; ".join(f"after {label} {next_labels[i][0]}" for i, label in zip(shown, names, strict=True))
        + ".",
        height=160 + 32 * values.ids.shape[1],
    )


def norms(values: FinalNorm, labels: Sequence[str], selected: int) -> go.Figure:
    """Bars on a log axis: RMS of the stream before and after the final norm."""
    shown = around(selected, len(labels), TOKENS_IN_BARS)
    names = labels[shown.start : shown.stop]
    series = (("before", values.before, CATEGORICAL[7]), ("after", values.after, CATEGORICAL[0]))
    figure = go.Figure(
        [
            go.Bar(
                name=f"{name} the final norm",
                x=np.array(shown),
                y=scale[shown.start : shown.stop],
                marker_color=colour,
                customdata=token_hover(names, shown.start),
                hovertemplate="%{customdata}<br>RMS %{y:.2f}<extra>" + name + "</extra>",
            )
            for name, scale, colour in series
        ]
    )
    figure.update_xaxes(**token_axis(names, shown.start))
    figure.update_yaxes(**log_axis(*(scale for _, scale, _ in series)))
    return finish(
        figure,
        title="Scale of the stream before and after the final norm",
        x="token",
        y="RMS (log axis)",
        alt=f"Bars by token: RMS from {values.before.min():.1f} to {values.before.max():.1f} before, from "
        f"{values.after.min():.2f} to {values.after.max():.2f} after.",
        legend=True,
    )


def side_by_side(
    values: Comparison, labels: Sequence[str], edited: str, title: str = "The next token, with and without"
) -> go.Figure:
    """Bars: probabilities of the next token in the untouched run and in the edited one. edited: its name."""
    ranks = list(range(len(labels)))
    series = [("the model as it is", values.baseline, CATEGORICAL[0])]
    if values.is_finite:
        series.append((edited, values.edited, CATEGORICAL[1]))
    figure = go.Figure(
        [
            go.Bar(
                name=name,
                x=probabilities,
                y=ranks,
                orientation="h",
                marker_color=colour,
                text=[f"{probability:.1%}" for probability in probabilities],
                textposition="outside",
                cliponaxis=False,
                hovertemplate="probability %{x:.4f}<extra>" + name + "</extra>",
            )
            for name, probabilities, colour in series
        ]
    )
    highest = max(float(probabilities.max()) for _, probabilities, _ in series)
    figure.update_yaxes(autorange="reversed", tickmode="array", tickvals=ranks, ticktext=[plain(x) for x in labels])
    figure.update_xaxes(tickformat=".0%", range=[0, highest * ROOM], nticks=5)
    return finish(
        figure,
        title=title,
        x="probability",
        y="",
        alt=f"Bars of the probabilities of {len(ranks)} tokens in the model as it is and {edited}.",
        height=130 + 44 * len(ranks),
        legend=True,
    )
