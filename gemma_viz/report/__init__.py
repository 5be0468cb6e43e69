"""The walk as a document: one HTML file with everything that happens to a prompt, for a disk, a mail or a printer.

It needs no server and no network: figures are drawn by the plotly.js that it carries. One module here for each stage,
under the stage's name; `blocks` says what their sections are made of, `document` makes HTML of it.
"""

from collections.abc import Callable, Sequence

from gemma_viz.capture import Capture
from gemma_viz.progress import Progress, report
from gemma_viz.report import attention, embedding, generation, mlp, output, residual, rope, tokenization
from gemma_viz.report.blocks import Section
from gemma_viz.report.document import document
from gemma_viz.report.subject import Subject, places
from gemma_viz.stages.heads import most_attentive

NEW_TOKENS = 8

SECTIONS: dict[str, Callable[[Subject], Section]] = {
    "tokenization": tokenization.section,
    "embedding": embedding.section,
    "residual": residual.section,
    "attention": attention.section,
    "rope": rope.section,
    "mlp": mlp.section,
    "output": output.section,
    "generation": lambda subject: generation.section(subject, NEW_TOKENS),
}

STAGES = tuple(SECTIONS)  # in walking order


def walk(
    cap: Capture,
    *,
    position: int = -1,
    stages: Sequence[str] = STAGES,
    layers: Sequence[int] = (),
    heads: Sequence[int] = (),
    progress: Progress = lambda share, what: None,
) -> str:
    """The walk of a capture as one HTML document, with the change of the model where the capture has one.

    position: the token that is followed
    stages: which, of `STAGES`; they come in walking order
    layers, heads: which are shown, every head of every layer; without both the one that reads most of the prompt,
        without one of them that head's
    progress: is called with the share done, 0 to 1, and what is going on

    Raises IndexError for a position, layer or head that is not there, ValueError for a stage that is not.
    """
    unknown = [stage for stage in stages if stage not in SECTIONS]
    if unknown:
        raise ValueError(f"There is no stage {unknown[0]!r}: they are {', '.join(STAGES)}.")
    subject = _subject(cap, position, layers, heads)
    chosen = [stage for stage in STAGES if stage in stages]
    sections = []
    for done, stage in enumerate(chosen):
        progress(done / len(chosen), f"Writing {stage}")
        sections.append(SECTIONS[stage](subject))
    progress(1.0, "Written")
    return document(subject, sections)


def walk_of(cap: Capture, position: int) -> str:
    """The whole walk of a capture, saying how far it is to `gemma_viz.progress`."""
    return walk(cap, position=position, progress=report)


def _subject(cap: Capture, position: int, layers: Sequence[int], heads: Sequence[int]) -> Subject:
    here = range(len(cap))[position]
    if layers and heads:
        return Subject(cap, here, places(cap, layers, heads), chosen=True)
    most = most_attentive(cap, here)
    shown = places(cap, layers or [most.layer], heads or [most.head])
    return Subject(cap, here, shown, chosen=bool(layers or heads) or most.measure == 0)
