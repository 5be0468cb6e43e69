"""RoPE drawn: one pair of components as clock hands, a whole query, scores by distance and by pair."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gemma_viz.figures.style import CATEGORICAL, finish, plain, short, token_hover
from gemma_viz.stages import Floats, around
from gemma_viz.stages.rope import Contributions, Rotation, ScoreByDistance, Vectors

FRAMES = 32  # of the animation, at most
MILLISECONDS = 500  # that one of them stays
QUERY, KEY = CATEGORICAL[0], CATEGORICAL[1]


def rotation(values: Rotation, labels: Sequence[str], selected: int) -> go.Figure:
    """Clock hands: one pair of components of all queries and keys, before and after, with the selected token's drawn.

    An animation moves the hands from token to token, over all of them or the `FRAMES` around the selected one.
    """
    series = (
        ("q before", values.q, QUERY, "circle-open", "dot"),
        ("q after", values.rot_q, QUERY, "circle", "solid"),
        ("k before", values.k, KEY, "diamond-open", "dot"),
        ("k after", values.rot_k, KEY, "diamond", "solid"),
    )
    hover = token_hover(labels)
    figure = go.Figure()
    for name, points, colour, symbol, _ in series:
        figure.add_scatter(
            x=points[:, 0],
            y=points[:, 1],
            mode="markers",
            name=name,
            marker={"symbol": symbol, "size": 7, "color": colour, "opacity": 0.6},
            customdata=hover,
            hovertemplate="%{customdata}<br>(%{x:.3f}, %{y:.3f})<extra>" + name + "</extra>",
        )
    for name, points, colour, _, dash in series:
        figure.add_scatter(
            **_hand(points, selected),
            mode="lines+markers",
            marker={"size": [0, 11], "color": colour},
            line={"color": colour, "width": 3, "dash": dash},
            name=f"hand, {name}",
            showlegend=False,
            hoverinfo="skip",
        )
    _animate(figure, values, [points for _, points, *_ in series], labels, selected)
    reach = max(float(np.abs(points).max()) for _, points, *_ in series) * 1.1 or 1.0
    figure.update_xaxes(range=[-reach, reach], zeroline=True, constrain="domain")
    figure.update_yaxes(range=[-reach, reach], zeroline=True, scaleanchor="x", scaleratio=1, constrain="domain")
    finish(
        figure,
        title="One pair of components as clock hands",
        x="first component of the pair",
        y="second component",
        alt=f"Scatter of one pair of components of {len(labels)} queries and keys, before and after. Those of "
        f"token {selected}, {labels[selected]}, are turned by {values.degrees[selected]:,.1f} degrees; lengths stay.",
        legend=True,
        height=700,
    )
    return figure


def _hand(points: Floats, position: int) -> dict[str, list[float]]:
    x, y = points[position].tolist()
    return {"x": [0, x], "y": [0, y]}


def _animate(
    figure: go.Figure, values: Rotation, points: Sequence[Floats], labels: Sequence[str], selected: int
) -> None:
    """Play, pause and a slider over tokens; the last traces of the figure, one for each of `points`, are the hands."""
    shown = around(selected, len(labels), FRAMES)
    hands = list(range(len(figure.data) - len(points), len(figure.data)))
    figure.frames = [
        go.Frame(name=str(i), data=[go.Scatter(**_hand(places, i)) for places in points], traces=hands) for i in shown
    ]
    at_once = {"mode": "immediate", "transition": {"duration": 0}, "frame": {"duration": 0, "redraw": False}}
    play = {
        "mode": "immediate",
        "fromcurrent": True,
        "transition": {"duration": 0},
        "frame": {"duration": MILLISECONDS, "redraw": False},
    }
    steps = [
        {
            "method": "animate",
            "args": [[str(i)], at_once],
            "label": f"{i} {plain(labels[i])}, turned by {values.degrees[i]:,.1f}°",
        }
        for i in shown
    ]
    figure.update_layout(
        updatemenus=[
            {
                "type": "buttons",
                "direction": "left",
                "showactive": False,
                "buttons": [
                    {"label": "Play", "method": "animate", "args": [None, play]},
                    {"label": "Pause", "method": "animate", "args": [[None], at_once]},
                ],
                "font": {"color": CATEGORICAL[0]},  # readable on what plotly lays under a button in either theme
                "x": 0,
                "xanchor": "left",
                "y": 0,
                "yanchor": "top",
                "pad": {"t": 130},
            }
        ],
        sliders=[
            {
                "active": selected - shown.start,
                "steps": steps,
                "currentvalue": {"prefix": "Hands of token ", "font": {"size": 13}},
                "font": {"size": 1},  # so many names have no room under the slider
                "ticklen": 0,
                "x": 0,
                "len": 1,
                "y": 0,
                "yanchor": "top",
                "pad": {"t": 56},
            }
        ],
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


def score_by_distance(values: ScoreByDistance, query_label: str, key_label: str) -> go.Figure:
    """Two lines that lie on each other: score by distance, and the same further on; the real distance marked."""
    figure = go.Figure()
    figure.add_scatter(
        x=values.distances,
        y=values.scores,
        mode="lines",
        name="where they stand",
        line={"color": CATEGORICAL[0], "width": 5},
        opacity=0.5,
        hovertemplate="%{x} tokens apart: %{y:.4f}",
    )
    figure.add_scatter(
        x=values.distances,
        y=values.scores_moved,
        mode="lines",
        name=f"both {values.shift} tokens further on",
        line={"color": CATEGORICAL[4], "width": 2, "dash": "dot"},
        hovertemplate="%{x} tokens apart: %{y:.4f}",
    )
    distance = values.query - values.key
    figure.add_scatter(
        x=[distance],
        y=[values.models],
        mode="markers",
        name="the model's own score",
        marker={"symbol": "diamond", "size": 13, "color": CATEGORICAL[2]},
        hovertemplate="their real distance, %{x}: %{y:.4f}",
    )
    figure.add_vline(x=distance, line={"width": 1.5, "dash": "dot", "color": CATEGORICAL[2]})
    gap = float(np.abs(values.scores - values.scores_moved).max())
    return finish(
        figure,
        title=f"Score of {short(query_label)} looking at {short(key_label)}, by distance",
        x="distance (tokens from key to query)",
        y="score: q · k, scaled",
        alt=f"Two curves over the distance that differ by at most {gap:.1e}. At the real distance of {distance} the "
        f"model's own score is {values.models:.3f}.",
        legend=True,
    )


def contributions(values: Contributions, query_label: str, key_label: str) -> go.Figure:
    """Bars: what each pair of components adds to a score; a line: their running sum, which ends at the score."""
    pairs = np.arange(len(values.parts))
    figure = go.Figure(
        [
            go.Bar(
                x=pairs,
                y=values.parts,
                name="one pair",
                marker={"color": CATEGORICAL[0], "line": {"width": 0}},
                customdata=values.wavelengths,
                hovertemplate="pair %{x}, one turn in %{customdata:,.1f} tokens: %{y:+.4f}<extra></extra>",
            ),
            go.Scatter(
                x=pairs,
                y=values.parts.cumsum(),
                name="running sum",
                mode="lines",
                line={"color": CATEGORICAL[1], "width": 2, "shape": "hv"},
                hovertemplate="pairs 0 to %{x} together: %{y:.4f}<extra></extra>",
            ),
        ]
    )
    figure.add_hline(y=values.score, line={"width": 1.5, "dash": "dot", "color": CATEGORICAL[2]})
    largest = int(np.abs(values.parts).argmax())
    return finish(
        figure,
        title=f"The score of {short(query_label)} looking at {short(key_label)}, pair by pair",
        x="pair of components (fast to slow)",
        y="part of the score",
        alt=f"Bars of {len(pairs)} parts; the largest is {values.parts[largest]:+.3f}, of pair {largest}. Their "
        f"running sum ends at {values.parts.sum():.3f}; the dotted line is the model's score, {values.score:.3f}.",
        legend=True,
    )
