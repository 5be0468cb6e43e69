"""Patching drawn: the map of what is recovered, its lines by layer, and the predictions of three runs."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gemma_viz.figures.output import probability_bars
from gemma_viz.figures.style import CATEGORICAL, DIVERGING, colour_scale, finish, frame, plain, token_axis
from gemma_viz.stages.patching import Direction, PatchMap, ThreeRuns

LINES_SHOWN = 8


# The colours of a run that has moved all the way away from the other one, and all the way to it. One that has not moved
# has the colour of the page, so that they are darker than a light page and lighter than a dark one.
ENDS = {"light": (DIVERGING[0], DIVERGING[-1]), "dark": (DIVERGING[2], DIVERGING[-3])}


def legend(direction: Direction) -> tuple[str, str, str]:
    """What the left end, the middle and the right end of the colours stand for."""
    if direction == "denoise":
        return "−1 or less", "0, like corrupted", "1 or more, like clean"
    return "2 or more", "1, like clean", "0 or less, like corrupted"


def recovered(
    values: PatchMap, what: str, labels: Sequence[str], others: Sequence[str], chosen: tuple[int, int]
) -> go.Figure:
    """Heatmap: the logit difference recovered, by layer (down) and token (across).

    what: what is taken over, in words; labels, others: the tokens of the clean and of the corrupted run
    chosen: layer and position of the cell that is marked
    """
    pairs = list(zip(labels, others, strict=True))
    names = [a if a == b else f"{a} / {b}" for a, b in pairs]
    drawn = [plain(a) if a == b else f"{plain(a)}<br>{plain(b)}" for a, b in pairs]
    axis = token_axis(labels)
    n_layers, n = values.recovered.shape
    figure = go.Figure(
        go.Heatmap(
            z=values.recovered,
            x=np.arange(n),
            y=np.arange(n_layers),
            zmin=-1 if values.direction == "denoise" else 0,
            zmax=1 if values.direction == "denoise" else 2,
            colorscale=colour_scale(DIVERGING if values.direction == "denoise" else DIVERGING[::-1]),
            colorbar={"title": {"text": "recovered"}, "thickness": 12},
            text=np.array([[f"{i} {name}" for i, name in enumerate(drawn)]] * n_layers, object),
            customdata=values.differences,
            hovertemplate="layer %{y}, %{text}<br>recovered %{z:.3f}<br>logit difference %{customdata:.3f}"
            "<extra></extra>",
        )
    )
    layer, position = chosen
    frame(figure, (position, position), (layer, layer), colour=CATEGORICAL[2])
    figure.update_xaxes(side="top", showgrid=False, **axis | {"ticktext": [drawn[i] for i in axis["tickvals"]]})
    figure.update_yaxes(autorange="reversed", showgrid=False)
    best_layer, best = values.furthest
    return finish(
        figure,
        title=f"Logit difference with {what} taken over, 0 like the corrupted run, 1 like the clean one",
        x="token (clean / corrupted)",
        y="layer",
        alt=f"Heatmap of {n_layers} layers and {n} tokens. It moves most in layer {best_layer} at {names[best]}, to "
        f"{values.recovered[best_layer, best]:.2f}.",
        height=190 + 22 * n_layers,
    )


def by_layer(values: PatchMap, labels: Sequence[str], shown: Sequence[int], selected: int) -> go.Figure:
    """Lines by layer: what is recovered at some positions. labels: of all places, by which the lines are named."""
    places = list(dict.fromkeys([selected, *shown]))[:LINES_SHOWN]
    figure = go.Figure(
        [
            go.Scatter(
                x=np.arange(len(values.recovered)),
                y=values.recovered[:, place],
                mode="lines+markers",
                line={"color": CATEGORICAL[i % len(CATEGORICAL)], "width": 3 if place == selected else 2},
                marker={"size": 6},
                name=f"{place} {plain(labels[place])}",
                hovertemplate="layer %{x}: %{y:.3f}",
            )
            for i, place in enumerate(sorted(places))
        ]
    )
    for value in (0, 1):
        figure.add_hline(y=value, line={"color": CATEGORICAL[7], "width": 1, "dash": "dot"})
    figure.update_layout(hovermode="x unified")
    said = ", ".join(f"{labels[i]} from {values.recovered[0, i]:.2f} to {values.recovered[-1, i]:.2f}" for i in places)
    return finish(
        figure,
        title="Recovered by layer, at the tokens that differ, the last one and the selected one",
        x="layer",
        y="recovered (0 corrupted, 1 clean)",
        alt=f"Line chart over {len(values.recovered)} layers: {said}.",
        legend=True,
    )


def three_runs(values: ThreeRuns, labels: Sequence[str]) -> go.Figure:
    """Bars: probabilities of the next token in the clean, the corrupted and the patched run."""
    series = (
        ("clean", values.clean, CATEGORICAL[1]),
        ("corrupted", values.corrupted, CATEGORICAL[7]),
        ("patched", values.patched, CATEGORICAL[0]),
    )
    figure = probability_bars(series, labels)
    shares = zip(labels, *(bar.text for bar in figure.data), strict=True)
    said = "; ".join(f"{label} {', '.join(texts)}" for label, *texts in shares)
    return finish(
        figure,
        title="The next token in the clean, the corrupted and the patched run",
        x="probability",
        y="",
        alt=f"Bars of probabilities in the clean, the corrupted and the patched run: {said}.",
        height=130 + 54 * len(labels),
        legend=True,
    )
