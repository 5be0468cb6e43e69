"""Output drawn: next tokens, how surprising the real ones are, the final norm, the soft-cap, two runs side by side."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gemma_viz.figures.style import (
    CATEGORICAL,
    SELECTED,
    SEQUENTIAL,
    colour_scale,
    finish,
    frame,
    log_axis,
    plain,
    token_axis,
    token_hover,
)
from gemma_viz.numbers import percent
from gemma_viz.stages import around
from gemma_viz.stages.output import Comparison, FinalNorm, Predictions, SoftCap
from gemma_viz.tokens import visible

TOKENS_IN_TABLE = 6  # with their predictions, of so many characters, that a narrow screen still shows legibly
LONGEST_IN_TABLE = 8
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
            text=[percent(float(probability)) for probability in probabilities],
            textposition="auto",
            cliponaxis=False,
            customdata=np.array(logits),
            hovertemplate="probability %{text}<br>logit %{customdata:.3f}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", tickmode="array", tickvals=ranks, ticktext=[plain(x) for x in labels])
    figure.update_xaxes(tickformat=".0%", range=[0, max(probabilities) * ROOM], nticks=5)
    said = ", ".join(f"{label} {percent(float(p))}" for label, p in zip(labels[:5], probabilities[:5], strict=True))
    return finish(
        figure,
        title=f"The {len(ranks)} likeliest next tokens",
        x="probability",
        y="next token",
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
            # Below the cells, whose texts need the room on a narrow screen.
            colorbar={
                "title": {"text": "probability", "side": "top"},
                "thickness": 12,
                "orientation": "h",
                "y": 0,
                "yanchor": "top",
            },
            text=np.array([[plain(x, LONGEST_IN_TABLE) for x in row] for row in next_labels[part]], object).T,
            texttemplate="%{text}",
            customdata=values.logits[part].T,
            hovertemplate="rank %{y}: %{text}<br>probability %{z:.3~p}<br>logit %{customdata:.2f}<extra></extra>",
        )
    )
    frame(figure, (selected, selected), (1, values.ids.shape[1]))
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
        height=240 + 32 * values.ids.shape[1],
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


def surprise(values: Predictions, labels: Sequence[str], selected: int) -> go.Figure:
    """Bars: how surprising each token was to the model when it came, around the selected one."""
    nats = np.concatenate([[np.nan], values.surprise])  # nothing comes before the first token
    shown = around(selected, len(labels), TOKENS_IN_BARS)
    part, names = nats[shown.start : shown.stop], labels[shown.start : shown.stop]
    figure = go.Figure(
        go.Bar(
            x=np.array(shown),
            y=part,
            marker_color=[SELECTED if position == selected else CATEGORICAL[0] for position in shown],
            customdata=_surprise_hover(values, labels)[shown.start : shown.stop],
            hovertemplate="%{customdata}<extra></extra>",
        )
    )
    if len(values.surprise):
        figure.add_hline(values.loss, line={"dash": "dot", "color": CATEGORICAL[7]})
    figure.update_xaxes(range=[shown.start - 0.5, shown.stop - 0.5], **token_axis(names, shown.start))
    figure.update_yaxes(rangemode="tozero")
    cut = f", tokens {shown.start} to {shown.stop - 1}" if len(names) < len(labels) else ""
    return finish(
        figure,
        title=f"How surprising each token was (dotted: the mean){cut}",
        x="token that came",
        y="surprise −ln p (nats)",
        alt="Bars by token: "
        + ", ".join(f"{label} {value:.1f}" for label, value in zip(names, part, strict=True) if np.isfinite(value))
        + " nats.",
    )


def surprise_over_text(values: Predictions, labels: Sequence[str], selected: int) -> go.Figure:
    """Line: surprise at every token of a long prompt, and its mean so far."""
    positions = np.arange(1, len(labels))
    so_far = np.cumsum(values.surprise, dtype=np.float64) / positions
    figure = go.Figure(
        [
            go.Scatter(
                name="each token",
                x=positions,
                y=values.surprise,
                mode="lines",
                line={"width": 1, "color": CATEGORICAL[0]},
                customdata=_surprise_hover(values, labels)[1:],
                hovertemplate="%{customdata}<extra></extra>",
            ),
            go.Scatter(
                name="mean so far",
                x=positions,
                y=so_far.astype(np.float32),
                mode="lines",
                line={"width": 3, "color": CATEGORICAL[1]},
                hovertemplate="mean of tokens 1 to %{x}: %{y:.2f} nats<extra></extra>",
            ),
        ]
    )
    figure.add_vline(selected, line={"dash": "dot", "color": SELECTED})
    figure.update_yaxes(rangemode="tozero")
    return finish(
        figure,
        title="Surprise over the whole text",
        x="position (tokens)",
        y="surprise −ln p (nats)",
        alt=f"Line over {len(labels)} tokens; the mean of all is {values.loss:.2f} nats.",
        legend=True,
    )


def soft_cap(values: SoftCap) -> go.Figure:
    """The curve of the final soft-cap, with some of the logits of one position on it."""
    reach = max(2 * values.cap, float(np.abs(values.before).max()))
    x = np.linspace(-reach, reach, 200)
    figure = go.Figure(
        [
            go.Scatter(
                name="c · tanh(x / c)",
                x=x,
                y=values.cap * np.tanh(x / values.cap),
                mode="lines",
                line={"color": CATEGORICAL[7]},
                hoverinfo="skip",
            ),
            go.Scatter(
                name="uncapped",
                x=values.cap * np.array([-1.2, 1.2]),
                y=values.cap * np.array([-1.2, 1.2]),
                mode="lines",
                line={"color": CATEGORICAL[7], "dash": "dot", "width": 1},
                hoverinfo="skip",
            ),
            go.Scatter(
                name="logits",
                x=values.before,
                y=values.after,
                mode="markers",
                marker={"color": CATEGORICAL[0], "size": 7},
                customdata=[plain(visible(text)) for text in values.texts],
                hovertemplate="%{customdata}<br>%{x:.3f} becomes %{y:.3f}<extra></extra>",
            ),
        ]
    )
    return finish(
        figure,
        title=f"The soft-cap at ±{values.cap:g}, with logits of this position",
        x="logit before the cap",
        y="logit after it",
        alt=f"Curve that flattens towards {values.cap:g}; the largest logit goes from {values.before[0]:.2f} to "
        f"{values.after[0]:.2f}.",
        legend=True,
    )


def _surprise_hover(values: Predictions, labels: Sequence[str]) -> list[str]:
    """What the hover says of each token, the first one included."""
    said = [
        f"{name}<br>{nats:.2f} nats, {nats / np.log(2):.2f} bits<br>"
        f"probability {percent(float(probability))}, rank {rank:,}"
        for name, nats, probability, rank in zip(
            token_hover(labels)[1:], values.surprise, values.actual_probability, values.actual_rank, strict=True
        )
    ]
    return ["", *said]


def probability_bars(
    series: Sequence[tuple[str, np.ndarray, str]], labels: Sequence[str], missing: str = "no number"
) -> go.Figure:
    """Bars of some tokens' probabilities in several runs, not yet titled.

    series: name, probabilities and colour of each run; missing: what a probability that is NaN means
    """
    ranks = list(range(len(labels)))
    figure = go.Figure(
        [
            go.Bar(
                name=name,
                x=np.nan_to_num(probabilities),  # a bar without a length would not show its text
                y=ranks,
                orientation="h",
                marker_color=colour,
                text=[missing if np.isnan(share) else percent(float(share)) for share in probabilities],
                textposition="outside",
                cliponaxis=False,
                hovertemplate="probability %{text}<extra>" + name + "</extra>",
            )
            for name, probabilities, colour in series
        ]
    )
    highest = max((float(p) for _, probabilities, _ in series for p in probabilities if np.isfinite(p)), default=1.0)
    figure.update_yaxes(autorange="reversed", tickmode="array", tickvals=ranks, ticktext=[plain(x) for x in labels])
    figure.update_xaxes(tickformat=".0%", range=[0, highest * ROOM], nticks=5)
    return figure


def side_by_side(
    values: Comparison, labels: Sequence[str], edited: str, title: str = "The next token, with and without"
) -> go.Figure:
    """Bars: probabilities of the next token in the untouched run and in the edited one. edited: its name."""
    series = [("the model as it is", values.baseline, CATEGORICAL[0])]
    if values.is_finite:
        series.append((edited, values.edited, CATEGORICAL[1]))
    figure = probability_bars(series, labels)
    return finish(
        figure,
        title=title,
        x="probability",
        y="next token",
        alt=f"Bars of the probabilities of {len(labels)} tokens in the model as it is and {edited}.",
        height=130 + 44 * len(labels),
        legend=True,
    )
