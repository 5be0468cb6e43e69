"""The small maps of all heads, from which one is chosen by mouse, touch or keyboard."""

import math
from base64 import b64encode
from collections.abc import Callable, Sequence

import numpy as np
import streamlit as st

from gemma_viz.attention import AttentionRule, seen_cells
from gemma_viz.figures.style import SEQUENTIAL
from gemma_viz.numbers import head_label
from gemma_viz.stages.heads import HeadPlace, LayerHeads, cell_size
from gemma_viz.ui.assets import joined

_mount = st.components.v2.component(
    "gemma_viz_head_maps",
    html='<div class="maps" role="listbox" aria-label="Attention heads"></div>',
    css=joined("touch.css", "head_maps.css"),
    js=joined("touch.js", "listbox.js", "head_maps.js"),
)


def head_maps(
    layers: Sequence[LayerHeads],
    rules: Sequence[AttentionRule],
    places: Sequence[HeadPlace],
    chosen: tuple[int, int],
    pick: Callable[[int, int], None],
    key: str,
) -> None:
    """Draw the heads at `places`, in that order; `pick` is called with layer and head of the one that is chosen.

    In the model's own order the layers are the rows; in the order of a measure each map has its number beneath it.
    rules: of the layers; what they hide stays empty
    """

    def picked() -> None:
        # A trigger value: gone in the next run, so that a choice made elsewhere is never overruled by an old click.
        at = st.session_state[key].picked
        if isinstance(at, int) and 0 <= at < len(places):
            pick(places[at].layer, places[at].head)

    n_positions = layers[0].measures.profile.shape[1]
    kinds = list(dict.fromkeys(rules))
    seen = [seen_cells(rule, n_positions, cell_size(n_positions)).numpy() for rule in kinds]
    maps = [layers[place.layer].maps[place.head] for place in places]
    _mount(
        key=key,
        data={
            "side": layers[0].maps.shape[-1],
            "maps": b64encode(np.stack(maps).tobytes()).decode() if maps else "",
            "seen": b64encode(np.stack(seen).tobytes()).decode(),
            "heads": [_described(layers, place) | {"seen": kinds.index(rules[place.layer])} for place in places],
            "columns": len(layers[0].maps) if places and math.isnan(places[0].measure) else 0,
            "chosen": next((i for i, place in enumerate(places) if (place.layer, place.head) == chosen), None),
            "palette": SEQUENTIAL,
        },
        on_picked_change=picked,
    )


def _described(layers: Sequence[LayerHeads], place: HeadPlace) -> dict[str, str | int]:
    measured = layers[place.layer].measures
    induction = measured.induction[place.head]
    said = {
        "token before": measured.previous[place.head],
        "first token": measured.first[place.head],
        "itself": measured.itself[place.head],
    } | ({} if math.isnan(induction) else {"induction": induction})
    weights = "" if len(measured.profile[0]) < 2 else ": " + ", ".join(f"{name} {w:.2f}" for name, w in said.items())
    return {
        "layer": place.layer,
        "head": place.head,
        "name": head_label(place.layer, place.head),
        "number": "" if math.isnan(place.measure) else f"{place.measure:.2f}",
        "title": f"layer {place.layer}, head {place.head}{weights}",
    }
