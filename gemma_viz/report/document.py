"""Sections as one HTML document.

Whatever comes from the prompt is text: the template escapes all that it is given, and `markup` escapes before it sets
its few tags. Should that ever fail, the document's Content-Security-Policy runs no script but the two that it was
written with, which it names by their hashes, and reaches for no network.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from gemma_viz.capture import Capture
from gemma_viz.checkpoints import label
from gemma_viz.figures import export
from gemma_viz.figures import output as draw
from gemma_viz.figures.style import CATEGORICAL, TEMPLATE_SCRIPT
from gemma_viz.notice import notice
from gemma_viz.report.blocks import Section
from gemma_viz.report.subject import Subject
from gemma_viz.stages.overview import overview
from gemma_viz.tokens import visible
from gemma_viz.ui import words, words_edits

# Of Markdown, what the sentences of this project use: a backslash escape, code between runs of `, bold and italic.
MARKDOWN = re.compile(
    r"\\(?P<literal>[^\w\s])|(?P<fence>`+)(?P<code>.+?)(?<!`)(?P=fence)(?!`)|(?P<mark>\*\*?)", re.DOTALL
)


def document(subject: Subject, sections: Sequence[Section]) -> str:
    """The whole document."""
    cap, model = subject.cap, subject.cap.model
    scripts = [_normal(get_plotlyjs()), _normal(TEMPLATE_SCRIPT + _file("walk.js"))]
    return (
        _environment()
        .get_template("walk.html.jinja")
        .render(
            title=f"What Gemma makes of “{_one_line(cap.text)}”",
            policy=policy(scripts),
            style=Markup(_file("walk.css")),
            scripts=[Markup(script) for script in scripts],
            colours=CATEGORICAL,
            subject=subject,
            values=overview(cap, subject.position),
            next_tokens=_next_tokens(subject),
            changes=changes(cap),
            model=model,
            model_label=label(model.name),
            dtype=str(model.dtype).removeprefix("torch."),
            sections=sections,
            notice=notice(),
        )
    )


def policy(scripts: Sequence[str]) -> str:
    """A Content-Security-Policy that runs these scripts and no others, and fetches nothing."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'"


def markup(markdown: str) -> Markup:
    r"""HTML of a sentence with code, bold and italic. Everything else in it is text.

    >>> markup("**a** `<b>` \\*")
    Markup('<strong>a</strong> <code>&lt;b&gt;</code> *')
    """
    html, at = Markup(), 0
    open_marks: list[str] = []
    for found in MARKDOWN.finditer(markdown):
        html += escape(markdown[at : found.start()])
        at = found.end()
        if found["literal"]:
            html += escape(found["literal"])
        elif found["fence"]:
            html += Markup("<code>{}</code>").format(_unpadded(found["code"]))
        else:
            html += _mark(found["mark"], open_marks)
    return html + escape(markdown[at:])


def figure_json(figure: go.Figure) -> Markup:
    """A figure for a script element: with no `<` that could end the element."""
    return Markup(export.untitled(figure).replace("<", "\\u003c"))


def changes(cap: Capture) -> str:
    """What is changed in a run, in Markdown; the empty text for the model as it was trained."""
    said = [words_edits.described(cap.edits)] if cap.edits.changes else []
    return "; ".join([*said, words_edits.patched(cap.patch)] if cap.patch else said)


def _next_tokens(subject: Subject) -> go.Figure | None:
    if not subject.has_prediction:
        return None
    top = subject.cap.top_k(10, subject.position)
    return draw.next_tokens([visible(text) for text in top.texts], top.probabilities, top.logits)


def _one_line(text: str) -> str:
    shown = " ".join(text.split())
    return shown if len(shown) <= 60 else shown[:59] + "…"


def _unpadded(code: str) -> str:
    """Code without the spaces that keep a ` in it apart from the fence."""
    padded = code.startswith(" ") and code.endswith(" ") and code.strip()
    return code[1:-1] if padded else code


def _mark(mark: str, open_marks: list[str]) -> Markup:
    name = {"**": "strong", "*": "em"}[mark]
    if open_marks and open_marks[-1] == mark:
        open_marks.pop()
        return Markup(f"</{name}>")
    open_marks.append(mark)
    return Markup(f"<{name}>")


def _file(name: str) -> str:
    return files("gemma_viz.report").joinpath(name).read_text(encoding="utf-8")


def _normal(script: str) -> str:
    """With line ends as a browser's parser makes them before it takes the hash."""
    return script.replace("\r\n", "\n").replace("\r", "\n")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("gemma_viz.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "markup": markup,
        "figure_json": figure_json,
        "figure_height": export.height_untitled,
        "size": words.size,
        "percent": words.percent,
        "code": words.code,
        "visible": visible,
    }
    return environment
