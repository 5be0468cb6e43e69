"""Sentences of the RoPE page, made from its numbers."""

import math

import numpy as np
from numpy.typing import NDArray

from gemma_viz.numbers import fixed, head_label, signed
from gemma_viz.stages.positions import ChangedPatterns
from gemma_viz.stages.rope import Contributions, ScoreByDistance
from gemma_viz.ui.words import code, size

SAME_SCORE = 1e-3  # of the score, or of 1
HEADS_NAMED = 3
ROUNDING, VISIBLE = 1e-3, 0.05  # differences of attention weights
FLOAT32_STEP = 2**-24  # largest relative error of rounding to it


def moved_together(values: ScoreByDistance, query: str, key: str) -> str:
    """What becomes of a score when both tokens are moved on, and whether the model has the same, in Markdown.

    query, key: the labels of the two tokens
    """
    difference = abs(values.moved - values.score)
    same = difference <= SAME_SCORE * max(1, abs(values.score))
    why = "turning both hands by the same angle leaves the angle between them"
    if difference == 0:
        verdict = f": {why}"
    else:
        verdict = f", which is rounding: {why}" if same else ", more than rounding should leave"
    return (
        f"At their own places, {values.query} and {values.key}, {code(query)} looks at {code(key)} with a score of "
        f"**{fixed(values.score, 4)}**. Both moved on by {values.shift} tokens, to {values.query + values.shift} and "
        f"{values.key + values.shift}, it is **{fixed(values.moved, 4)}**. The difference is {size(difference)}"
        f"{verdict}. " + models_score(values)
    )


def models_score(values: ScoreByDistance) -> str:
    """How the score at the real distance relates to the model's."""
    said = (
        f"The model's own query and key, as it turned them, give {fixed(values.models, 4)} "
        f"({size(abs(values.models - values.score))} from ours)"
    )
    if not values.visible:
        return f"{said}, but this layer hides that key from this query: it is outside its window."
    if values.capped is not None:
        return (
            f"{said}; the soft-cap then makes it {fixed(values.capped, 4)}. The scores here are those before the cap."
        )
    return f"{said}."


def score_by_pair(values: Contributions, distance: int) -> str:
    """What the parts of a score sum to, and which of them carry it, in Markdown. distance: tokens from key to query."""
    total, largest = float(values.parts.sum()), int(np.abs(values.parts).argmax())
    largest_part = signed(values.parts[largest], 4)
    fast = values.wavelengths <= 2 * distance  # half a turn makes the opposite of what agrees
    n_fast = int(fast.sum())
    split = (
        f"The pairs that make half a turn or more between the two tokens ({n_fast} of them) add "
        f"{signed(values.parts[fast].sum(), 4)}, the slower ones {signed(values.parts[~fast].sum(), 4)}."
        if n_fast
        else "No pair makes half a turn between two tokens that stand so near."
    )
    return (
        f"The {len(values.parts)} parts sum to **{fixed(total, 4)}**; the model's score is {fixed(values.score, 4)} "
        f"({size(abs(total - values.score))} apart). The largest part, {largest_part}, comes from pair "
        f"{largest}, which turns once in {size(values.wavelengths[largest])} tokens. {split}"
    )


def most_and_least_positional(values: NDArray[np.float32]) -> str:
    """Which heads depend on position most and least, in Markdown. values: [layer, head]."""
    if np.isnan(values).all():
        return "A prompt of one token has nothing to compare: its only query can only read itself."
    order = np.argsort(values, axis=None)
    named = [
        ", ".join(
            f"{head_label(layer, head)} ({fixed(float(values[layer, head]), 3)})"
            for layer, head in (np.unravel_index(place, values.shape) for place in places)
        )
        for places in (order[::-1][:HEADS_NAMED], order[:HEADS_NAMED])
    ]
    return f"Most depend on position on this prompt: {named[0]}. Least: {named[1]}."


def patterns_moved(values: ChangedPatterns, layer: int, head: int, change: str) -> str:
    """How far the patterns of a layer move in a run with other positions, in Markdown. change: completes "with …"."""
    moved, which = float(values.largest.max()), int(values.largest.argmax())
    if moved == 0:
        return f"With {change}, every weight of layer {layer} stays what it is."
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
