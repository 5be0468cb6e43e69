"""The tree of a visitor's generated texts, kept while the tab is open. A link holds the text alone."""

import streamlit as st

from gemma_viz.continuations import Tree

_KEY, _ASKED = "_continuations", "_tokens_asked_for"


def continuations() -> Tree:
    """What has been generated so far."""
    tree: Tree = st.session_state.get(_KEY, Tree())
    return tree


def ask_for(n_tokens: int) -> None:
    """Ask the next run of the page to add tokens. A click is remembered so, also if its own run is cut short."""
    st.session_state[_ASKED] = n_tokens


def asked_for() -> int:
    """How many tokens are to be added now; 0 once they have been asked for."""
    n_tokens: int = st.session_state.pop(_ASKED, 0)
    return n_tokens


def keep(tree: Tree) -> None:
    """Remember a tree in place of the last one."""
    st.session_state[_KEY] = tree
