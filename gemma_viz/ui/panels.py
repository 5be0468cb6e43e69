"""The panels that every page is made of: a chart, "The code" and "Why"."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from gemma_viz.edits import Edits
from gemma_viz.errors import SeveralTokens
from gemma_viz.figures import export
from gemma_viz.figures import output as draw
from gemma_viz.stages import Check
from gemma_viz.stages.described import ModelCard
from gemma_viz.stages.embedding import token_of_word
from gemma_viz.tokens import visible
from gemma_viz.ui import live, words
from gemma_viz.ui.plotly_figure import plotly_figure
from gemma_viz.ui.view import View
from gemma_viz.ui.words_presets import question_of

MOST_ROWS = 10_000  # of a table in the page

# By the ending of the file's name. As a PNG a chart is taken away with the camera in its own toolbar.
FILES = {
    "csv": ("text/csv", "Download the values of this chart, for a spreadsheet", export.to_csv),
    "json": ("application/json", "Download the values of this chart as JSON", export.to_json),
    "html": ("text/html", "Download this chart as a web page that needs no network", export.to_html),
}


def chart(figure: go.Figure, key: str) -> None:
    """Draw a figure in the page's theme, with its alternative text, its values as a table and files to take away.

    Its title stands above it as text of the page, where it wraps on a narrow screen.
    """
    st.markdown(f"**{words.literal(figure.layout.meta['title'])}**")
    with st.container(gap=None):
        plotly_figure(figure, key)
        _values_of(figure, key)


@st.fragment  # so that the table comes without running the page again
def _values_of(figure: go.Figure, key: str) -> None:
    """A switch for the figure's values as a table, and for the files that can be made of it.

    The files' buttons come with the table, because three of them under every chart are a tenth of a page's time in the
    browser. Each file is made when it is asked for. They stand in the page: a popover would be out of Tab's way.
    """
    with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center", gap="small"):
        if not st.toggle("Table and files", key=f"{key}_table"):
            return
        for ending, (mime, what, make) in FILES.items():
            st.download_button(
                f":small[:gray[{ending.upper()}]]",
                _bytes_of(figure, make),
                file_name=f"{export.file_name(figure)}.{ending}",
                mime=mime,
                key=f"{key}_{ending}",
                help=what,
                on_click="ignore",
                type="tertiary",
            )
    _table(figure)


@st.fragment
def folded(label: str, key: str, draw: Callable[..., None], *arguments: Any) -> None:
    """A part of the page that is folded away, and drawn when somebody opens it: closed it would cost as much."""
    part = st.expander(label, key=key, on_change="rerun")
    if part.open:
        with part:
            draw(*arguments)


def parts(view: View, name: str, titled: Mapping[str, tuple[str, Callable[[], None]]]) -> None:
    """The control for the part of a long page that is shown, and that part under its title.

    name: the parameter; titled: by their names in the address the parts' titles, and what draws them
    """
    shown = view.section(name, {part: title for part, (title, _) in titled.items()})
    title, draw_part = titled[shown]
    st.header(title)
    draw_part()


def _table(figure: go.Figure) -> None:
    """The figure's values, one row for each that is drawn, names first; of very many rows the first.

    Traces that have other columns, on axes of their own for example, have a table of their own.
    """
    values = export.table(figure)
    shown = pd.DataFrame(values.rows[:MOST_ROWS], columns=values.columns)
    names_first = sorted(values.columns, key=lambda name: not name.endswith(": name"))
    columns_of = shown.notna().groupby(shown["series"]).any().apply(tuple, axis=1)
    for _, part in shown.groupby(shown["series"].map(columns_of), sort=False):
        filled = part.dropna(axis=1, how="all").drop(columns="series" if len(columns_of) == 1 else [])
        st.dataframe(filled, hide_index=True, column_order=[name for name in names_first if name in filled])
    if len(values.rows) > MOST_ROWS:
        st.caption(f"The first {MOST_ROWS:,} of {len(values.rows):,} rows. All of them are in the files.")


def _bytes_of(figure: go.Figure, make: Callable[[go.Figure], str]) -> Callable[[], bytes]:
    return lambda: make(figure).encode()


def code(check: Check, run: live.Run) -> None:
    """The lines of PyTorch behind a step, as they ran on a run just now, and how far they are from its value."""
    st.header("The code")
    st.code(check.source, language="python", wrap_lines=True)  # what scrolls is out of Tab's way
    verdict = words.how_close(check, is_changed=bool(run.edits.changes or run.patch))
    st.markdown(f"Run just now on this prompt: `{check.call}` gave {check.result}, {verdict}.")


def typed_token(view: View, model: ModelCard, name: str, label: str) -> int | None:
    """A box for a word; the id of its token, or None where none is typed or it is several tokens, which is said."""
    asked = view.text(name, label, "").strip()
    try:
        return live.values(token_of_word, model, asked) if asked else None
    except SeveralTokens as several:
        several_tokens(several)
        return None


def several_tokens(error: SeveralTokens) -> None:
    """Say that a word that was typed has no row of its own."""
    st.info(
        f"{words.code(error.word)} is {len(error.pieces)} tokens ({words.pieces(error.pieces)}), so it has no row of "
        "its own. Try another word."
    )


def why(view: View, run: live.Run, position: int, *, text: str, edits: Edits, without: str) -> bool:
    """Why the step is there: an explanation, and a switch that leaves the step out and shows what becomes of it.

    without: what `edits` leave out, in a sentence. Returns whether it is left out now.
    """
    reason(text)
    return left_out(view, run, position, edits, without)


def reason(text: str) -> None:
    """The first half of `why`, for pages that let a visitor choose what is left out: the choice stands between both."""
    st.header("Why")
    st.markdown(text)


def left_out(view: View, run: live.Run, position: int, edits: Edits, without: str) -> bool:
    """The second half of `why`: the switch, and what becomes of the prediction."""
    if question := question_of(edits, run.model.spec):
        view.page_link(
            "pages/9_Experiments.py",
            "Guess first: this question on Experiments",
            {"why": question, "experiments": None, "guess": None},
            icon=":material/science:",
        )
    if not view.toggle("off", f"Leave out {without} and run this prompt again"):
        return False
    values = live.comparison(run, edits, position)
    labels = [visible(token) for token in values.texts]
    st.markdown(words.what_happened(values, labels, without))
    chart(draw.side_by_side(values, labels, f"without {without}"), key="what_if")
    if scales := words.scales_at_the_end(values, position):
        st.caption(scales)
    return True


def changed_prediction(run: live.Run, position: int, edits: Edits, change: str) -> None:
    """The prediction of a run in which a step is changed, beside the untouched one. change: completes "with …"."""
    values = live.comparison(run, edits, position)
    labels = [visible(token) for token in values.texts]
    st.markdown(words.what_changed(values, labels, change))
    chart(draw.side_by_side(values, labels, f"with {change}", "The next token, before and after"), key="changed")
