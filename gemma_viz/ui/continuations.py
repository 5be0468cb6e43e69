"""The tree of a visitor's generated texts, kept while the tab is open. A link holds the text alone."""

import streamlit as st

from gemma_viz.continuations import Tree

_KEY = "_continuations"


def continuations() -> Tree:
    """What has been generated so far."""
    tree: Tree = st.session_state.get(_KEY, Tree())
    return tree


def keep(tree: Tree) -> None:
    """Remember a tree in place of the last one."""
    st.session_state[_KEY] = tree
