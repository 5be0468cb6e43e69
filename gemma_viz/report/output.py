"""Output, in the walk."""

from gemma_viz.edits import Edits
from gemma_viz.figures import attribution as draw_attribution
from gemma_viz.figures import output as draw
from gemma_viz.numbers import fixed
from gemma_viz.report.blocks import Block, Charts, Heading, Section, Text, the_code, why
from gemma_viz.report.subject import Subject
from gemma_viz.stages.attribution import additions, split
from gemma_viz.stages.output import both_ends, check_unembed, final_norm, predictions, sharpness, soft_cap
from gemma_viz.tokens import visible
from gemma_viz.ui import words, words_output


def section(subject: Subject) -> Section:
    """From the stream to the next token."""
    spec = subject.spec
    intro = Text(
        "The stream is normalised a last time and compared with a vector for every entry of the vocabulary. The "
        f"{spec.vocab_size:,} products are the logits; a softmax makes probabilities of them."
    )
    if not subject.has_prediction:
        return Section("output", "Output", [intro, Text(words.NO_NUMBERS)])
    scales = final_norm(subject.cap)
    blocks: list[Block] = [
        intro,
        *_predictions(subject),
        Heading("The final norm and the projection"),
        Charts([draw.norms(scales, subject.labels, subject.position)]),
        *_projection(subject),
        *_parts(subject),
        *the_code(subject, check_unembed(subject.cap, subject.position)),
        *why(
            subject,
            words_output.why_a_final_norm(
                subject.token, scales.before[subject.position], scales.after[subject.position]
            ),
            Edits(final_norm=False),
            "the final norm",
        ),
    ]
    return Section("output", "Output", blocks)


def _predictions(subject: Subject) -> list[Block]:
    values, here = predictions(subject.cap), subject.position
    labels = [[visible(text) for text in row] for row in values.texts]
    return [
        Text(
            f"The model predicts after every token, not only after the last. After {subject.token} the likeliest is "
            f"{words.code(labels[here][0])} with {words.percent(float(values.probabilities[here, 0]))}."
        ),
        Charts([draw.along_prompt(values, labels, subject.labels, here)]),
        Charts(
            [
                draw.next_tokens(labels[here], values.probabilities[here], values.logits[here]),
                *([draw.surprise(values, subject.labels, here)] if len(subject.labels) > 1 else []),
            ]
        ),
        Text(words_output.mean_surprise(values, subject.labels)),
    ]


def _projection(subject: Subject) -> list[Block]:
    cap, spec = subject.cap, subject.spec
    normed, unnormed = sharpness(cap, subject.position)
    best = cap.top_k(1, subject.position)
    ends = both_ends(cap, subject.position, best.ids[0])
    name = words.code(visible(best.texts[0]))
    matrix = "The embedding table is used once more" if ends.is_one_row else "A matrix of its own stands at this end"
    blocks: list[Block] = [
        Text(
            words_output.without_the_final_norm(
                normed, unnormed, [visible(normed.likeliest), visible(unnormed.likeliest)]
            )
        ),
        Text(
            f"{matrix}: the row of {name} times the normed stream of {subject.token}, component by component, and "
            f"summed, is **{fixed(ends.product, 5)}**; the model has **{fixed(ends.logit, 5)}**"
            + (" before the soft-cap." if spec.final_softcap else ".")
        ),
    ]
    capped = soft_cap(cap, subject.position)
    return [*blocks, Charts([draw.soft_cap(capped)])] if capped else blocks


def _parts(subject: Subject) -> list[Block]:
    cap, spec, position = subject.cap, subject.spec, subject.position
    best = cap.top_k(1, position)
    name = visible(best.texts[0])
    added = [additions(cap, layer, [position])[0] for layer in range(spec.n_layers)]
    values = split(cap, position, added, best.ids[0])
    if not values.is_finite:
        return [Text(words.NO_NUMBERS)]
    dtype = str(cap.model.dtype).removeprefix("torch.")
    return [
        Heading("Where a logit comes from"),
        Text(
            f"The stream is a sum: the embedding, and what each head and each MLP has added. With the final norm's "
            f"divisor held at what it is here, the logit of {words.code(name)} is a sum over the same parts. "
            + words_output.added_up(values, spec.final_softcap is not None, dtype)
        ),
        Charts(
            [
                draw_attribution.largest_parts(values, f"the logit of {name}"),
                draw_attribution.parts_map(values, f"the logit of {name}"),
            ],
            "This is the direct path only: what a later layer read of a part and turned into something else counts as "
            "that layer's.",
        ),
    ]
