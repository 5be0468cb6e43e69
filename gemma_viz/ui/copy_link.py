"""The control that copies the page's address, which holds the whole view."""

from pathlib import Path

import streamlit as st

from gemma_viz.ui.assets import joined
from gemma_viz.ui.view import View

OF_THIS_VISITOR = ["guess"]  # whoever opens the link guesses too

_mount = st.components.v2.component(
    "gemma_viz_copy_link",
    html="""
    <div class="copy">
      <button type="button">Copy link</button>
      <span class="said" role="status"></span>
      <input type="text" readonly hidden aria-label="Link to this view">
    </div>
    """,
    css=joined("copy_link.css"),
    js=joined("copy_link.js"),
)


def copy_link(view: View, model: str, key: str) -> None:
    """Draw the control. A link always names the model, because another server may have another default.

    model: the name of the one that is shown; a path means nothing elsewhere, and stays out
    """
    _mount(
        key=key,
        data={
            "model": "" if Path(model).exists() else model,
            "missing": " and ".join(view.too_long_for_address),
            "left_out": OF_THIS_VISITOR,
        },
        width="content",
    )
