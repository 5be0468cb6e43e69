"""Sentences made from numbers, so that what a page says is true of what it shows."""

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gemma_viz.stages.mlp_alone import Alone, Slice
from gemma_viz.stages.output import Comparison
from gemma_viz.tokens import visible

HARDLY = 0.01  # nats of KL divergence
CLEARLY = 0.5
OUTSIZED = 5  # times the median
ROUNDING = 1e-3  # of the largest value: what bfloat16 leaves, the coarsest that models run in
MANY_KINKS = 50  # on a line drawn through 200 points
SPACE_SIGN = visible(" ")


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


def marked(before: str, token: str, after: str) -> str:
    """A token in the text around it, in one line.

    >>> marked("I want", " to", " move")
    'I want« to» move'
    """
    return "".join(visible(part).replace(SPACE_SIGN, " ") for part in (before, f"«{token}»", after))


def by_itself(values: Alone, label: str) -> str:
    """Whether a token's MLP output depends on the tokens around it, in Markdown."""
    n_others = int((values.output_change > 0).sum()) - (values.own_difference > 0)
    if values.own_difference == 0:
        own = "is the same in every bit: the largest difference is **0**"
    elif values.own_difference <= ROUNDING * values.largest_output:
        own = (
            f"is the same up to rounding: the largest difference is **{size(values.own_difference)}**, the largest "
            f"value {size(values.largest_output)}"
        )
    else:
        own = f"differs, by **{size(values.own_difference)}** at most"
    if values.alone_difference == 0:
        alone = "in every bit"
    else:
        alone = f"up to {size(values.alone_difference)}, which is rounding"
        if values.alone_difference > ROUNDING * values.largest_output:
            alone = f"up to {size(values.alone_difference)}"
    others = f"The output of {n_others} other token{'s' if n_others > 1 else ''} differs."
    return (
        f"The MLP’s output for {code(label)} {own}. {others if n_others else 'No other output differs either.'} Given "
        f"to the MLP without any other token, {code(label)} gets this output too, {alone}."
    )


def through_attention(values: Alone, label: str) -> str:
    """How much the changed token has reached the token's input on other ways than the MLP, in Markdown."""
    if values.whole_run_change == 0:
        return f"In the changed run as a whole the input of {code(label)} is the same too: it cannot see that token."
    return (
        f"In the changed run as a whole the input of {code(label)} is not the same: it differs by an RMS of "
        f"{size(values.whole_run_change)}, where the input’s own is {size(values.input_rms)}. Attention has carried "
        "that over; the MLP never does."
    )


def on_the_way(values: Slice, n_neurons: int) -> str:
    """What the straight line between two inputs meets, in Markdown."""
    n = values.n_crossings
    if not n:
        return f"None of the {n_neurons:,} gates changes its sign on the way, so ReLU would make no kink either."
    gates = "1 gate changes its sign" if n == 1 else f"{n:,} of the {n_neurons:,} gates change their sign"
    kinks = (
        f"With ReLU that would be {n:,} kinks: too many for the eye in the sum of all neurons (right), one in neuron "
        f"{values.neuron} (left)."
        if n >= MANY_KINKS
        else "With ReLU each is a kink."
    )
    return f"**{gates}** on the way. {kinks} With GELU there is none."


def toy_regions(kind: str, n_neurons: int, n_regions: int) -> str:
    """What the toy does within a region and at its border, in Markdown."""
    if kind == "linear":
        return "A sum of linear functions is one linear function: however many neurons, the whole plane is one region."
    within, border = {
        "ReLU": ("flat", "the slope changes"),
        "ReGLU": ("a quadratic function (a product of two linear ones, summed)", "the slope changes"),
        "GeGLU": ("nearly a quadratic function", "it passes smoothly into the next"),
    }[kind]
    lines = f"The {n_neurons} lines where a gate is 0 cut the square into **{n_regions} regions**."
    return f"{lines} Within each the output is {within}; at a border {border}."


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
