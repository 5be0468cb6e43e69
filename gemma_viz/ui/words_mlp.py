"""Sentences of the MLP page, made from its numbers."""

from collections.abc import Sequence

import numpy as np

from gemma_viz.stages import Floats
from gemma_viz.stages.mlp_alone import Alone, Slice
from gemma_viz.tokens import visible
from gemma_viz.ui.words import code, counted, size

ROUNDING = 1e-3  # of the largest value: what bfloat16 leaves, the coarsest that models run in
MANY_KINKS = 50  # on a line drawn through 200 points
SPACE_SIGN = visible(" ")
TOKENS_NAMED = 3


def marked(before: str, token: str, after: str) -> str:
    """A token in the text around it, in one line.

    >>> marked("I want", " to", " move")
    'I want« to» move'
    """
    return "".join(visible(part).replace(SPACE_SIGN, " ") for part in (before, f"«{token}»", after))


def what_a_neuron_does(d_model: int) -> str:
    """Gate, up, product and down in plain words, in Markdown. It follows on a sentence about neurons."""
    return (
        f"Each compares the normalised stream [{d_model:,}] with two vectors it has learned. The first product, the "
        "**gate**, says how far the neuron opens: gelu makes nearly 0 of a gate well below 0, and keeps one well above "
        "it. The second, **up**, is what is let through. gelu(gate) × up is the neuron's product; times a third "
        f"learned vector, its column of the **down**-projection, it is added to the update [{d_model:,}]."
    )


def strongest_tokens(act: Floats, labels: Sequence[str], neuron: int) -> str:
    """On which tokens of the prompt a neuron is strongest, in Markdown. act: float32 [position], its products."""
    strongest = np.argsort(-np.abs(act), kind="stable")[:TOKENS_NAMED]
    named = ", ".join(f"{code(labels[i])} (token {i}, product {size(float(act[i]))})" for i in strongest)
    return (
        f"Of the {len(act):,} tokens of this prompt neuron {neuron} is strongest on {named}. Its vector is added there "
        "so many times; a product below 0 turns it around."
        if len(act) > 1
        else f"On the only token of this prompt, {code(labels[0])}, the product of neuron {neuron} is "
        f"{size(float(act[0]))}."
    )


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
    others = f"The output of {counted(n_others, 'other token')} differs."
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
