"""What a visitor is told where something goes wrong: never a path, never a traceback."""

from typing import NoReturn

import streamlit as st

from gemma_viz.errors import EngineError, GemmaVizError, TooManyRequests
from gemma_viz.service import log


def answer(error: Exception) -> bool:
    """Tell a visitor of an error that a page, or a callback of one of its widgets, has raised.

    As Streamlit's `App` wants its handler: True says that nothing else is to be shown.
    """
    if isinstance(error, GemmaVizError):
        _say(error)
        return True
    request = log.failed(error)
    st.error(
        f"Something went wrong (request {request}). Try again, or tell whoever runs this app that number.",
        icon=":material/error:",
    )
    return True


def refuse(error: GemmaVizError) -> NoReturn:
    """Tell a visitor why a page cannot be shown, and stop it."""
    _say(error)
    st.stop()


def put_off(error: EngineError | TooManyRequests) -> NoReturn:
    """Tell a visitor why a page cannot be shown now, and stop it."""
    log.refused(error)
    st.warning(str(error), icon=":material/hourglass_top:")
    st.button("Try again")
    st.stop()


def _say(error: GemmaVizError) -> None:
    log.refused(error)
    st.error(str(error), icon=":material/error:")
