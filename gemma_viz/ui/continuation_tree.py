"""The tree of generated texts, each token a chip; a chip opens the text that ends with it."""

from collections.abc import Callable

import streamlit as st

from gemma_viz.continuations import Node, Tree
from gemma_viz.tokens import visible
from gemma_viz.ui.assets import joined
from gemma_viz.ui.words import percent

LONGEST_BEGINNING = 40  # characters

_mount = st.components.v2.component(
    "gemma_viz_continuation_tree",
    html='<div class="tree" role="listbox" aria-label="Generated texts"></div>',
    css=joined("continuation_tree.css"),
    js=joined("listbox.js", "continuation_tree.js"),
)


def continuation_tree(tree: Tree, current: str, pick: Callable[[str], None], key: str) -> None:
    """Draw the tree; `pick` is called with the text that is chosen. current: the text that the page is about."""

    def picked() -> None:
        # A trigger value: gone in the next run, so that a choice made elsewhere is never overruled by an old click.
        index = st.session_state[key].picked
        if isinstance(index, int) and 0 <= index < len(tree.nodes):
            pick(tree.nodes[index].text)

    _mount(
        key=key,
        data={
            "rows": [_row(tree, row) for row in tree.rows()],
            "chosen": tree.find(current),
        },
        on_picked_change=picked,
    )


def _row(tree: Tree, row: tuple[int, ...]) -> dict[str, object]:
    parent = tree.nodes[row[0]].parent
    return {
        "after": "" if parent is None else f"after {_label(tree.nodes[parent])}",
        "chips": [
            {
                "index": index,
                "label": _label(tree.nodes[index]),
                "probability": "" if tree.nodes[index].parent is None else percent(tree.nodes[index].probability),
                "strength": tree.nodes[index].probability,
            }
            for index in row
        ],
    }


def _label(node: Node) -> str:
    label = visible(node.piece)
    if node.parent is None and len(label) > LONGEST_BEGINNING:
        return f"… {label[-LONGEST_BEGINNING:]}"
    return label or "(empty)"
