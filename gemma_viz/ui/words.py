"""Sentences made from numbers, so that what a page says is true of what it shows."""

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gemma_viz.stages.output import Comparison
from gemma_viz.stages.positions import ChangedPatterns
from gemma_viz.stages.rope import Contributions, ScoreByDistance

HARDLY = 0.01  # nats of KL divergence
CLEARLY = 0.5
OUTSIZED = 5  # times the median
SAME_SCORE = 1e-3  # of the score, or of 1
HEADS_NAMED = 3
ROUNDING, VISIBLE = 1e-3, 0.05  # differences of attention weights
FLOAT32_STEP = 2**-24  # largest relative error of rounding to it


def percent(probability: float) -> str:
    """12.3%, with more digits where it is small.

    >>> percent(0.1234), percent(0.00042)
    ('12.3%', '0.042%')
    """
    return f"{probability * 100:.1f}%" if probability >= 0.001 else f"{probability * 100:.2g}%"


def size(number: float) -> str:
    """A length or a count in the shortest exact-enough way: 1,369, 3.42, 1.2e+07 or “not a number”."""
    if not math.isfinite(number):
        return "not a number" if math.isnan(number) else "infinite"
    if abs(number) >= 1e6 or 0 < abs(number) < 1e-3:
        return f"{number:.1e}"
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def code(text: str) -> str:
    """Text as inline code in Markdown, whatever characters it holds."""
    fence = "`" * (longest_run(text, "`") + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def pieces(texts: Sequence[str]) -> str:
    """Pieces of text side by side, as inline code in Markdown."""
    return " ".join(code(text) for text in texts)


def literal(text: str) -> str:
    r"""Text for Markdown to show as it is, whatever characters it holds.

    >>> literal("*a* <b>")
    '\\*a\\* \\<b\\>'
    """
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)


def longest_run(text: str, character: str) -> int:
    """How often a character stands in a row at most."""
    longest = current = 0
    for c in text:
        current = current + 1 if c == character else 0
        longest = max(longest, current)
    return longest


def parsed_sum(text: str) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """The words that are added, those that are subtracted, and the one expected after "=", or "".

    >>> parsed_sum("king - man + woman = queen")
    (('king', 'woman'), ('man',), 'queen')
    """
    left, _, right = text.partition("=")
    plus: list[str] = []
    minus: list[str] = []
    sign = "+"
    for part in re.findall(r"(?<!\S)[+−-](?!\S)|[^\s]+", left):
        if part in ("+", "-", "−"):
            sign = part
        else:
            (plus if sign == "+" else minus).append(part)
            sign = "+"
    return tuple(plus), tuple(minus), right.strip()


def groups_compared(within: float, between: float) -> str:
    """What the average similarities inside groups and between them say, in Markdown."""
    if math.isnan(within) or math.isnan(between):
        return "With two groups of at least two words each, their average similarities could be compared."
    relation = "closer" if within > between + 0.02 else "further apart" if within < between - 0.02 else "as close"
    than = "as" if relation == "as close" else "than"
    return (
        f"Two words of one group have an average similarity of **{within:.2f}**, two words of different groups one of "
        f"**{between:.2f}**: within a group they are {relation} {than} between groups."
    )


def first_token(stream_rms: NDArray[np.float32], label: str) -> str:
    """Whether the first token's stream stands out, in Markdown. stream_rms: [depth, position]."""
    if stream_rms.shape[1] < 3:
        return ""
    ratios = stream_rms[:, 0] / np.median(stream_rms[:, 1:], axis=1)
    depth = int(ratios.argmax())
    if ratios[depth] < OUTSIZED:
        return (
            f"The stream of the first token, {code(label)}, is not outsized here: at most {ratios[depth]:.1f} times "
            "the median of the others."
        )
    return (
        f"The stream of the first token, {code(label)}, is outsized: at depth {size(depth / 2)} it is "
        f"{size(ratios[depth])} times the median of the others. Heads often rest on it; see Attention."
    )


def how_far_the_stream_goes(with_step: NDArray[np.float32], without_step: NDArray[np.float32], without: str) -> str:
    """What becomes of the stream's scale, in Markdown. Both [depth]."""
    broken = np.flatnonzero(~np.isfinite(without_step))
    if len(broken):
        return f"Without {without} the stream is no longer a number (infinite or NaN) from depth {broken[0]} on."
    ratio = without_step[-1] / with_step[-1]
    return (
        f"After the last layer the stream has an RMS of {size(with_step[-1])} as it is and of {size(without_step[-1])} "
        f"without {without}: {size(ratio)} times as much."
    )


def what_happened(values: Comparison, labels: Sequence[str], without: str) -> str:
    """Two or three sentences on what leaving out a step did to the prediction, in Markdown."""
    return _before_and_after(
        values,
        labels,
        f"Without {without}",
        "with the step",
        "without",
        ": on this prompt the model does without the step",
    )


def what_changed(values: Comparison, labels: Sequence[str], change: str) -> str:
    """The same of a step that is taken otherwise. change: completes "with …"."""
    return _before_and_after(values, labels, f"With {change}", "as it is", "with the change")


