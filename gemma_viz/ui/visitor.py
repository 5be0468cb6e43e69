"""Who looks at a page: whether they may, and how much they have asked for."""

from functools import cache
from threading import current_thread

import streamlit as st
from streamlit.errors import StreamlitMissingAuthlibError
from streamlit.runtime.scriptrunner import get_script_run_ctx

from gemma_viz.errors import BadSetting, Busy, GemmaVizError
from gemma_viz.service import log
from gemma_viz.service.limits import Places, RateLimit, household, origin
from gemma_viz.service.metrics import REQUESTS
from gemma_viz.service.settings import settings
from gemma_viz.ui.boundary import put_off, refuse


def arrive(page: str) -> None:
    """Begin the request of a page; where the operator wants a login, stop the page of who is not logged in."""
    log.begin(page, _session())
    try:
        is_logged_in = _is_logged_in()
    except GemmaVizError as error:
        refuse(error)
    if is_logged_in is False:
        st.title("Gemma Viz")
        st.markdown("Log in to see inside a language model, with your own prompt.")
        st.button("Log in", type="primary", on_click=_log_in)
        st.stop()
    if is_logged_in:
        with st.sidebar:
            st.button("Log out", icon=":material/logout:", on_click=st.logout)


def _log_in() -> None:
    """Go to the provider, from a callback. Raises BadSetting where the library for it is missing."""
    try:
        st.login()
    except StreamlitMissingAuthlibError as error:
        raise BadSetting(
            "Log-in needs Authlib, which is not installed here. Whoever runs this app can mend that."
        ) from error


def _is_logged_in() -> bool | None:
    """None where no login is set up. Raises BadSetting where one is asked for."""
    is_logged_in = st.user.get("is_logged_in")
    if is_logged_in is None and settings().login:
        raise BadSetting(
            "GEMMA_VIZ_LOGIN is 1, and .streamlit/secrets.toml has no section [auth]. Set up both, or neither."
        )
    return None if is_logged_in is None else bool(is_logged_in)


def take_a_place() -> None:
    """Have the page drawn beside those of others; where too many are being drawn, stop it with a sentence.

    Streamlit would begin them all at once, and each would be done only when nearly all are.
    """
    try:
        _places().take(current_thread())
    except Busy as error:
        REQUESTS.labels("busy").inc()
        put_off(error)


@cache
def _places() -> Places:
    return Places(settings().pages)


def admit() -> None:
    """Count a run of the model. Raises TooManyRequests where this visitor has had those of a minute."""
    forwarded_for = st.context.headers.get_all("X-Forwarded-For")
    address = household(origin(st.context.ip_address, forwarded_for, settings().trusted_proxies))
    _rate_limit().admit(
        [
            (f"session {_session()}", settings().requests_per_session),
            (f"address {address}", settings().requests_per_address),
        ]
    )


@cache
def _rate_limit() -> RateLimit:
    return RateLimit()


def _session() -> str:
    context = get_script_run_ctx()
    return context.session_id if context else ""
