"""Experiments drawn: changes by their damage, their loss on a text, and one change token by token."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gemma_viz.figures.style import CATEGORICAL, finish, log_axis, plain
from gemma_viz.stages import Floats
from gemma_viz.stages.experiments import Mean, Outcome, Switch

LEAST_DRAWN = 1e-6  # nats of KL divergence; less is rounding
LONGEST_NAME = 52  # characters
ROW = 38  # pixels, of a bar and the name above it
BAR, ABOVE = 0.4, 0.4  # of a row: a bar's thickness, and how far above its middle the name stands
ROOM = 2  # decades to the right of the longest bar, so that its figure fits beside it
BROKEN = "no numbers"


def damage(changes: Sequence[Switch], names: Sequence[str], outcomes: Sequence[Outcome], title: str) -> go.Figure:
    """Bars on a log axis: the KL divergence that each change makes, in the order given; a broken run's bar is open."""
    values = np.array([max(outcome.kl_divergence, LEAST_DRAWN) for outcome in outcomes])
    finite = values[np.isfinite(values)]
    end = 10 * max(finite.max(initial=LEAST_DRAWN), 1)
    stages = list(dict.fromkeys(change.stage for change in changes))
    colours = {stage: CATEGORICAL[i % len(CATEGORICAL)] for i, stage in enumerate(stages)}
    figure = go.Figure()
    for stage in stages:
        rows = [i for i, change in enumerate(changes) if change.stage == stage]
        figure.add_bar(
            name=stage,
            x=[values[i] if outcomes[i].is_finite else end for i in rows],
            y=rows,
            orientation="h",
            width=BAR,
            marker={"color": colours[stage], "opacity": [1 if outcomes[i].is_finite else 0.35 for i in rows]},
            text=[_size(outcomes[i].kl_divergence) if outcomes[i].is_finite else BROKEN for i in rows],
            textposition="outside",
            cliponaxis=False,
            hovertext=[f"{plain(names[i], 200)}<br>{_said(outcomes[i])}" for i in rows],
            hoverinfo="text",
        )
    left = LEAST_DRAWN / 2
    _name_rows(figure, names)
    figure.update_xaxes(type="log", dtick=2, tickformat=".0e", range=[np.log10(left), np.log10(end) + ROOM])
    return finish(
        figure,
        title=title,
        x="KL divergence (nats, log axis)",
        y="",
        alt="Bars by change: "
        + "; ".join(f"{name} {_said(outcome)}" for name, outcome in zip(names, outcomes, strict=True))
        + ".",
        height=190 + ROW * len(names),
        legend=len(stages) > 1,
    )


def losses(names: Sequence[str], means: Sequence[Mean], baseline: Mean) -> go.Figure:
    """Points with standard errors: the loss on the shipped text with each change, beside the untouched model's."""
    rows = [i for i, mean in enumerate(means) if np.isfinite(mean.mean)]
    figure = go.Figure(
        go.Scatter(
            x=[means[i].mean for i in rows],
            y=rows,
            mode="markers",
            marker={"color": CATEGORICAL[1], "size": 9},
            error_x={"array": [means[i].standard_error for i in rows], "thickness": 2},
            hovertext=[
                f"{plain(names[i], 200)}<br>{means[i].mean:.3f} ± {means[i].standard_error:.3f} nats" for i in rows
            ],
            hoverinfo="text",
        )
    )
    figure.add_vline(baseline.mean, line={"dash": "dot", "color": CATEGORICAL[0], "width": 2}, layer="below")
    broken = [i for i in range(len(names)) if i not in rows]
    if broken:
        figure.add_scatter(
            x=[baseline.mean] * len(broken),
            y=broken,
            mode="text",
            text=[BROKEN] * len(broken),
            textposition="middle right",
            hoverinfo="skip",
        )
    drawn = np.array([baseline.mean, *(means[i].mean for i in rows)])
    left, right = drawn.min() * 0.8, drawn.max() * 1.3
    _name_rows(figure, names)
    figure.update_xaxes(**log_axis(drawn), range=[np.log10(left), np.log10(right)])
    said = (f"{names[i]} {means[i].mean:.2f}" if i in rows else f"{names[i]} {BROKEN}" for i in range(len(names)))
    return finish(
        figure,
        title="Loss on the shipped text, with its standard error (dotted: the model as it is)",
        x="loss (nats per token, log axis)",
        y="",
        alt=f"Points by change; the model as it is {baseline.mean:.2f}; {'; '.join(said)} nats.",
        height=130 + ROW * len(names),
    )


def token_losses(before: Floats, after: Floats) -> go.Figure:
    """Points: the loss of every token of a text in the untouched run (across) and in the changed one (up)."""
    largest = float(max(before.max(), after[np.isfinite(after)].max(initial=0)))
    figure = go.Figure(
        [
            go.Scatter(
                x=[0, largest],
                y=[0, largest],
                mode="lines",
                line={"dash": "dot", "color": CATEGORICAL[7]},
                hoverinfo="skip",
            ),
            go.Scattergl(
                x=before,
                y=after,
                mode="markers",
                marker={"color": CATEGORICAL[0], "size": 4, "opacity": 0.5},
                hovertemplate="%{x:.2f} nats became %{y:.2f}<extra></extra>",
            ),
        ]
    )
    worse = float((after > before).mean())
    return finish(
        figure,
        title="Every token of the shipped text (dotted: as well foreseen as before)",
        x="loss in the model as it is (nats)",
        y="loss in the changed model (nats)",
        alt=f"Scatter of {len(before):,} tokens; {worse:.0%} are foreseen worse than before.",
        height=420,
    )


def _name_rows(figure: go.Figure, names: Sequence[str]) -> None:
    """Each row's name above it, so that a narrow screen has room for both."""
    ticks = [plain(name, LONGEST_NAME) for name in names]
    for row, name in enumerate(ticks):
        figure.add_annotation(
            x=0, xref="x domain", xanchor="left", y=row - ABOVE, yanchor="middle", text=name, showarrow=False
        )
    figure.update_layout(barmode="overlay")
    figure.update_yaxes(
        range=[len(names) - 0.5, -0.8],
        tickmode="array",
        tickvals=list(range(len(names))),
        ticktext=ticks,  # for the tables that are made of a figure
        showticklabels=False,
        showgrid=False,
        zeroline=False,
    )


def _said(outcome: Outcome) -> str:
    return f"{_size(outcome.kl_divergence)} nats" if outcome.is_finite else BROKEN


def _size(kl_divergence: float) -> str:
    return f"{kl_divergence:.2g}" if kl_divergence >= LEAST_DRAWN else "0"
