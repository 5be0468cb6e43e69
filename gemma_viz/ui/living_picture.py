"""The whole pass as one picture that can be played: tokens across, layers down, and every part opens its page."""

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import streamlit as st

from gemma_viz.figures.style import CATEGORICAL, short
from gemma_viz.service.addresses import address
from gemma_viz.stages.flow import Flow
from gemma_viz.tokens import Token
from gemma_viz.ui import words
from gemma_viz.ui.assets import joined
from gemma_viz.ui.page import TOKEN_DEPENDENT, Page
from gemma_viz.ui.token_strip import colour

COLOURS = {"attention": CATEGORICAL[0], "mlp": CATEGORICAL[1]}

# What the parts open. Their names in the data are the keys.
PAGES = {
    "text": "pages/1_Tokenization.py",
    "embedding": "pages/2_Embedding.py",
    "layer": "pages/3_Transformer_layer.py",
    "attention": "pages/4_Attention.py",
    "mlp": "pages/6_MLP.py",
    "norm": "pages/7_Output.py",
    "output": "pages/7_Output.py",
}

SCRIPTS = ("touch.js", "listbox.js", "living_picture.js", "living_picture_words.js", "living_picture_lines.js")

_mount = st.components.v2.component(
    "gemma_viz_living_picture",
    html="""
    <div class="living">
      <div class="controls" role="group" aria-label="Play the pass">
        <button class="play">Play</button>
        <button class="back" aria-label="One step back" title="One step back">←</button>
        <button class="on" aria-label="One step on" title="One step on">→</button>
        <input class="place" type="range" min="0" aria-label="Place in the pass">
      </div>
      <p class="calm">Your device asks for less motion: go step by step.</p>
      <p class="said" aria-hidden="true"></p>
      <p class="live" aria-live="polite"></p>
      <div class="legend"></div>
      <p class="shown"></p>
      <div class="board" role="group" aria-label="The pass: tokens across, steps down. Arrow keys move, Enter opens">
        <div class="band"></div>
        <svg class="seen" role="img"><g class="stems"></g><g class="updates"></g><g class="reads"></g></svg>
        <div class="veil"></div>
      </div>
    </div>
    """,
    css=joined("touch.css", "living_picture.css"),
    js=joined(*SCRIPTS),
)


def living_picture(
    page: Page,
    values: Flow,
    following: Sequence[tuple[str, float]],
    early: Mapping[int, tuple[str, float]],
    seen: str,
    said: Sequence[str],
    pick: Callable[[int], None],
    key: str,
) -> None:
    """Draw the picture; `pick` is called with the position of a token that is chosen, and other parts open pages.

    following: what is likeliest after each of the tokens that are shown, as a person can read it, and its probability
    early: by a number of layers, what the selected token's stream would be read out as after them, likewise
    seen: what there is to see, for those who do not see it
    said: of each row from the top, what happens there to the selected token
    """
    tokens = page.run.tokens
    n_layers = page.run.model.spec.n_layers

    def picked() -> None:
        # A trigger value: gone in the next run, so that a choice made elsewhere is never overruled by an old click.
        position = st.session_state[key].picked
        if isinstance(position, int) and 0 <= position < len(tokens):
            pick(position)

    mounted = _mount(
        key=key,
        data={
            "nLayers": n_layers,
            "first": values.shown.start,
            "selected": page.position,
            "tokens": [_column(tokens[at], likely) for at, likely in zip(values.shown, following, strict=True)],
            "labels": {at: short(tokens[at].label) for at in sorted(set(values.read.ravel().tolist()))},
            "rms": _packed(values.stream_rms),
            "attention": _packed(values.attention),
            "mlp": _packed(values.mlp),
            "read": _packed(values.read),
            "weights": _packed(values.weights),
            "early": {depth: _likely(*guess) for depth, guess in early.items()},
            "seen": seen,
            "said": list(said),
            "colours": COLOURS,
            "parameters": page.view.params,
            "ofToken": TOKEN_DEPENDENT,
            "pages": {part: address(file) for part, file in PAGES.items()},
            "lastToken": len(tokens) - 1,
        },
        on_picked_change=picked,
        on_opened_change=lambda: None,
    )
    match mounted.opened:
        case [str(part), int(layer), int(position)] if part in PAGES and layer < n_layers and position < len(tokens):
            changes = ({"layer": layer} if layer >= 0 else {}) | ({"token": position} if position >= 0 else {})
            page.open(PAGES[part], **changes)


def _column(token: Token, following: tuple[str, float]) -> dict[str, object]:
    return {
        "text": token.label,
        "id": token.id,
        "special": token.special,
        "colour": colour(token.position),
        "next": _likely(*following),
    }


def _likely(label: str, share: float) -> dict[str, object]:
    return {"text": label, "percent": words.percent(share), "share": share if share > 0 else 0}


def _packed(values: np.ndarray) -> str:
    """Little-endian numbers of four bytes; JSON has no NaN."""
    return b64encode(values.astype(values.dtype.newbyteorder("<")).tobytes()).decode()
