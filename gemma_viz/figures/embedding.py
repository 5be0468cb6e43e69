"""Embedding drawn: the rows themselves, their lengths, their neighbours, the similarity of words."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gemma_viz.figures.style import (
    CATEGORICAL,
    DIVERGING,
    SELECTED,
    SEQUENTIAL,
    colour_scale,
    finish,
    log_axis,
    plain,
    short,
    symmetric,
    token_axis,
    token_hover,
)
from gemma_viz.model import NearestTokens
from gemma_viz.stages import around
from gemma_viz.stages.embedding import Embedding, RowNorms, WordMap, WordSimilarity

ROWS_SHOWN = 48
COLUMNS_SHOWN = 256
TOKENS_IN_BARS = 64
NAMES_STAND = ("top center", "bottom center", "middle right", "middle left")  # so that near points keep theirs apart


def rows(values: Embedding, labels: Sequence[str], selected: int) -> go.Figure:
    """Heatmap of the embedding rows: token by component, the first 256 components."""
    shown = around(selected, len(labels), ROWS_SHOWN)
    names = labels[shown.start : shown.stop]
    z = values.rows[shown.start : shown.stop, :COLUMNS_SHOWN]
    figure = go.Figure(
        go.Heatmap(
            z=z,
            y=np.array(shown),
            colorscale=colour_scale(DIVERGING),
            **symmetric(np.quantile(np.abs(z), [0.995])),
            colorbar={"title": {"text": "value"}, "thickness": 12},
            customdata=np.tile(np.array(token_hover(names, shown.start), object)[:, None], (1, z.shape[1])),
            hovertemplate="%{customdata}<br>component %{x}: %{z:.4f}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", **token_axis(names, shown.start))
    return finish(
        figure,
        title="Each token's row of the embedding table",
        x=f"component (first {z.shape[1]:,} of {values.rows.shape[1]:,})",
        y="token",
        alt=f"Heatmap of {z.shape[1]} components of the embedding rows of {len(names)} tokens, "
        f"values from {z.min():.3f} to {z.max():.3f}.",
        height=150 + max(110, 22 * len(names)),
    )


def norms(values: Embedding, labels: Sequence[str], selected: int) -> go.Figure:
    """Bars on a log axis: length of each row as stored, after the rescaling, and of the first attention's update."""
    shown = around(selected, len(labels), TOKENS_IN_BARS)
    names = labels[shown.start : shown.stop]
    series = (
        ("row as stored", values.raw_norm, CATEGORICAL[7]),
        (f"row × {values.scale:.2f}", values.scaled_norm, CATEGORICAL[0]),
        ("first attention's update", values.attention_norm, CATEGORICAL[1]),
    )
    figure = go.Figure(
        [
            go.Bar(
                name=name,
                x=np.array(shown),
                y=norm[shown.start : shown.stop],
                marker_color=colour,
                customdata=token_hover(names, shown.start),
                hovertemplate="%{customdata}<br>length %{y:.3f}<extra>" + name + "</extra>",
            )
            for name, norm, colour in series
        ]
    )
    figure.update_xaxes(**token_axis(names, shown.start))
    figure.update_yaxes(**log_axis(*(norm for _, norm, _ in series)))
    return finish(
        figure,
        title="Length of each vector, before and after the rescaling",
        x="token",
        y="Euclidean length (log axis)",
        alt=f"Bars for {len(names)} tokens. Rows as stored are {values.raw_norm.mean():.2f} long on average, after "
        f"the rescaling {values.scaled_norm.mean():.2f}; the first attention adds vectors of length "
        f"{values.attention_norm.mean():.2f}.",
        legend=True,
    )


