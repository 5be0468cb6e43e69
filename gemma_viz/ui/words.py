"""Sentences made from numbers, so that what a page says is true of what it shows."""

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gemma_viz.stages.attribution import Split
from gemma_viz.stages.output import Comparison, Predictions, Sharpness
from gemma_viz.stages.sampling import Choice

HARDLY = 0.01  # nats of KL divergence
CLEARLY = 0.5
OUTSIZED = 5  # times the median
COLLAPSED = 0.2  # of the entropy there was
SIMILAR = 0.8  # of it, or its inverse
NO_NUMBERS = "The logits are not all numbers (NaN or infinite), so there is nothing to measure here."


def percent(probability: float) -> str:
    """12.3%, with more digits where it is small.

    >>> percent(0.1234), percent(0.00042)
    ('12.3%', '0.042%')
    """
    if math.isnan(probability):
        return "not a number"
    return f"{probability * 100:.1f}%" if probability >= 0.001 else f"{probability * 100:.2g}%"


def size(number: float) -> str:
    """A length or a count in the shortest exact-enough way: 1,369, 3.42, 1.2e+07 or “not a number”."""
    if not math.isfinite(number):
        return "not a number" if math.isnan(number) else "infinite"
    if abs(number) >= 1e6 or 0 < abs(number) < 1e-3:
        return f"{number:.1e}"
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def tokens(number: float) -> str:
    """How many tokens, in words: 1 token, 2.5 tokens."""
    said = size(number)
    return f"{said} token" if said == "1" else f"{said} tokens"


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
    best = int(values.baseline.argmax())
    name, probability = code(labels[best]), percent(float(values.baseline[best]))
    if not values.is_finite:
        return (
            f"Without {without} the numbers run out of range: the logits are no longer numbers (NaN or infinite), so "
            f"there is no prediction at all. With the step, {name} is the likeliest next token with {probability}."
        )
    edited = int(values.edited.argmax())
    now = percent(float(values.edited[edited]))
    if edited == best:
        changed = f"The likeliest next token stays {name}: {probability} with the step, {now} without."
    else:
        left = percent(float(values.edited[best]))
        changed = (
            f"The likeliest next token changes from {name} ({probability}) to {code(labels[edited])} ({now}); "
            f"{name} is left with {left}."
        )
    divergence = values.kl_divergence
    if divergence < HARDLY:
        verdict = "hardly changes: on this prompt the model does without the step"
    elif divergence < CLEARLY:
        verdict = "changes somewhat"
    else:
        verdict = "changes strongly"
    return f"{changed} The whole distribution {verdict} (KL divergence {size(divergence)} nats)."


def mean_surprise(values: Predictions, labels: Sequence[str]) -> str:
    """How well the model foresaw the prompt, in Markdown. labels: of all tokens."""
    if not len(values.surprise):
        return "This prompt is a single token: nothing comes before it, so nothing in it was predicted."
    if not math.isfinite(values.loss):
        return NO_NUMBERS
    worst = int(values.surprise.argmax()) + 1
    return (
        f"The surprise at a token that came is −ln of the probability it was given. Over the {len(values.surprise):,} "
        f"tokens after the first its mean, the *loss* that training makes small, is **{values.loss:.2f} nats** "
        f"({values.loss / math.log(2):.2f} bits). The *perplexity*, e to that power, is **{size(values.perplexity)}**: "
        f"on average as uncertain as an even choice among that many tokens. Least expected was "
        f"{code(labels[worst])} (token {worst}) with {percent(float(values.actual_probability[worst - 1]))}."
    )


def without_the_final_norm(normed: Sharpness, unnormed: Sharpness, labels: Sequence[str]) -> str:
    """What the final norm does to the spread of the distribution, in Markdown.

    labels: of the likeliest token with the norm, and without it
    """
    if not math.isfinite(normed.entropy):
        return NO_NUMBERS
    said = (
        f"As it is, the distribution has an entropy of **{size(normed.entropy)} nats**, that of an even choice among "
        f"{tokens(math.exp(normed.entropy))}."
    )
    if not math.isfinite(unnormed.entropy):
        return f"{said} Without the final norm the logits would not all be numbers, and there would be no distribution."
    if unnormed.entropy < COLLAPSED * normed.entropy:
        verdict = "it would collapse"
    elif unnormed.entropy < SIMILAR * normed.entropy:
        verdict = "it would be sharper"
    elif unnormed.entropy <= normed.entropy / SIMILAR:
        verdict = "it would be about as even"
    else:
        verdict = "it would be flatter"
    same = "still " if labels[0] == labels[1] else ""
    return (
        f"{said} Without the final norm {verdict}: **{size(unnormed.entropy)} nats** "
        f"({tokens(math.exp(unnormed.entropy))}), and the likeliest token would {same}be {code(labels[1])} with "
        f"{percent(unnormed.probability)} instead of {code(labels[0])} with {percent(normed.probability)}."
    )


def what_was_drawn(values: Choice, labels: Sequence[str], seed: int) -> str:
    """Which token is chosen and why, in Markdown. labels: of the tokens in `values`."""
    chosen = code(labels[values.chosen])
    if values.steps[-1] == "greedy":
        return (
            f"At temperature 0 nothing is left to chance: {chosen}, the likeliest, is taken whatever the seed and the "
            "other cuts."
        )
    share = percent(float(values.probabilities[-1][values.chosen]))
    own = percent(float(values.probabilities[0][values.chosen]))
    rank = int((values.probabilities[-1] > values.probabilities[-1][values.chosen]).sum()) + 1
    return (
        f"With seed {seed} the random number is {values.number:.4f}, and the token it falls on is **{chosen}**: rank "
        f"{rank:,} of the {values.candidates[-1]:,} that are left, with {share} (the model itself gave it {own})."
    )


def added_up(values: Split, before_cap: bool, dtype: str) -> str:
    """How near the sum of the parts is to the model's number, in Markdown. dtype: what the model computes in."""
    return (
        f"The {len(values.parts):,} parts add up to **{values.total:.5f}**; the model has **{values.logit:.5f}**"
        + (" before the soft-cap" if before_cap else "")
        + f". The difference, {abs(values.total - values.logit):.1e}, is what rounding in {dtype} leaves."
    )
