"""Sentences of the Compare page, made from its numbers."""

import math
from collections.abc import Sequence

import numpy as np

from gemma_viz.numbers import head_label
from gemma_viz.spec import ModelSpec
from gemma_viz.stages import Floats
from gemma_viz.stages.comparison import Aligned, Outputs, Streams
from gemma_viz.stages.residual import Lens
from gemma_viz.tokens import visible
from gemma_viz.ui.words import NO_NUMBERS, code, literal, percent, pieces, size

ALIKE = 0.999  # cosine
SAME_PATTERN = 1e-4  # total variation, more than rounding leaves
HEADS_NAMED = 3

Names = tuple[str, str]


def aligned(values: Aligned, labels: tuple[Sequence[str], Sequence[str]], names: Names) -> str:
    """How many tokens are the same, and which is the first that is not, in Markdown. labels: of all tokens of both."""
    n_same = sum(column.same for column in values.columns)
    counts = (
        f"{len(labels[0]):,} tokens in {literal(names[0])} (above), {len(labels[1]):,} in {literal(names[1])} (below)"
    )
    different = next((column for column in values.columns if not column.same), None)
    if different is None:
        return f"{counts}: all are the same."
    one, other = (
        pieces([side[position] for position in positions]) if positions else "no token"
        for side, positions in zip(labels, (different.left, different.right), strict=True)
    )
    return (
        f"{counts}. In **{n_same:,} of {len(values.columns):,} places** both have the same. The first difference is "
        f"{one} above {other}."
    )


def streams_part(values: Streams, labels: Sequence[str], selected: int | None) -> str:
    """Where two runs' streams part, in Markdown. labels: of the pairs; selected: a pair."""
    if not np.isfinite(values.cosine).any():
        return "There is no place where both streams are numbers, so there is nothing to compare."
    lowest = np.nanmin(np.where(np.isnan(values.cosine), np.inf, values.cosine), axis=0)  # [pair]
    apart = np.flatnonzero(lowest < ALIKE)
    n_alike = len(labels) - len(apart)
    broken = int(np.isnan(values.cosine).sum())
    said = [
        f"At **{n_alike:,} of {len(labels):,}** tokens the streams are alike at every depth (cosine {ALIKE} or more)."
    ]
    if len(apart):
        first = int(apart[0])
        depth = _parts_at(values.cosine[:, first])
        cosine = values.cosine[depth, first]
        said.append(f"The first that parts is {code(labels[first])}, at depth {depth} (cosine {cosine:.3f}).")
        deepest, pair = divmod(int(np.nanargmin(values.cosine)), len(labels))
        cosine = values.cosine[deepest, pair]
        if (deepest, pair) == (depth, first):
            said.append("Nowhere else are two streams further apart.")
        else:
            said.append(f"Furthest apart are those of {code(labels[pair])}, at depth {deepest} ({cosine:.3f}).")
    if selected is not None and selected in apart:
        said.append(_selected_stream(values, labels[selected], selected))
    if broken:
        said.append(f"At {broken:,} places a stream is not a number (infinite or NaN); they are left empty.")
    return " ".join(said)


def _selected_stream(values: Streams, label: str, pair: int) -> str:
    line = values.cosine[:, pair]
    start, deepest = _parts_at(line), int(np.nanargmin(line))
    before = f"alike before depth {start}" if start else "apart from the start"
    compared = values.between_tokens[deepest]
    return (
        f"At the selected token, {code(label)}, they are {before}, and furthest apart at depth {deepest} "
        f"(cosine {line[deepest]:.3f}"
        + (f"; two different tokens of one run have {compared:.3f} there" if math.isfinite(compared) else "")
        + f"); at the end it is {line[-1]:.3f}."
    )


def _parts_at(line: Floats) -> int:
    return int(np.flatnonzero(line < ALIKE)[0])


def two_models(left: ModelSpec, right: ModelSpec) -> str:
    """Why the insides of two models are not compared number by number, in Markdown."""
    return (
        "The streams of two models cannot be compared number by number: each has learned what its own directions mean"
        + (
            "."
            if left.d_model == right.d_model
            else f", and here they do not even have as many ({left.d_model:,} and {right.d_model:,})."
        )
        + " What can be compared is how far along its layers each has its answer."
    )


def two_models_heads(left: ModelSpec, right: ModelSpec) -> str:
    """Why heads of two models are not paired, in Markdown."""
    return (
        f"Heads of two models cannot be paired: one model has {left.n_layers} layers of {left.n_heads} heads, the "
        f"other {right.n_layers} of {right.n_heads}, and nothing makes two of the same number do the same. The "
        "Attention page shows the heads of each."
    )


