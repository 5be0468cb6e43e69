"""Two columns of tokens, and lines from each token to those it reads: all heads of a layer, or some.

The view is known from BertViz (Vig, 2019, arXiv:1906.05714).
"""

from base64 import b64encode
from collections.abc import Callable, Sequence

import numpy as np
import streamlit as st

from gemma_viz.figures.style import CATEGORICAL
from gemma_viz.stages.attention import Arcs
from gemma_viz.ui.assets import joined

AROUND, ROW = 92, 24  # pixels: what stands above and below the columns, and one token in them
MOST_ROWS = 20  # further ones are scrolled to

_mount = st.components.v2.component(
    "gemma_viz_attention_arcs",
    html="""
    <div class="arcs">
      <div class="heads" role="group" aria-label="Heads whose lines are drawn"></div>
      <div class="titles" aria-hidden="true"><span>the token that looks</span><span>the token looked at</span></div>
      <div class="scroll">
        <div class="queries" role="listbox" aria-label="The token that looks"></div>
        <div class="middle" aria-hidden="true"><canvas></canvas></div>
        <div class="keys" aria-hidden="true"></div>
      </div>
      <p class="said" aria-live="polite"></p>
    </div>
    """,
    css=joined("touch.css", "attention_arcs.css"),
    js=joined("touch.js", "attention_arcs.js"),
)


def attention_arcs(
    values: Arcs,
    labels: Sequence[str],
    selected: int,
    heads: Sequence[int],
    pick: Callable[[int], None],
    switch: Callable[[list[int]], None],
    key: str,
) -> None:
    """Draw the lines of some heads of a layer.

    `pick` is called with the position that is chosen, `switch` with the heads when one is switched on or off.
    labels: of all tokens; selected: position
    """
    n_heads, _, n_ranks = values.keys.shape

    def picked() -> None:
        # A trigger value: gone in the next run, so that a choice made elsewhere is never overruled by an old click.
        position = st.session_state[key].picked
        if isinstance(position, int) and position in values.shown:
            pick(position)

    def switched() -> None:
        chosen = st.session_state[key].switched
        if isinstance(chosen, list):
            switch([head for head in range(n_heads) if head in chosen])

    height = AROUND + ROW * min(len(values.shown), MOST_ROWS)
    _mount(
        key=key,
        height=height,  # kept free until it is drawn
        data={
            "height": height,
            "first": values.shown.start,
            "labels": list(labels[values.shown.start : values.shown.stop]),
            "nRanks": n_ranks,
            "colours": [CATEGORICAL[i % len(CATEGORICAL)] for i in range(n_heads)],
            "keys": b64encode(values.keys.astype("<u2").tobytes()).decode(),
            "weights": b64encode((values.weights * 255).round().astype(np.uint8).tobytes()).decode(),
            "selected": selected,
            "on": list(heads),
        },
        on_picked_change=picked,
        on_switched_change=switched,
    )