def _before_and_after(
    values: Comparison, labels: Sequence[str], edited_run: str, before: str, after: str, unchanged: str = ""
) -> str:
    best = int(values.baseline.argmax())
    name, probability = code(labels[best]), percent(float(values.baseline[best]))
    if not values.is_finite:
        return (
            f"{edited_run} the numbers run out of range: the logits are no longer numbers (NaN or infinite), so "
            f"there is no prediction at all. {before.capitalize()}, {name} is the likeliest next token with "
            f"{probability}."
        )
    edited = int(values.edited.argmax())
    now = percent(float(values.edited[edited]))
    if edited == best:
        changed = f"The likeliest next token stays {name}: {probability} {before}, {now} {after}."
    else:
        left = percent(float(values.edited[best]))
        changed = (
            f"The likeliest next token changes from {name} ({probability}) to {code(labels[edited])} ({now}); "
            f"{name} is left with {left}."
        )
    divergence = max(values.kl_divergence, 0.0)  # rounding can leave it a little below
    if divergence < HARDLY:
        verdict = f"hardly changes{unchanged}"
    elif divergence < CLEARLY:
        verdict = "changes somewhat"
    else:
        verdict = "changes strongly"
    return f"{changed} The whole distribution {verdict} (KL divergence {size(divergence)} nats)."


def moved_together(values: ScoreByDistance, query: str, key: str) -> str:
    """What becomes of a score when both tokens are moved on, and whether the model has the same, in Markdown.

    query, key: the labels of the two tokens
    """
    difference = abs(values.moved - values.score)
    same = difference <= SAME_SCORE * max(1, abs(values.score))
    verdict = (
        "which is rounding: turning both hands by the same angle leaves the angle between them"
        if same
        else "more than rounding should leave"
    )
    return (
        f"At their own places, {values.query} and {values.key}, {code(query)} looks at {code(key)} with a score of "
        f"**{values.score:.4f}**. Both moved on by {values.shift} tokens, to {values.query + values.shift} and "
        f"{values.key + values.shift}, it is **{values.moved:.4f}**. The difference is {size(difference)}, {verdict}. "
        + models_score(values)
    )


def models_score(values: ScoreByDistance) -> str:
    """How the score at the real distance relates to the model's."""
    said = (
        f"The model's own query and key, as it turned them, give {values.models:.4f} "
        f"({size(abs(values.models - values.score))} from ours)"
    )
    if not values.visible:
        return f"{said}, but this layer hides that key from this query: it is outside its window."
    if values.capped is not None:
        return f"{said}; the soft-cap then makes it {values.capped:.4f}. The scores here are those before the cap."
    return f"{said}."


def score_by_pair(values: Contributions, distance: int) -> str:
    """What the parts of a score sum to, and which of them carry it, in Markdown. distance: tokens from key to query."""
    total, largest = float(values.parts.sum()), int(np.abs(values.parts).argmax())
    fast = values.wavelengths <= 2 * distance  # half a turn makes the opposite of what agrees
    return (
        f"The {len(values.parts)} parts sum to **{total:.4f}**; the model's score is {values.score:.4f} "
        f"({size(abs(total - values.score))} apart). The largest part, {values.parts[largest]:+.4f}, comes from pair "
        f"{largest}, which turns once in {size(values.wavelengths[largest])} tokens. The pairs that make half a "
        f"turn or more between the two tokens ({int(fast.sum())} of them) add {float(values.parts[fast].sum()):+.4f}, "
        f"the slower ones {float(values.parts[~fast].sum()):+.4f}."
    )


def most_and_least_positional(values: NDArray[np.float32]) -> str:
    """Which heads depend on position most and least, in Markdown. values: [layer, head]."""
    if np.isnan(values).all():
        return "A prompt of one token has nothing to compare: its only query can only read itself."
    order = np.argsort(values, axis=None)
    named = [
        ", ".join(
            f"layer {layer} head {head} ({values[layer, head]:.3f})"
            for layer, head in (np.unravel_index(place, values.shape) for place in places)
        )
        for places in (order[::-1][:HEADS_NAMED], order[:HEADS_NAMED])
    ]
    return f"Most depend on position on this prompt: {named[0]}. Least: {named[1]}."


def patterns_moved(values: ChangedPatterns, layer: int, head: int, change: str) -> str:
    """How far the patterns of a layer move in a run with other positions, in Markdown. change: completes "with …"."""
    moved, which = float(values.largest.max()), int(values.largest.argmax())
    if moved < ROUNDING:
        verdict = "The patterns do not move: this is rounding."
    elif moved < VISIBLE:
        verdict = "The patterns hardly move."
    else:
        verdict = "The patterns move."
    own = float(values.distance[head])
    return (
        f"With {change}, no weight of layer {layer} changes by more than **{size(moved)}** (head {which}). {verdict}"
        + (
            ""
            if np.isnan(own)
            else f" Those of head {head} are {size(own)} apart on average (0: the same, 1: disjoint)."
        )
    )


def furthest_position(position: float, fastest: float, context_length: int) -> str:
    """What a position this far along means for a model, in Markdown. fastest: the shortest wavelength, in tokens."""
    radians = 2 * math.pi * position / fastest
    beyond = (
        f"beyond the {context_length:,} tokens this model was made for"
        if position >= context_length
        else f"within the {context_length:,} tokens this model was made for"
    )
    return (
        f"The last token is then turned as at position {position:,.10g}, {beyond}. Its fastest hand turns by "
        f"{radians:,.0f} radians, which float32 holds to about {size(radians * FLOAT32_STEP)} of a radian."
    )