def nearest(values: NearestTokens, label: str, labels: Sequence[str]) -> go.Figure:
    """Bars: the vocabulary tokens nearest to one token."""
    ranks = list(range(len(labels)))
    figure = go.Figure(
        go.Bar(
            x=values.similarities,
            y=ranks,
            orientation="h",
            marker_color=CATEGORICAL[0],
            text=[f"{similarity:.2f}" for similarity in values.similarities],
            textposition="inside",
            customdata=list(values.ids),
            hovertemplate="id %{customdata}<br>cosine similarity %{x:.3f}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", tickmode="array", tickvals=ranks, ticktext=[plain(x) for x in labels])
    figure.update_xaxes(range=[0, 1])
    return finish(
        figure,
        title=f"Nearest tokens of the vocabulary to {short(label)}",
        x="cosine similarity",
        y="token",
        alt=f"Bar chart: nearest to {label} are " + ", ".join(labels[:5]) + ".",
        height=110 + 24 * len(ranks),
    )


def similarity(values: WordSimilarity) -> go.Figure:
    """Heatmap: cosine similarity of words."""
    places = list(range(len(values.words)))
    names = [plain(word) for word in values.words]
    ticks = {"tickmode": "array", "tickvals": places, "ticktext": names}
    figure = go.Figure(
        go.Heatmap(
            z=values.similarity,
            zmin=0,
            zmax=1,
            colorscale=colour_scale(SEQUENTIAL),
            colorbar={"title": {"text": "cosine"}, "thickness": 12},
            text=[[f"{value:.2f}".lstrip("0") for value in row] for row in values.similarity],
            texttemplate="%{text}" if len(places) <= 16 else None,
            textfont={"size": 10},
            customdata=[[f"{a} and {b}" for b in names] for a in names],
            hovertemplate="%{customdata}: %{z:.3f}<extra></extra>",
        )
    )
    figure.update_xaxes(**ticks)
    figure.update_yaxes(autorange="reversed", **ticks)
    return finish(
        figure,
        title="Cosine similarity of the words' rows",
        x="word",
        y="word",
        alt=_similarity_in_words(values),
        height=140 + 32 * max(4, len(names)),
    )


def _similarity_in_words(values: WordSimilarity) -> str:
    alt, n = f"Heatmap of the cosine similarities of {len(values.words)} words", len(values.words)
    if n < 2:
        return f"{alt}."
    others = np.where(np.eye(n, dtype=bool), np.nan, values.similarity)
    pairs = (divmod(int(place), n) for place in (np.nanargmax(others), np.nanargmin(others)))
    most, least = (f"{values.words[a]} and {values.words[b]}, {others[a, b]:.2f}" for a, b in pairs)
    return f"{alt}. The most alike: {most}; the least: {least}."


def places(values: WordMap, groups: Sequence[str]) -> go.Figure:
    """Scatter: words on the two principal axes of their rows, coloured by group. groups: their names."""
    figure = go.Figure()
    of = np.array(values.groups)
    for group in sorted(set(values.groups)):
        members = np.flatnonzero(of == group)
        figure.add_scatter(
            x=values.places[members, 0],
            y=values.places[members, 1],
            mode="markers+text",
            text=[plain(values.labels[i]) for i in members],
            textposition=[NAMES_STAND[i % len(NAMES_STAND)] for i in range(len(members))],
            marker={"size": 10, "color": CATEGORICAL[group % len(CATEGORICAL)]},
            name=groups[group],
            hovertemplate="%{text}<extra></extra>",
        )
    x, y = values.places.T
    for axis, along in ((figure.update_xaxes, x), (figure.update_yaxes, y)):
        reach = (float(along.max() - along.min()) or 1.0) * 0.18  # names stand beside and above the points
        axis(range=[float(along.min()) - reach, float(along.max()) + reach])
    return finish(
        figure,
        title=f"A map that keeps {values.explained:.0%} of their variance",
        x="first principal axis",
        y="second principal axis",
        alt=f"Map of {len(values.labels)} words by the two principal axes of their embedding rows. The middle of "
        f"{_middles(values, groups)}.",
        height=440,
        legend=True,
    )


def _middles(values: WordMap, groups: Sequence[str]) -> str:
    """Where the groups of a map lie on its two axes, in words."""
    of = np.array(values.groups)
    middles = ((groups[group], values.places[of == group].mean(0)) for group in sorted(set(values.groups)))
    return "; ".join(f"{name} is at {x:.2f}, {y:.2f}" for name, (x, y) in middles)


def row_norms(values: RowNorms, length: float, label: str) -> go.Figure:
    """Histogram on a log axis: lengths of all rows of the table, by kind of entry; one token's is marked."""
    every = np.concatenate(list(values.norms.values()))
    low, high = np.quantile(every, [0.0001, 0.9999])  # a few rows far away would squeeze the others into one bar
    edges = np.linspace(low, max(high, low + 1e-3), 61)
    figure = go.Figure()
    for i, (kind, norms) in enumerate(values.norms.items()):
        counts, _ = np.histogram(np.clip(norms, edges[0], edges[-1]), edges)
        figure.add_bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=counts,
            name=f"{kind} ({len(norms):,})",
            marker_color=CATEGORICAL[i % len(CATEGORICAL)],
            hovertemplate="length %{x:.2f}: %{y:,} entries<extra>" + kind + "</extra>",
        )
    figure.add_vline(x=length, line={"width": 2, "color": SELECTED, "dash": "dot"})
    figure.update_layout(barmode="stack")
    figure.update_yaxes(type="log", dtick=1)
    return finish(
        figure,
        title=f"Lengths of all rows of the table, {short(label)} marked",
        x="Euclidean length of the row as stored",
        y="entries (log axis)",
        alt=f"Histogram of {len(every):,} row lengths from {every.min():.2f} to {every.max():.2f}; {label} has "
        f"{length:.2f}.",
        height=380,
        legend=True,
    )
