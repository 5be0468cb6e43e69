"""The change of the model that a view asks for, and the banner that says so on every page that shows it.

Parameters of the address: `edits`, as `Edits.to_text` writes it; `patch`, a value that is taken over from the run of
the text in `other`, as kind-layer-position or z-layer-position-head.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import streamlit as st

from gemma_viz.edits import UNCHANGED, Edits
from gemma_viz.engine.keys import PatchKey
from gemma_viz.errors import EditsError
from gemma_viz.stages.described import ModelCard
from gemma_viz.tokens import visible
from gemma_viz.ui import live, words, words_edits
from gemma_viz.ui.view import View

OTHER_PROMPT = "I have to move"  # beside the example that the app begins with


def asked_edits(view: View, model: ModelCard) -> Edits:
    """The edits in the address; none, with a note, where they cannot be."""
    try:
        return _edits_in_address(view, model)
    except EditsError as error:
        view.note(f"{words.literal(str(error))} Shown is the model as it was trained.")
        return UNCHANGED


def with_field(view: View, model: ModelCard, field: str, new: Callable[[Any], Any]) -> str | None:
    """The edits in the address with one field changed, as the address has them; what could not be there is dropped.

    new: what the field becomes, from what it is
    """
    try:
        edits = _edits_in_address(view, model)
    except EditsError:
        edits = UNCHANGED
    return replace(edits, **{field: new(getattr(edits, field))}).to_text() or None


def _edits_in_address(view: View, model: ModelCard) -> Edits:
    edits = Edits.from_text(view.params.get("edits", ""))
    edits.check(model.spec)
    return edits


def store_edits(view: View, edits: Edits) -> None:
    """Put edits into the address, from a callback."""
    view.set(edits=edits.to_text() or None)


def patch_text(kind: str, layer: int, position: int, head: int | None = None) -> str:
    """A patch as the address has it."""
    return "-".join(str(part) for part in (kind, layer, position, head) if part is not None)


def asked_patch(view: View, model: ModelCard) -> PatchKey | None:
    """The patch in the address; none, with a note, where it cannot be."""
    text = view.params.get("patch")
    if not text:
        return None
    kind, *numbers = text.split("-")
    try:
        layer, position, *head = map(int, numbers)
        source = live.capture(model, view.kept_text("other", OTHER_PROMPT))
        return live.patch(source, kind, layer, position, *head)
    except EditsError as error:
        view.note(f"{words.literal(str(error))} Shown is the run without it.")
    except (TypeError, ValueError):
        view.note(
            f"This link takes over {words.code(visible(text[:40]))}, which is no value. Shown is the run without."
        )
    return None


def banner(view: View, run: live.Run) -> None:
    """Say that the page shows a changed model, with the way back; nothing where it does not."""
    if run.edits == UNCHANGED and run.patch is None:
        return
    changes = [words_edits.described(run.edits)] if run.edits != UNCHANGED else []
    if run.patch:
        changes.append(words_edits.patched(run.patch))
    with st.container(border=True, key="change"):
        st.markdown(
            f":material/science: **The model is changed in this view:** {'; '.join(changes)}. Every number on this "
            "page is the changed model's. Code is shown as the model was trained with it, so that it can differ."
        )
        st.button("Undo the change", icon=":material/undo:", on_click=view.set, kwargs={"edits": None, "patch": None})
