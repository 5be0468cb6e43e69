"""Embedding, in the walk."""

import plotly.graph_objects as go

from gemma_viz.edits import Edits
from gemma_viz.figures import embedding as draw
from gemma_viz.report.blocks import Block, Charts, Heading, Section, Text, the_code, why
from gemma_viz.report.subject import Subject
from gemma_viz.stages.embedding import (
    ARTICLE_WORDS,
    Embedding,
    check_embed,
    embedding,
    nearest,
    row_norms,
    word_similarity,
)
from gemma_viz.tokens import visible
from gemma_viz.ui import words


def section(subject: Subject) -> Section:
    """One vector for each token, and its rescaling."""
    cap, spec, position = subject.cap, subject.spec, subject.position
    values = embedding(cap)
    neighbours = nearest(cap, position)
    labels = [visible(text) for text in neighbours.texts]
    blocks: list[Block] = [
        Text(
            f"Each id picks one row of a table of {spec.vocab_size:,} rows: {spec.d_model:,} numbers that the model "
            f"has learned for this piece of text. The ids [{len(cap)}] become vectors [{len(cap)} × {spec.d_model:,}]. "
            f"The row of {subject.token} has a length of {words.size(values.raw_norm[position])}; it enters the "
            f"residual stream with a length of {words.size(values.scaled_norm[position])}."
        ),
        Charts([draw.rows(values, subject.labels, position)]),
        Charts(
            [
                draw.norms(values, subject.labels, position),
                draw.row_norms(row_norms(cap.model), float(values.raw_norm[position]), subject.label),
            ]
        ),
        Heading("Which rows point the same way"),
        Text(
            "Nobody tells the table what words mean. That rows of related entries point in similar directions is what "
            f"training has left there. The nearest to {subject.token} is {words.code(labels[0])}."
        ),
        Charts([draw.nearest(neighbours, subject.label, labels), *_words(subject)]),
        *the_code(subject, check_embed(cap)),
        *_why(subject, values),
    ]
    return Section("embedding", "Embedding", blocks)


def _words(subject: Subject) -> list[go.Figure]:
    groups = tuple(tuple(line.split()) for line in ARTICLE_WORDS.splitlines())
    similar = word_similarity(subject.cap.model, groups)
    return [draw.similarity(similar)] if len(similar.words) > 1 else []


def _why(subject: Subject, values: Embedding) -> list[Block]:
    raw, scaled = values.raw_norm[subject.position], values.scaled_norm[subject.position]
    update = values.attention_norm[subject.position]
    return why(
        subject,
        "What a layer adds has a size of its own, whatever the row's: the larger it is beside the row, the less of the "
        f"token itself is left in the stream. The first attention adds to {subject.token} a vector of length "
        f"{words.size(update)}: {words.size(update / scaled)} times the length of "
        f"what entered, and {words.size(update / raw)} times that of the row as it is stored.",
        Edits(embedding_scale=False),
        f"the rescaling by √{subject.spec.d_model:,}",
    )
