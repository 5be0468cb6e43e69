"""The tokens of two runs under each other: what is the same, what differs, what only one has."""

from typing import Any

import streamlit as st

from gemma_viz.figures.comparison import LEFT, RIGHT
from gemma_viz.figures.style import SELECTED
from gemma_viz.stages.comparison import Aligned
from gemma_viz.tokens import Token
from gemma_viz.ui.assets import joined
from gemma_viz.ui.room import chip, room

GAP, CHIP = 4, {"character": 8.45, "narrowest": 22.4, "around": 12}  # pixels, as the style sheet makes them
BETWEEN, AROUND = 3, 8  # two tokens of one cell, and what a column has around its cells

_mount = st.components.v2.component(
    "gemma_viz_aligned_strips",
    # In the tab order because it scrolls.
    html='<div class="aligned" role="list" tabindex="0" aria-label="Tokens of both runs, one under the other"></div>',
    css=joined("aligned_strips.css"),
    js=joined("room.js", "aligned_strips.js"),
)


def aligned_strips(
    aligned: Aligned, left: tuple[Token, ...], right: tuple[Token, ...], selected: int | None, key: str
) -> None:
    """Draw the two strips. selected: the column that is framed"""

    def cell(tokens: tuple[Token, ...], positions: range) -> list[tuple[int, str]]:
        return [(position, tokens[position].label) for position in positions]

    columns = [
        {"left": cell(left, column.left), "right": cell(right, column.right), "same": column.same}
        for column in aligned.columns
    ]
    with st.container(key=room(key, [_width(column) for column in columns], GAP)):
        _mount(
            key=key,
            data={
                "columns": [column | {"said": _said(column)} for column in columns],
                "selected": selected,
                "colours": (LEFT, RIGHT),
                "selectedColour": SELECTED,
            },
        )


def _said(column: dict[str, Any]) -> str:
    left, right = (
        " ".join(f"{position} {text}" for position, text in column[side]) or "no token" for side in ("left", "right")
    )
    return f"{left}, the same in both" if column["same"] else f"{left}, below it {right}"


def _width(column: dict[str, Any]) -> float:
    cells = ([chip(text, **CHIP) + BETWEEN for _, text in column[side]] for side in ("left", "right"))
    return max(map(sum, cells)) + AROUND - BETWEEN
