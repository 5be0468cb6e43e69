"""Two runs drawn side by side: where their streams part, one head's two patterns, what they predict."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from gemma_viz.figures.heads import distances
from gemma_viz.figures.output import probability_bars
from gemma_viz.figures.style import (
    CATEGORICAL,
    DIVERGING,
    LONGEST_LABEL,
    SEQUENTIAL,
    colour_scale,
    finish,
    frame,
    plain,
    short,
    token_axis,
    token_hover,
)
from gemma_viz.numbers import percent, signed
from gemma_viz.stages import Floats
from gemma_viz.stages.comparison import HeadPatterns, Outputs, Streams
from gemma_viz.stages.residual import Lens
from gemma_viz.tokens import visible

LEFT, RIGHT = CATEGORICAL[0], CATEGORICAL[1]
NARROWEST_SCALE = 0.01  # of cosines: smaller differences should look small
HALF_LABEL = (LONGEST_LABEL - 1) // 2  # characters of one of two tokens
LONGEST_NAME = 40  # characters of a run's name
NAMED_IN_HOVER = 128  # tokens; of more, the names would outgrow the picture itself


def pair_label(left: str | None, right: str | None) -> str:
    """A name for two tokens that stand under each other; None where a run has none.

    >>> pair_label("cat", "cat"), pair_label("cat", "dog"), pair_label(None, "dog")
    ('cat', 'cat≠dog', '–≠dog')
    """
    if left == right and left is not None:
        return left
    labels = [label if label is not None else "–" for label in (left, right)]
    fits = len("≠".join(labels)) <= LONGEST_LABEL
    return "≠".join(label if fits else short(label, HALF_LABEL) for label in labels)


def streams(values: Streams, labels: Sequence[str], selected: int | None) -> go.Figure:
    """Heatmap: the cosine of two runs' streams at every depth (down) for every pair of tokens (across).

    labels: of the pairs; selected: the pair whose column is framed
    """
    n_depths, n_pairs = values.cosine.shape
    finite = values.cosine[np.isfinite(values.cosine)]
    lowest = float(finite.min()) if finite.size else 1.0
    hover = token_hover(labels)
    few = n_pairs <= NAMED_IN_HOVER
    figure = go.Figure(
        go.Heatmap(
            z=values.cosine,
            x=np.arange(n_pairs),
            y=np.arange(n_depths),
            zmin=min(lowest, 1 - NARROWEST_SCALE),
            zmax=1,
            colorscale=colour_scale(SEQUENTIAL[::-1]),  # what is apart stands out
            colorbar={"title": {"text": "cosine"}, "thickness": 12},
            customdata=[hover] * n_depths if few else None,
            hovertemplate=("%{customdata}" if few else "token %{x}")
            + "<br>after %{y} layers: cosine %{z:.4f}<extra></extra>",
        )
    )
    if selected is not None:
        frame(figure, (selected, selected), (0, n_depths - 1))
    figure.update_xaxes(showgrid=False, **token_axis(labels))
    figure.update_yaxes(showgrid=False, autorange="reversed", dtick=-(-n_depths // 20))
    return finish(
        figure,
        title="How alike the two streams are, by depth and token",
        x="token (≠: the two runs have different ones)",
        y="depth (layers)",
        alt=f"Heatmap of the cosines of {n_pairs} pairs of tokens at {n_depths} depths; the lowest is {lowest:.3f}.",
        height=150 + 16 * n_depths,
    )


def stream_by_depth(values: Streams, pair: int, label: str) -> go.Figure:
    """Lines: the cosine of one pair's streams by depth, and that of two different tokens to compare with."""
    depth = np.arange(len(values.cosine))
    figure = go.Figure()
    for name, line, colour, dash in (
        ("this token in the two runs", values.cosine[:, pair], CATEGORICAL[0], "solid"),
        ("two different tokens of one run, on average", values.between_tokens, CATEGORICAL[7], "dot"),
    ):
        figure.add_scatter(
            x=depth,
            y=line,
            name=name,
            mode="lines+markers",
            line={"color": colour, "dash": dash},
            hovertemplate="after %{x} layers: cosine %{y:.4f}",
        )
    first, last = values.cosine[0, pair], values.cosine[-1, pair]
    return finish(
        figure,
        title=f"The two streams of {short(label)}, by depth",
        x="depth (layers)",
        y="cosine",
        alt=f"Lines by depth: the cosine of the two streams goes from {first:.3f} to {last:.3f}.",
        legend=True,
    )


def tokens_by_depth(
    values: tuple[Lens, Lens], names: tuple[str, str], labels: tuple[str, str], title: str
) -> go.Figure:
    """Lines: the probability of one token in each run, by the share of its layers that are done (logit lens).

    names: of the runs; labels: of their tokens
    """
    figure = go.Figure()
    for lens, name, label, colour, symbol in zip(
        values, names, labels, (LEFT, RIGHT), ("circle", "diamond"), strict=True
    ):
        n_layers = len(lens.target_probabilities) - 1
        figure.add_scatter(
            x=np.arange(n_layers + 1) / n_layers,
            y=lens.target_probabilities,
            name=f"{plain(label)}, {plain(name, 40)}",
            mode="lines+markers",
            line={"color": colour},
            marker={"symbol": symbol, "size": 7},
            customdata=[f"after {depth} of {n_layers} layers" for depth in range(n_layers + 1)],
            hovertemplate="%{customdata}: %{y:.2%}",
        )
    figure.update_xaxes(tickformat=".0%")
    figure.update_yaxes(rangemode="tozero", tickformat=".0%")
    ends = [float(lens.target_probabilities[-1]) for lens in values]
    return finish(
        figure,
        title=f"{title}, by depth (logit lens)",
        x="share of the layers that are done",
        y="probability",
        alt=f"Lines by depth: {labels[0]} ends at {ends[0]:.1%} in {names[0]}, {labels[1]} at {ends[1]:.1%} in "
        f"{names[1]}.",
        legend=True,
    )


