"""Sentences made from numbers, so that what a page says is true of what it shows."""

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gemma_viz.numbers import percent as percent
from gemma_viz.stages import Check
from gemma_viz.stages.output import Comparison

HARDLY = 0.01  # nats of KL divergence
CLEARLY = 0.5
OUTSIZED = 5  # times the median
NO_NUMBERS = "The logits are not all numbers (NaN or infinite), so there is nothing to measure here."


def size(number: float) -> str:
    """A length or a count in the shortest exact-enough way: 1,369, 3.42, 1.2e+07 or “not a number”."""
    if not math.isfinite(number):
        return "not a number" if math.isnan(number) else "infinite"
    if abs(number) >= 1e6 or 0 < abs(number) < 1e-3:
        written = f"{number:.1e}"
    else:
        written = f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"
    return re.sub("^-", "−", written)


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


def what_rms_norm_does(d_model: int, name: str = "RMSNorm") -> str:
    """In plain words, in Markdown. name: Markdown that says RMSNorm"""
    return (
        f"The RMS of a vector is the root of the mean of its squared numbers: their usual size. {name} divides the "
        f"vector [{d_model:,}] by its RMS, then multiplies each number with a factor that was learned for its place. "
        "Gemma stores such a factor as what is added to 1, so a stored 0 changes nothing."
    )


def where_it_falls(scale: NDArray[np.float32]) -> str:
    """Which layers make a stream smaller.

    scale: [n_layers + 1], its RMS before the first layer and after each
    """
    if not np.isfinite(scale).all():
        return "On its way it runs out of range."
    falls = [str(layer) for layer in np.flatnonzero(np.diff(scale) < 0)]
    if not falls:
        return "No layer as a whole makes it smaller."
    if len(falls) == len(scale) - 1:
        return "Every layer makes it smaller."
    return f"It falls in {named('layer', falls)}, and in no other."


def counted(number: int, what: str) -> str:
    """So many of something.

    >>> counted(1, "token"), counted(2000, "token")
    ('1 token', '2,000 tokens')
    """
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def leads(leads_from: int, n_layers: int) -> str:
    """From which depth on the final answer is the likeliest one."""
    if leads_from == 0:
        return "is the likeliest at every depth"
    if leads_from == n_layers:
        return f"is the likeliest only at the end, after all {n_layers} layers"
    return f"leads for good from depth {leads_from} of {n_layers} on"


def how_close(check: Check, is_changed: bool) -> str:
    """How far the lines of a step are from what the model has there, in Markdown.

    is_changed: whether the run is of a changed model
    """
    if check.largest_difference == 0:
        return "exactly what the model itself has there"
    apart = (
        f"up to a largest difference of **{check.largest_difference:.1e}** (the largest value is "
        f"{size(check.largest_value)})"
    )
    if is_changed:
        return f"what this changed model has there {apart}: the lines are those of the model as it was trained"
    return f"the model's own value {apart}"


def into_bytes(n_bytes: int, n_tokens: int) -> str:
    """How long a text would be that is cut into single bytes. n_tokens: as it is cut"""
    if n_bytes == n_tokens:
        return "most texts would be several times as long, though this one would not"
    return f"this prompt would be {counted(n_bytes, 'position')} long instead of {n_tokens:,}"


def scales_at_the_end(values: Comparison, position: int) -> str:
    """What both runs give the final norm, or the empty text where that is the same."""
    with_step, without_step = size(values.baseline_scale), size(values.edited_scale)
    if with_step == without_step:
        return ""
    return (
        f"After token {position}. The stream that reaches the final norm has an RMS of {with_step} with the step; "
        f"without it, {without_step}."
    )


def named(what: str, names: Sequence[str]) -> str:
    """Some things by name; the empty text for none.

    >>> named("layer", ["3", "7", "8"])
    'layers 3, 7 and 8'
    """
    if len(names) < 2:
        return f"{what} {names[0]}" if names else ""
    return f"{what}s {', '.join(names[:-1])} and {names[-1]}"


def first_token(stream_rms: NDArray[np.float32], label: str) -> str:
    """Whether the first token's stream stands out, in Markdown. stream_rms: [depth, position]."""
    if stream_rms.shape[1] < 3:
        return ""
    with np.errstate(invalid="ignore"):  # a changed model's stream can run out of range
        ratios = np.nan_to_num(stream_rms[:, 0] / np.median(stream_rms[:, 1:], axis=1), posinf=0)
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
