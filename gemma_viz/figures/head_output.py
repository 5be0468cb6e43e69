"""What heads move, drawn: weights beside what they move, and the heads' additions."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gemma_viz.figures.attention import key_axis
from gemma_viz.figures.style import CATEGORICAL, SELECTED, finish
from gemma_viz.numbers import signed
from gemma_viz.stages.attention import Query
from gemma_viz.stages.head_output import HeadOutputs


def weight_and_moved(values: Query, labels: Sequence[str]) -> go.Figure:
    """Bars: for the tokens read most, the weight beside the share of what is moved: weight × length of the value."""
    best = values.strongest
    moved = values.weights * values.value_norms
    shares = moved / moved.sum()
    series = (
        ("attention weight", values.weights[best], CATEGORICAL[0]),
        ("share of weight × length of the value", shares[best], CATEGORICAL[1]),
    )
    figure = go.Figure(
        [
            go.Bar(
                name=name,
                x=numbers,
                y=np.arange(len(best)),
                orientation="h",
                marker_color=colour,
                customdata=values.value_norms[best],
                hovertemplate="%{x:.3f}<br>length of the value %{customdata:.2f}<extra>" + name + "</extra>",
            )
            for name, numbers, colour in series
        ]
    )
    key_axis(figure, labels, best)
    figure.update_xaxes(range=[0, 1])
    first = best[0]
    return finish(
        figure,
        title="What it looks at, and what it moves",
        x="share of 1",
        y="key: the token looked at",
        alt=f"Paired bars for {len(best)} tokens. {labels[first]} has a weight of {values.weights[first]:.2f} and "
        f"{shares[first]:.0%} of what is moved.",
        legend=True,
        height=150 + 30 * len(best),
    )


def by_head(values: HeadOutputs, chosen: int) -> go.Figure:
    """Bars: length of what each head of the layer adds to the stream, the chosen one in another colour."""
    heads = np.arange(len(values.lengths))
    figure = go.Figure(
        go.Bar(
            x=heads,
            y=values.lengths,
            marker_color=[SELECTED if head == chosen else CATEGORICAL[0] for head in heads],
            text=[signed(float(cosine), 2) for cosine in values.cosines],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="head %{x}: length %{y:.2f}<br>cosine to the stream %{text}<extra></extra>",
        )
    )
    figure.update_xaxes(dtick=1)
    figure.update_yaxes(range=[0, float(values.lengths.max()) * 1.15 or 1.0])
    return finish(
        figure,
        title="Every head of the layer: how much it adds, and its cosine to the stream",
        x="head",
        y="length of what is added",
        alt=f"Bars of the lengths that {len(heads)} heads add to the stream; head {chosen} adds "
        f"{values.lengths[chosen]:.1f}.",
        height=340,
    )
