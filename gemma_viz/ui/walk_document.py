"""The offer to take the whole walk along as a document."""

import streamlit as st

from gemma_viz.report import walk
from gemma_viz.ui.page import Page

_WRITTEN = "_walk_document"


def walk_document(page: Page) -> None:
    """A button that writes the walk of the page's prompt, and one that hands it over.

    Written on demand only, because it runs every stage, and kept for this visitor until another one is written.
    """
    subject = page.cap, page.position
    place = st.empty()
    if place.button("Write the whole walk as one document", icon=":material/description:"):
        bar = place.progress(0.0, "Writing …")

        def progress(share: float, what: str) -> None:
            bar.progress(share, f"{what} …")

        html = walk(page.cap, position=page.position, progress=progress)
        st.session_state[_WRITTEN] = subject, html
    of, html = st.session_state.get(_WRITTEN, (None, ""))
    if of == subject:
        place.download_button(
            f"Save the document ({len(html) / 1e6:.1f} MB)",
            html,
            file_name="walk.html",
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
