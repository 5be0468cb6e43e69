"""The map of patched runs, layers down and tokens or heads across, from which one is chosen by mouse, touch or keys."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan

import streamlit as st

from gemma_viz.figures.patching import ENDS, legend
from gemma_viz.figures.style import short
from gemma_viz.stages.patching import PatchMap
from gemma_viz.ui.assets import joined

LONGEST_HEADING = 12  # characters

_mount = st.components.v2.component(
    "gemma_viz_patch_map",
    html='<div class="patches" role="listbox" aria-label="Patched runs"></div>',
    css=joined("patch_map.css"),
    js=joined("listbox.js", "patch_map.js"),
)


@dataclass(frozen=True)
class Column:
    """name: str, said of its cells; label: str, its heading; other: str, the other run's, where it differs."""

    name: str
    label: str
    other: str = ""


def patch_map(
    values: PatchMap,
    what: str,
    columns: Sequence[Column],
    chosen: tuple[int, int],
    pick: Callable[[int, int], None],
    key: str,
    first: int = 0,
) -> None:
    """Draw the map; `pick` is called with layer and place of the cell that is chosen.

    what: a place is, "token" for example; columns: of all places; first: the one from which on they are drawn
    """
    shown = columns[first:]

    def picked() -> None:
        # A trigger value: gone in the next run, so that a choice made elsewhere is never overruled by an old click.
        at = st.session_state[key].picked
        if isinstance(at, int) and 0 <= at < len(values.recovered) * len(shown):
            layer, column = divmod(at, len(shown))
            pick(layer, first + column)

    _mount(
        key=key,
        data={
            "what": what,
            "columns": [
                {
                    "name": column.name,
                    "label": short(column.label, LONGEST_HEADING),
                    "other": short(column.other, LONGEST_HEADING),
                }
                for column in shown
            ],
            "values": [_number(value) for value in values.recovered[:, first:].ravel().tolist()],
            "moved": [None if isnan(moved) else moved for moved in values.moved[:, first:].ravel().tolist()],
            "ends": ENDS,
            "legend": legend(values.direction),
            "chosen": chosen[0] * len(shown) + chosen[1] - first if chosen[1] >= first else None,
        },
        on_picked_change=picked,
    )


def _number(value: float) -> str:
    """Two digits, without a minus where they are zeros."""
    return f"{value:.2f}".replace("-0.00", "0.00")