def favoured(values: tuple[Lens, Lens], labels: Names, names: Names) -> str:
    """How the tokens that each run favours most over the other come up, in Markdown. labels: of the two tokens."""
    risen = (
        f"{code(label)} in {literal(name)}, {_rise(lens.target_probabilities)}"
        for lens, label, name in zip(values, labels, names, strict=True)
    )
    return f"What each favours most over the other: {'; '.join(risen)}."


def _rise(probabilities: Floats) -> str:
    highest = int(probabilities.argmax())
    said = f"with {percent(float(probabilities[-1]))} at the end"
    if highest == len(probabilities) - 1:
        return f"{said}, its highest"
    return f"{said} and {percent(float(probabilities[highest]))} at its highest, at depth {highest}"


def decided(values: tuple[Lens, Lens], labels: Names, names: Names) -> str:
    """From which depth on each run's answer leads, in Markdown. labels: of the answers."""
    return " ".join(
        f"The answer of {literal(name)} is {code(answer)}; " + _leads(lens)
        for lens, answer, name in zip(values, labels, names, strict=True)
    )


def _leads(values: Lens) -> str:
    n_layers = len(values.target_probabilities) - 1
    if not math.isfinite(values.target_probabilities[-1]):
        return "but its logits are not numbers."
    if values.leads_from == 0:
        return "read off the stream it is the likeliest from the embedding on."
    if values.leads_from == n_layers:
        return f"read off the stream it is the likeliest only after the last of {n_layers} layers."
    return (
        f"read off the stream it is the likeliest from depth **{values.leads_from} of {n_layers}** on "
        f"({values.leads_from / n_layers:.0%} of the layers)."
    )


def heads_differ(values: Floats) -> str:
    """Which heads differ most, in Markdown. values: [layer, head], distances."""
    if not np.isfinite(values).any():
        return "No head has patterns that are numbers in both runs, so there is nothing to compare."
    if np.nanmax(values) < SAME_PATTERN:
        return "Every head has the same pattern in both runs."
    order = np.argsort(np.where(np.isnan(values), -np.inf, values), axis=None)[::-1][:HEADS_NAMED]
    places = (np.unravel_index(place, values.shape) for place in order)
    named = ", ".join(f"{head_label(layer, head)} ({values[layer, head]:.3f})" for layer, head in places)
    return f"Most differ: {named}. The median of all heads is {np.nanmedian(values):.3f}."


def outputs_differ(values: Outputs, names: Names, after: Names) -> str:
    """What two runs predict, and how far apart that is, in Markdown. after: the labels of the two tokens."""
    one, other = map(literal, names)
    broken = [name for name, finite in zip((one, other), values.is_finite, strict=True) if not finite]
    if broken:
        return f"In {' and '.join(broken)}: {NO_NUMBERS[0].lower()}{NO_NUMBERS[1:]}"
    place = f"After {code(after[0])}" + ("" if after[0] == after[1] else f" and after {code(after[1])}")
    shares = values.likeliest.left, values.likeliest.right
    best = [int(np.nanargmax(side)) for side in shares]
    answers = [code(visible(values.likeliest.texts[i])) for i in best]
    chances = [percent(float(side[i])) for side, i in zip(shares, best, strict=True)]
    if best[0] == best[1]:
        said = f"{place} both rank {answers[0]} highest: {chances[0]} in {one}, {chances[1]} in {other}."
    else:
        said = (
            f"{place}, {answers[0]} is the likeliest in {one} ({chances[0]}), {answers[1]} in {other} ({chances[1]})."
        )
    return (
        f"{said} KL divergence: **{size(values.left_from_right)} nats** of {one} from {other}, "
        f"**{size(values.right_from_left)} nats** of {other} from {one}."
    )


def vocabularies(values: Outputs, names: Names) -> str:
    """What only one of two vocabularies has, in Markdown; empty where they are one."""
    if values.n_own == (0, 0):
        return ""
    own = (
        f"{n:,} only in that of {literal(name)} (together {percent(share)} of its probability)"
        for name, n, share in zip(names, values.n_own, values.own, strict=True)
        if n
    )
    return (
        f"Tokens are compared by their text. {values.n_shared:,} entries are in both vocabularies, "
        f"{', '.join(own)}. The divergences are over the entries that both have, each made to sum to 1."
    )


def no_partner(label: str, names: Names) -> str:
    """That a token has nothing to be compared with, in Markdown."""
    return (
        f"In {literal(names[1])} no token ends where {code(label)} does in {literal(names[0])}. Select another token "
        "to compare what follows."
    )
