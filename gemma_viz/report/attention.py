"""Attention, in the walk."""

from gemma_viz.edits import Edits
from gemma_viz.figures import attention as draw
from gemma_viz.figures import head_output as draw_output
from gemma_viz.figures.extremes import extremes as draw_extremes
from gemma_viz.report.blocks import Block, Charts, Heading, Section, Text, left_out, the_code, why
from gemma_viz.report.subject import Subject
from gemma_viz.stages.attention import check_attention, head, query
from gemma_viz.stages.head_output import direct_effect, head_outputs
from gemma_viz.tokens import visible
from gemma_viz.ui import words_attention


def section(subject: Subject) -> Section:
    """What the shown heads read, how they decide, and what they move."""
    spec, cap = subject.spec, subject.cap
    blocks: list[Block] = [
        Text(
            "The only step in which tokens learn of each other. Every head lets each token look through the text, "
            "weigh what it finds, and copy a mixture of it into its own stream. Each token has a query (what it looks "
            "for), a key (what it can be found by) and a value (what is copied). This model has "
            f"{spec.n_layers} layers of {spec.n_heads} heads."
        ),
        Text(words_attention.sharing(spec)),
        *(block for layer, number in subject.places for block in _head(subject, layer, number)),
        Text(words_attention.shapes(spec, len(cap))),
        *the_code(subject, check_attention(cap, subject.layers[0])),
        *why(
            subject,
            "Without attention every token would be alone: what comes next would depend on the last token only.",
            Edits(attention=False),
            "attention in all layers",
        ),
        Heading("The mask"),
        Text(words_attention.mask(cap.rule(subject.layers[0]), len(cap), subject.layers[0])),
        Text(
            "The model learns by predicting every token of a text from those before it, all in one pass. Could a token "
            "see the next one, it would only have to copy it."
        ),
        *left_out(subject, Edits(causal_mask=False), "the mask in all layers"),
    ]
    return Section("attention", "Attention", blocks)


def _head(subject: Subject, layer: int, number: int) -> list[Block]:
    cap, labels, position = subject.cap, subject.labels, subject.position
    values = query(cap, layer, number, position)
    outputs, effect = head_outputs(cap, layer, position), direct_effect(cap, layer, number, position)
    raised, lowered = ([visible(text) for text in texts] for texts in (effect.highest, effect.lowest))
    title = f"Next tokens that layer {layer}, head {number} raises and lowers by itself"
    return [
        Heading(f"Layer {layer}, head {number}"),
        Text(_chosen(subject, layer, number)),
        Charts(
            [draw.pattern(head(cap, layer, number, position), labels, position)],
            f"A query of this layer sees {words_attention.sees(cap.rule(layer))}. A row is one token's attention and "
            "sums to 1; empty is what it may not see.",
        ),
        Text(words_attention.score_in_numbers(values, labels, position, int(values.strongest[0]), subject.spec)),
        Charts([draw.vectors(values, labels, position), draw.products(values, labels, position)]),
        Charts([draw.scores(values, labels), draw.reads(values, labels)]),
        Charts([draw.weighted_values(values, labels)]),
        Text(words_attention.moved(values, labels)),
        Charts([draw_output.weight_and_moved(values, labels), draw_output.by_head(outputs, number)]),
        Text(words_attention.head_output(outputs, layer, number, subject.label, subject.spec)),
        Charts(
            [draw_extremes(effect, raised, lowered, title, "change of the logit")],
            "The head's addition straight to the output projection, compared with the average of all tokens. What "
            "later layers make of it is not in this picture.",
        ),
    ]


def _chosen(subject: Subject, layer: int, number: int) -> str:
    shown = f"How layer {layer}, head {number} reads the prompt for {subject.token}, token {subject.position}."
    if subject.chosen:
        return shown
    return (
        f"{shown} Of all {subject.spec.n_layers * subject.spec.n_heads} heads it is the one that there puts most "
        "weight on other tokens than the first and the token itself, where heads with nothing to look for often rest."
    )
