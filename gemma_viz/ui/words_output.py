"""Sentences of the output page, made from its numbers."""

import math
from collections.abc import Sequence

from gemma_viz.numbers import fixed
from gemma_viz.stages.attribution import Split
from gemma_viz.stages.output import Predictions, Sharpness
from gemma_viz.stages.sampling import Choice
from gemma_viz.ui.words import NO_NUMBERS, code, counted, percent, size

COLLAPSED = 0.2  # of the entropy there was
SIMILAR = 0.8  # of it, or its inverse


def mean_surprise(values: Predictions, labels: Sequence[str]) -> str:
    """How well the model foresaw the prompt, in Markdown. labels: of all tokens."""
    if not len(values.surprise):
        return "This prompt is a single token: nothing comes before it, so nothing in it was predicted."
    if not math.isfinite(values.loss):
        return NO_NUMBERS
    worst = int(values.surprise.argmax()) + 1
    return (
        f"The surprise at a token that came is −ln of the probability it was given. Over the "
        f"{counted(len(values.surprise), 'token')} after the first its mean, the *loss* that training makes small, is "
        f"**{values.loss:.2f} nats** "
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
        f"As it is, the distribution has an entropy of **{_nats(normed.entropy)}**, that of an even choice among "
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
        f"{said} Without the final norm {verdict}: **{_nats(unnormed.entropy)}** "
        f"({tokens(math.exp(unnormed.entropy))}), and the likeliest token would {same}be {code(labels[1])} with "
        f"{percent(unnormed.probability)} instead of {code(labels[0])} with {percent(normed.probability)}."
    )


def why_a_final_norm(token: str, before: float, after: float) -> str:
    """What it is good for. token: as Markdown; before, after: the RMS of its stream."""
    return (
        f"The layers change the stream's size: that of {token} leaves the last one with an RMS of {size(before)}; "
        f"after the norm it is {size(after)}. Logits grow with it, and a softmax over large logits gives nearly "
        "everything to one token, whether or not it is the right one."
    )


def what_was_drawn(values: Choice, labels: Sequence[str], seed: int) -> str:
    """Which token is chosen and why, in Markdown. labels: of the tokens in `values`."""
    chosen = code(labels[values.chosen])
    if values.steps[-1] == "greedy":
        return (
            f"At temperature 0 nothing is left to chance: {chosen}, the likeliest, is taken whatever the seed and the "
            "other cuts."
        )
    if values.candidates[-1] == 1:
        return f"The settings leave a single token, **{chosen}**, so it is taken whatever the seed."
    share = percent(float(values.probabilities[-1][values.chosen]))
    own = percent(float(values.probabilities[0][values.chosen]))
    rank = int((values.probabilities[-1] > values.probabilities[-1][values.chosen]).sum()) + 1
    return (
        f"With seed {seed} the random number is {values.number:.4f}, and the token it falls on is **{chosen}**: rank "
        f"{rank:,} of the {values.candidates[-1]:,} that are left, with {share} (the model itself gave it {own})."
    )


def added_up(values: Split, before_cap: bool, dtype: str) -> str:
    """How near the sum of the parts is to the model's number, in Markdown. dtype: what the model computes in."""
    cause = f"is what rounding in {dtype} leaves" if values.is_sum else "is there because not every part is added"
    return (
        f"The {len(values.parts):,} parts add up to **{fixed(values.total, 5)}**; the model has "
        f"**{fixed(values.logit, 5)}**"
        + (" before the soft-cap" if before_cap else "")
        + f". The difference, {abs(values.total - values.logit):.1e}, {cause}."
    )


def _nats(entropy: float) -> str:
    return "less than 0.001 nats" if 0 < entropy < 0.001 else f"{size(entropy)} nats"


def tokens(number: float) -> str:
    """How many tokens, of a number that need not be whole: 1 token, 2.5 tokens."""
    said = size(number)
    return f"{said} token" if said == "1" else f"{said} tokens"
