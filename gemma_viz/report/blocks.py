"""What a section of the walk is made of. All texts are Markdown as the sentences of `gemma_viz.ui.words` are."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import plotly.graph_objects as go

from gemma_viz.edits import Edits
from gemma_viz.errors import EditsError
from gemma_viz.figures import output as draw
from gemma_viz.report.subject import Subject
from gemma_viz.stages import Check
from gemma_viz.stages.output import Comparison, compare
from gemma_viz.tokens import visible
from gemma_viz.ui import words


@dataclass(frozen=True)
class Heading:
    """A title inside a section, plain text."""

    kind: ClassVar[str] = "heading"
    title: str


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    markdown: str


@dataclass(frozen=True)
class Charts:
    """Figures side by side where there is room, and what is said below them."""

    kind: ClassVar[str] = "charts"
    figures: Sequence[go.Figure]
    caption: str = ""


@dataclass(frozen=True)
class Table:
    """columns: plain text; rows: Markdown of each cell"""

    kind: ClassVar[str] = "table"
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True)
class Code:
    """source: Python as it ran; verdict: what came of it"""

    kind: ClassVar[str] = "code"
    source: str
    verdict: str


Block = Heading | Text | Charts | Table | Code


@dataclass(frozen=True)
class Section:
    """One stage of the walk. name: of its module, and of its place in the document; title: plain text"""

    name: str
    title: str
    blocks: Sequence[Block] = field(default_factory=list)


def the_code(subject: Subject, check: Check) -> list[Block]:
    """The lines of PyTorch behind a step, as they ran on this prompt, and how far they are from the model's value."""
    verdict = words.how_close(check, is_changed=bool(subject.cap.edits.changes or subject.cap.patch))
    said = f"Run on this prompt, {words.code(check.call)} gave {check.result}: {verdict}."
    return [Heading("The code"), Code(check.source, said)]


def why(subject: Subject, text: str, edits: Edits, without: str) -> list[Block]:
    """Why a step is there: a reason, and this prompt run again without the step.

    without: what `edits` leave out, in a sentence
    """
    return [Heading("Why"), Text(text), *left_out(subject, edits, without)]


def left_out(subject: Subject, edits: Edits, without: str) -> list[Block]:
    """This prompt run again with a step left out: the prediction before and after."""
    if not subject.has_prediction:
        return [Text(words.NO_NUMBERS)]
    try:
        edited = subject.rerun(edits)
    except EditsError as error:
        return [Text(words.literal(str(error)))]
    if edited.edits == subject.cap.edits:
        return [Text(f"This run is without {without} already, so there is nothing to compare.")]
    values = compare(subject.cap, edited, subject.position)
    labels = [visible(text) for text in values.texts]
    return [
        Text(words.what_happened(values, labels, without)),
        before_and_after(subject, values, f"without {without}"),
    ]


def before_and_after(subject: Subject, values: Comparison, change: str) -> Charts:
    """The two predictions as bars. change: what the second run is called"""
    labels = [visible(text) for text in values.texts]
    caption = (
        f"After token {subject.position}. The stream that reaches the final norm has an RMS of "
        f"{words.size(values.baseline_scale)} in the first run and of {words.size(values.edited_scale)} in the second."
    )
    return Charts([draw.side_by_side(values, labels, change, "The next token, before and after")], caption)
