"""RoPE, in the walk."""

import numpy as np

from gemma_viz.edits import Edits
from gemma_viz.figures import positions as draw_positions
from gemma_viz.figures import rope as draw
from gemma_viz.figures import wavelengths as draw_wavelengths
from gemma_viz.report.blocks import Block, Charts, Heading, Section, Text, the_code, why
from gemma_viz.report.subject import Subject
from gemma_viz.stages.attention import query
from gemma_viz.stages.positions import position_sensitivity
from gemma_viz.stages.rope import check_rope, contributions, rotation, score_by_distance, vectors
from gemma_viz.stages.wavelengths import layer_wavelengths, visible_pair, wavelengths
from gemma_viz.ui import words, words_rope

SHIFT = 100  # tokens


def section(subject: Subject) -> Section:
    """How the first of the shown heads knows where tokens stand."""
    cap, spec, (layer, number) = subject.cap, subject.spec, subject.places[0]
    pair = visible_pair(layer_wavelengths(cap, layer), len(cap))
    hands = rotation(cap, layer, number, pair)
    whole = vectors(cap, layer, number, subject.position)
    blocks: list[Block] = [
        Text(
            "Attention compares queries with keys, and neither says where its token stands. Rotary position embedding "
            "turns them: pairs of components are clock hands, and every position turns each hand a little further. "
            f"In layer {layer} pair {pair} (components {pair} and {pair + spec.d_head // 2}) makes one whole turn in "
            f"{words.size(hands.wavelength)} tokens; at position {subject.position} it is turned by "
            f"{hands.degrees[subject.position]:,.1f}°, in queries and keys alike."
        ),
        Charts(
            [draw.rotation(hands, subject.labels, subject.position)],
            f"Queries of head {number}, and the keys that it reads. Dotted hands are before, solid ones after. Play, "
            "or the slider, moves them from token to token.",
        ),
        Charts(
            [
                draw.query(whole, subject.label),
                draw_wavelengths.wavelengths(wavelengths(cap), len(cap), pair),
            ]
        ),
        *_one_score(subject, layer, number),
        *_all_heads(subject, layer, number),
        *the_code(subject, check_rope(cap, layer)),
        *why(
            subject,
            "Without it a head could not prefer the token just before, nor tell “dog bites man” from “man bites dog” "
            "by their order. The causal mask alone gives a hint: each token sees one more token than the one before "
            "it. How much depends on the prompt.",
            Edits(rope=False),
            "RoPE in all layers",
        ),
    ]
    return Section("rope", "RoPE", blocks)


def _one_score(subject: Subject, layer: int, number: int) -> list[Block]:
    cap, position = subject.cap, subject.position
    key = int(query(cap, layer, number, position).strongest[0])
    key_label = subject.labels[key]
    distance = score_by_distance(cap, layer, number, position, key, SHIFT)
    parts = contributions(cap, layer, number, position, key)
    return [
        Heading("Only the distance counts"),
        Text(words_rope.moved_together(distance, subject.label, key_label)),
        Charts(
            [
                draw.score_by_distance(distance, subject.label, key_label),
                draw.contributions(parts, subject.label, key_label),
            ]
        ),
        Text(words_rope.score_by_pair(parts, position - key)),
    ]


def _all_heads(subject: Subject, layer: int, number: int) -> list[Block]:
    if len(subject.cap) == 1:
        return []
    measured = np.stack([position_sensitivity(subject.cap, i) for i in range(subject.spec.n_layers)])
    return [
        Heading("With and without position"),
        Text(
            "Every head's pattern, compared with the one that its same queries and keys give when they are not turned: "
            "half the sum of absolute differences of the weights, averaged over all tokens but the first. "
            + words_rope.most_and_least_positional(measured)
        ),
        Charts([draw_positions.sensitivity(measured, layer, number)]),
    ]
