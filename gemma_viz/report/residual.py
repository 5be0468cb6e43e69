"""Residual stream and norms, in the walk."""

from gemma_viz.edits import Edits
from gemma_viz.errors import EditsError
from gemma_viz.figures import residual as draw
from gemma_viz.report.blocks import Block, Charts, Heading, Section, Table, Text, the_code, why
from gemma_viz.report.subject import Subject
from gemma_viz.stages.residual import (
    check_rms_norm,
    layer_scales,
    lens,
    norm_in_numbers,
    residual,
    stream_scales,
)
from gemma_viz.tokens import visible
from gemma_viz.ui import words

PLACE = "before attention"
COMPONENTS_SHOWN = 6
WITHOUT_NORMS, NORMS = Edits(norms=False), "all norms of the layers"


def section(subject: Subject) -> Section:
    """The stream, what is added to it, and what the norms divide by."""
    cap, spec, position, layer = subject.cap, subject.spec, subject.position, subject.layers[0]
    values = residual([layer_scales(cap, i) for i in range(spec.n_layers)], spec)
    scale = values.stream_rms[:, position]
    blocks: list[Block] = [
        Text(
            "Every token has one vector that runs through all layers, the residual stream. Attention and MLP never "
            "replace it: each reads a normalised copy and adds its result. The stream of "
            f"{subject.token} starts with an RMS (root of the mean square of its {spec.d_model:,} numbers) of "
            f"{words.size(scale[0])} and leaves layer {spec.n_layers - 1} with {words.size(scale[-1])}."
        ),
        Charts([draw.scale(values, subject.labels, position)], words.first_token(values.stream_rms, subject.labels[0])),
        Charts(
            [draw.share(values, subject.label, position), draw.cosine(values, subject.label, position)],
            "A share of 0: the update hardly changes the stream; 1: it swamps it; at 0.71 both are equally large. A "
            "cosine above 0: the update adds to the direction that the stream has; below 0 it takes away from it.",
        ),
        *_on_its_way(subject),
        Heading("RMSNorm"),
        Text(
            f"{words.what_rms_norm_does(spec.d_model)} That is done before a sublayer reads the stream: whatever the "
            "stream's scale, what is read has one size."
            + (" In this model the sublayers' results are normalised too, before they are added." * spec.post_norms)
        ),
        Charts([draw.divisor(values, subject.label, position)]),
        _in_numbers(subject, layer),
        *the_code(subject, check_rms_norm(cap, layer)),
        *why(
            subject,
            "Every sublayer was trained on inputs of one size. Without the norms a large input makes a large update, "
            "and that a larger input for the next sublayer.",
            WITHOUT_NORMS,
            NORMS,
        ),
        *_how_far(subject),
    ]
    return Section("residual", "Residual stream and norms", blocks)


def _on_its_way(subject: Subject) -> list[Block]:
    if not subject.has_prediction:
        return [Text(words.NO_NUMBERS)]
    seen = lens(subject.cap, subject.position)
    labels = [[visible(text) for text in row] for row in seen.texts]
    answer = labels[-1][0]
    return [
        Heading("One token on its way"),
        Text(
            f"If the stream of {subject.token} went to the output from an earlier depth, this is what would be "
            f"predicted (the “logit lens”). The final answer {words.code(answer)} "
            f"{words.leads(seen.leads_from, subject.spec.n_layers)}."
        ),
        Charts([draw.lens(seen, labels), draw.followed(seen, answer)]),
    ]


def _in_numbers(subject: Subject, layer: int) -> Table:
    norm = norm_in_numbers(subject.cap, layer, PLACE, subject.position)
    first = slice(COMPONENTS_SHOWN)
    rows = [
        [f"{i}", *(f"{number:,.3f}" for number in numbers)]
        for i, numbers in enumerate(
            zip(norm.x[first], norm.x[first] / norm.rms, 1 + norm.weight[first], norm.normed[first], strict=True)
        )
    ]
    return Table(
        ("component", "given", f"÷ {words.size(norm.rms)}", "× factor", "the model has"),
        rows,
        f"The norm {PLACE} of layer {layer} on {subject.token}, the first {len(rows)} of {len(norm.x):,} components.",
    )


def _how_far(subject: Subject) -> list[Block]:
    try:
        without = stream_scales(subject.rerun(WITHOUT_NORMS), subject.position)
    except EditsError:
        return []  # `why` has said so
    with_norms = stream_scales(subject.cap, subject.position)
    return [
        Charts(
            [draw.both_runs(with_norms, without, subject.label, f"without {NORMS}")],
            words.how_far_the_stream_goes(with_norms, without, NORMS),
        )
    ]
