"""The strip of the prompt's tokens, from which the subject of a page is chosen by mouse, touch or keyboard."""

from collections.abc import Callable, Sequence

import streamlit as st

from gemma_viz.figures.style import CATEGORICAL
from gemma_viz.tokens import Token
from gemma_viz.ui.assets import joined
from gemma_viz.ui.room import chip, room

GAP, CHIP = 5, {"character": 8.83, "narrowest": 25.6, "around": 20}  # pixels, as the style sheet makes them

_mount = st.components.v2.component(
    "gemma_viz_token_strip",
    html='<div class="strip" role="listbox" aria-label="Tokens of the prompt" aria-orientation="horizontal"></div>',
    css=joined("touch.css", "token_strip.css"),
    js=joined("touch.js", "room.js", "token_strip.js"),
)


def colour(position: int) -> str:
    """The colour of the token at a position, the same on every page."""
    return CATEGORICAL[position % len(CATEGORICAL)]


def token_strip(
    tokens: Sequence[Token],
    beside: Sequence[Sequence[str]],
    selected: int,
    pick: Callable[[int], None],
    key: str,
) -> None:
    """Draw the strip with one token selected; `pick` is called with the position of the one that is chosen.

    beside: of each token its neighbours in the vocabulary, which its title (on hover) names
    """

    def picked() -> None:
        # A trigger value: it is there in the run that the choice caused and gone in the next, so that a choice made
        # elsewhere (the address, the Back button) is never overruled by an old click.
        position = st.session_state[key].picked
        if isinstance(position, int) and 0 <= position < len(tokens):
            pick(position)

    with st.container(key=room(key, [chip(token.label, **CHIP) for token in tokens], GAP)):
        _mount(
            key=key,
            data={
                "selected": selected,
                "tokens": [
                    {
                        "text": token.label,
                        "id": token.id,
                        "near": f", in the vocabulary beside {' and '.join(near)}",
                        "special": token.special,
                        "colour": colour(token.position),
                    }
                    for token, near in zip(tokens, beside, strict=True)
                ],
            },
            on_picked_change=picked,
        )