def head_distances(values: Floats, layer: int, head: int) -> go.Figure:
    """Heatmap: how far apart each head's two patterns are. values: [layer, head]."""
    return distances(values, layer, head, "How far apart each head's two patterns are")


def pattern(values: HeadPatterns, which: str, labels: Sequence[str], selected: int, title: str) -> go.Figure:
    """Heatmap of "left", "right" or "difference", on axes that all three share.

    labels: of all columns of the alignment; selected: the column whose row is framed
    """
    weights: Floats = getattr(values, which)
    shown, names = values.shown, labels[values.shown.start : values.shown.stop]
    finite = np.abs(weights[np.isfinite(weights)])
    largest = float(finite.max()) if finite.size else 0.0
    differs = which == "difference"
    scale = {"zmin": -max(largest, 0.01), "zmax": max(largest, 0.01)} if differs else {"zmin": 0, "zmax": 1}
    hover = token_hover(names, shown.start)
    figure = go.Figure(
        go.Heatmap(
            z=weights,
            x=np.array(shown),
            y=np.array(shown),
            **scale,
            colorscale=colour_scale(DIVERGING if differs else SEQUENTIAL),
            colorbar={"title": {"text": "change" if differs else "weight"}, "thickness": 12},
            customdata=[[f"{query} looks at {key}" for key in hover] for query in hover],
            hovertemplate="%{customdata}<br>"
            + ("change of the weight %{z:+.3f}" if differs else "weight %{z:.3f}")
            + "<extra></extra>",
        )
    )
    frame(figure, (shown.start, shown.stop - 1), (selected, selected), width=2)
    axis = token_axis(names, shown.start)
    figure.update_xaxes(showgrid=False, zeroline=False, range=[shown.start - 0.5, shown.stop - 0.5], **axis)
    figure.update_yaxes(showgrid=False, zeroline=False, range=[shown.stop - 0.5, shown.start - 0.5], **axis)
    cut = f", columns {shown.start} to {shown.stop - 1}" if len(names) < len(labels) else ""
    said = "largest change of a weight" if differs else "largest weight"
    return finish(
        figure,
        title=f"{title}{cut}",
        x="key: the token looked at",
        y="query: the token that looks",
        alt=f"Heatmap, {title}: {len(names)} by {len(names)} tokens, {said} {largest:.3f}.",
        height=420,
    )


def likeliest(values: Outputs, names: tuple[str, str]) -> go.Figure:
    """Bars: the probabilities that two runs give the tokens that either ranks highest."""
    labels = [visible(text) for text in values.likeliest.texts]
    left, right = (plain(name, LONGEST_NAME) for name in names)
    series = ((left, values.likeliest.left, LEFT), (right, values.likeliest.right, RIGHT))
    missing = "not in its vocabulary" if all(values.is_finite) else "no number"
    figure = probability_bars(series, labels, missing)
    shares = zip(labels, *(bar.text for bar in figure.data), strict=True)
    said = ", ".join(f"{label} {ours} and {theirs}" for label, ours, theirs in shares)
    return finish(
        figure,
        title="The likeliest next tokens of both runs",
        x="probability",
        y="next token",
        alt=f"Bars of probabilities in {names[0]} and in {names[1]}: {said}.",
        height=130 + 44 * max(len(labels), 1),
        legend=True,
    )


def changes(values: Outputs, names: tuple[str, str]) -> go.Figure:
    """Bars from zero: the tokens whose probability differs most, gained above and lost below."""
    gained, lost = (list(zip(p.texts, p.left, p.right, strict=True)) for p in (values.gained, values.lost))
    shown = [*gained, *reversed(lost)]
    texts = [visible(text) for text, _, _ in shown]
    change = np.array([after - before for _, before, after in shown])
    ranks = list(range(len(texts)))
    figure = go.Figure(
        go.Bar(
            x=change * 100,
            y=ranks,
            orientation="h",
            marker_color=[RIGHT if value > 0 else LEFT for value in change],
            text=[_points(value) for value in change],
            textposition="outside",
            cliponaxis=False,
            customdata=[[percent(share) for share in shares] for _, *shares in shown],
            hovertemplate="%{customdata[0]} → %{customdata[1]}<extra></extra>",
        )
    )
    largest = float(np.abs(change).max()) * 100 if len(change) else 1.0
    figure.update_yaxes(
        autorange="reversed", tickmode="array", tickvals=ranks, ticktext=[plain(text) for text in texts]
    )
    figure.update_xaxes(range=[-largest * 1.3, largest * 1.3], nticks=5, zeroline=True)
    return finish(
        figure,
        title="The tokens that gain and lose most",
        x="change of the probability (percentage points)",
        y="next token",
        alt=f"Bars of the change of probability from {names[0]} to {names[1]}: "
        + ", ".join(f"{text} {_points(value)}" for text, value in zip(texts, change, strict=True))
        + " percentage points.",
        height=130 + 26 * max(len(texts), 1),
    )


def _points(change: float) -> str:
    """A change of a probability in percentage points."""
    points = change * 100
    return signed(points, 1) if abs(points) >= 0.05 else f"{points:+.1g}".replace("-", "−", 1)
