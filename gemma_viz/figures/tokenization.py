"""Tokenization drawn: how long the same text is in other units, and with smaller vocabularies."""

from collections.abc import Sequence

import plotly.graph_objects as go

from gemma_viz.figures.style import CATEGORICAL, SELECTED, finish
from gemma_viz.stages.tokenization import Tokenization
from gemma_viz.stages.vocabulary import USUAL, YOURS, SmallerVocabulary


def lengths(values: Tokenization) -> go.Figure:
    """Bars: the text's length in bytes, characters, tokens and words."""
    units = {
        "words": values.n_words,
        "tokens": values.n_tokens,
        "characters": values.n_characters,
        "bytes": values.n_bytes,
    }
    figure = go.Figure(
        go.Bar(
            x=list(units.values()),
            y=list(units),
            orientation="h",
            text=[f"{count:,}" for count in units.values()],
            textposition="auto",
            marker_color=[CATEGORICAL[0] if unit == "tokens" else CATEGORICAL[7] for unit in units],
            hovertemplate="%{x:,} %{y}<extra></extra>",
        )
    )
    said = ", ".join(f"{count:,} {unit}" for unit, count in units.items())
    return finish(
        figure,
        title="How long the text is in different units",
        x="length of the text (number of units)",
        y="unit",
        alt=f"Bar chart of the text's length: {said}.",
        height=260,
    )


def by_vocabulary_size(values: Sequence[SmallerVocabulary], chosen: int) -> go.Figure:
    """Lines: tokens per character of each text, by the size of the vocabulary, with the usual sizes marked."""
    sizes = [value.size for value in values]
    figure = go.Figure()
    for i, name in enumerate(values[0].cuts):
        cuts = [value.cuts[name] for value in values]
        figure.add_scatter(
            x=sizes,
            y=[cut.n_tokens / max(1, cut.n_characters) for cut in cuts],
            mode="lines+markers",
            name=name,
            line={"color": CATEGORICAL[i % len(CATEGORICAL)], "width": 4 if name == YOURS else 2},
            customdata=[f"{cut.n_tokens:,} tokens" for cut in cuts],
            hovertemplate="%{x:,} entries: %{customdata}, %{y:.2f} per character<extra>" + name + "</extra>",
        )
    figure.add_vrect(x0=USUAL[0], x1=USUAL[1], fillcolor=CATEGORICAL[7], opacity=0.15, line_width=0)
    figure.add_vline(x=chosen, line={"width": 2, "color": SELECTED, "dash": "dot"})
    figure.update_xaxes(type="log", tickvals=sizes, ticktext=[f"{round(size / 1000)}k" for size in sizes])
    figure.update_yaxes(rangemode="tozero")
    first, last = values[0].cuts[YOURS], values[-1].cuts[YOURS]
    return finish(
        figure,
        title="Tokens per character, by the size of the vocabulary",
        x="entries of the vocabulary (log axis)",
        y="tokens per character",
        alt=f"Lines fall with the size of the vocabulary; your prompt takes {first.n_tokens:,} tokens with "
        f"{sizes[0]:,} entries and {last.n_tokens:,} with {sizes[-1]:,}.",
        height=440,
        legend=True,
    )
