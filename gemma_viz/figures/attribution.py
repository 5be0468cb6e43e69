"""Attribution drawn: the largest parts of a logit, and all of them by layer and head."""

import numpy as np
import plotly.graph_objects as go

from gemma_viz.figures.style import CATEGORICAL, DIVERGING, colour_scale, finish, symmetric
from gemma_viz.numbers import signed
from gemma_viz.stages.attribution import Split

LARGEST = 20
COLOURS = {"head": CATEGORICAL[0], "MLP": CATEGORICAL[1], "embedding": CATEGORICAL[2], "all the others": CATEGORICAL[7]}
GAP = 0.4  # between the columns of the heads and that of the MLPs


def largest_parts(values: Split, what: str) -> go.Figure:
    """Bars: the largest parts, and the sum of all the others.

    what: what the parts add up to, in a word or two
    """
    parts = values.parts
    rows: list[tuple[str, str, float]] = [(part.kind, part.name, part.value) for part in parts[:LARGEST]]
    if rest := parts[LARGEST:]:
        name = f"the {len(rest)} others"
        rows.append(("all the others", name, sum(part.value for part in rest)))
    figure = go.Figure(
        [
            go.Bar(
                name=kind,
                x=[value for k, _, value in rows if k == kind],
                y=[place for place, (k, _, _) in enumerate(rows) if k == kind],
                orientation="h",
                marker_color=colour,
                width=0.75,
                text=[signed(value, 2) for k, _, value in rows if k == kind],
                textposition="outside",
                cliponaxis=False,
                hovertemplate="%{x:+.2f}<extra></extra>",
            )
            for kind, colour in COLOURS.items()
            if any(k == kind for k, _, _ in rows)
        ]
    )
    numbers = [value for _, _, value in rows]
    low, high = min(0, *numbers), max(0, *numbers)
    room = 0.2 * (high - low)
    figure.update_xaxes(range=[low - (room if low else 0), high + room], zeroline=True, nticks=7)
    figure.update_yaxes(
        autorange="reversed",
        tickmode="array",
        tickvals=list(range(len(rows))),
        ticktext=[name for _, name, _ in rows],
    )
    return finish(
        figure,
        title=f"The parts of {what}: the {len(rows) - bool(rest)} largest",
        x="added to the logit",
        y="part",
        alt="Bars: " + ", ".join(f"{name} {signed(value, 2)}" for _, name, value in rows[:5]) + ".",
        height=130 + 24 * len(rows),
        legend=True,
    )


def parts_map(values: Split, what: str) -> go.Figure:
    """Map in colours: what each head (across) and the MLP of each layer (down) adds."""
    n_layers, n_heads = values.heads.shape
    scale = symmetric(np.concatenate([values.heads.ravel(), values.mlps]))
    shared = {"y": np.arange(n_layers), "colorscale": colour_scale(DIVERGING), **scale, "xgap": 1, "ygap": 1}
    figure = go.Figure(
        [
            go.Heatmap(
                z=values.heads,
                x=np.arange(n_heads),
                colorbar={"title": {"text": "logit"}, "thickness": 12},
                hovertemplate="layer %{y}, head %{x}<br>%{z:+.2f}<extra></extra>",
                **shared,
            ),
            go.Heatmap(
                z=values.mlps[:, None],
                x=[n_heads + GAP],
                dx=1,
                showscale=False,
                hovertemplate="layer %{y} MLP<br>%{z:+.2f}<extra></extra>",
                **shared,
            ),
        ]
    )
    figure.update_xaxes(
        tickmode="array",
        tickvals=[*range(n_heads), n_heads + GAP],
        ticktext=[*map(str, range(n_heads)), "MLP"],
        showgrid=False,
        zeroline=False,
        range=[-0.5, n_heads + GAP + 0.5],
    )
    figure.update_yaxes(autorange="reversed", showgrid=False, zeroline=False, dtick=1 if n_layers <= 20 else 2)
    largest_head = float(values.heads.ravel()[np.abs(values.heads).argmax()])
    layer, head = np.unravel_index(int(np.abs(values.heads).argmax()), values.heads.shape)
    mlp = int(np.abs(values.mlps).argmax())
    return finish(
        figure,
        title=f"The parts of {what}, by layer",
        x="head, and the MLP",
        y="layer",
        alt=f"Map of {n_layers} layers by {n_heads} heads and an MLP. Largest head: layer {layer}, head {head}, "
        f"{signed(largest_head, 2)}; largest MLP: layer {mlp}, {signed(float(values.mlps[mlp]), 2)}.",
        height=140 + 24 * n_layers,
    )
