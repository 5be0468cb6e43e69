"""The offer to take the whole walk along as a document."""

import streamlit as st

from gemma_viz.checkpoints import label
from gemma_viz.figures.export import safe_name
from gemma_viz.report import walk_of
from gemma_viz.ui import live
from gemma_viz.ui.page import Page

_WRITTEN = "_walk_document"


def walk_document(page: Page) -> None:
    """A button that writes the walk of the page's prompt, and one that hands it over.

    Written on demand only, because it runs every stage, and kept for this visitor until another one is written.
    """
    subject = page.run.key, page.position
    place = st.empty()
    if place.button("Write the whole walk as one document", icon=":material/description:"):
        html = live.values(walk_of, page.run, page.position)
        st.session_state[_WRITTEN] = subject, html
    of, html = st.session_state.get(_WRITTEN, (None, ""))
    if of == subject:
        place.download_button(
            f"Save the document ({len(html) / 1e6:.1f} MB)",
            html.encode,  # when it is asked for: a run of the page sends no file that nobody took
            file_name=f"{safe_name('walk', label(page.run.model.name), page.run.text)}.html",
            mime="text/html",
            icon=":material/download:",
            type="primary",
            on_click="ignore",
        )
    st.caption(
        "All stages of this prompt, with charts, code and experiments, in one HTML file of some 5 MB: opens without "
        "network or server, prints, and is yours to keep. Writing it takes ten to twenty seconds, with a long prompt "
        "more."
    )
