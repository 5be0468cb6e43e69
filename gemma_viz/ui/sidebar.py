"""The sidebar on a phone, where it covers the page: what is chosen in it closes it."""

import streamlit as st

from gemma_viz.ui.assets import joined

_mount = st.components.v2.component("gemma_viz_sidebar", html="<span></span>", js=joined("sidebar.js"))


def close_when_chosen(key: str) -> None:
    """Let links and buttons close the sidebar where it covers the page; drawn in the sidebar, and not seen."""
    _mount(key=key, height=1)
