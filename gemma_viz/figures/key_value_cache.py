"""Shared keys and values, drawn: which query heads read which key/value head, and what the cache takes."""

import numpy as np
import plotly.graph_objects as go

from gemma_viz.figures.style import CATEGORICAL, SELECTED, finish
from gemma_viz.stages.key_value_cache import Sizes

MIB = 2**20


def sharing(n_heads: int, n_kv_heads: int, chosen: int) -> go.Figure:
    """Two rows of heads with lines between them: the query heads above, the key/value heads they read beneath."""
    group = n_heads // n_kv_heads
    query_x = np.arange(n_heads, dtype=float)
    kv_x = query_x.reshape(n_kv_heads, group).mean(1)
    figure = go.Figure()
    for head in range(n_heads):
        is_chosen = head == chosen
        figure.add_scatter(
            x=[query_x[head], kv_x[head // group]],
            y=[1, 0],
            mode="lines",
            line={"color": SELECTED if is_chosen else CATEGORICAL[7], "width": 3 if is_chosen else 1.5},
            hoverinfo="skip",
        )
    for name, x, y, colour in (("query head", query_x, 1, CATEGORICAL[0]), ("key/value head", kv_x, 0, CATEGORICAL[2])):
        figure.add_scatter(
            x=x,
            y=np.full(len(x), y),
            mode="markers+text",
            marker={"size": 26, "color": colour},
            text=[str(i) for i in range(len(x))],
            textfont={"color": "white"},
            hovertemplate=name + " %{text}<extra></extra>",
        )
    figure.update_xaxes(visible=False, range=[-0.7, n_heads - 0.3])
    figure.update_yaxes(tickvals=[1, 0], ticktext=["query heads", "key/value heads"], range=[-0.4, 1.4], showgrid=False)
    return finish(
        figure,
        title=f"{n_heads} query heads read {n_kv_heads} key/value head{'s' if n_kv_heads > 1 else ''}",
        x="head",
        y="",
        alt=f"{n_heads} query heads in a row above {n_kv_heads} key/value heads; every {group} query heads share one.",
        height=240,
    )


def cache(models: tuple[Sizes, ...], n_tokens: int) -> go.Figure:
    """Dots on a log axis: bytes of the key/value cache, as it is and with a key/value head for every query head."""
    names = [model.name for model in models]
    series = (
        ("as it is", [model.cache(n_tokens) / MIB for model in models], CATEGORICAL[2], "circle"),
        (
            "with a key/value head for every query head",
            [model.cache(n_tokens, model.n_heads) / MIB for model in models],
            CATEGORICAL[7],
            "circle-open",
        ),
    )
    figure = go.Figure()
    for name, shared, unshared in zip(names, series[0][1], series[1][1], strict=True):
        figure.add_scatter(
            x=[shared, unshared],
            y=[name, name],
            mode="lines",
            line={"color": CATEGORICAL[7], "width": 2},
            showlegend=False,
            hoverinfo="skip",
        )
    for name, sizes, colour, symbol in series:
        figure.add_scatter(
            x=np.array(sizes),
            y=names,
            mode="markers",
            name=name,
            marker={"color": colour, "size": 12, "symbol": symbol, "line": {"width": 2}},
            hovertemplate="%{y}: %{x:,.1f} MiB<extra>" + name + "</extra>",
        )
    figure.update_xaxes(type="log", dtick=1, tickformat=",~r")
    figure.update_yaxes(autorange="reversed")
    return finish(
        figure,
        title=f"Memory of keys and values for {n_tokens:,} tokens",
        x="MiB (log axis, bfloat16)",
        y="",
        alt="Paired dots: "
        + ", ".join(f"{name} {size:,.0f} MiB" for name, size in zip(names, series[0][1], strict=True))
        + " as they are.",
        legend=True,
        height=150 + 28 * len(models),
    )
