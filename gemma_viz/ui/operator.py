"""The operator's endpoint, with what only Streamlit knows."""

from streamlit import runtime
from streamlit.runtime.stats import GaugeStat

from gemma_viz.service import health
from gemma_viz.service.metrics import SESSIONS


def start() -> None:
    """Start the endpoint if the operator asks for it and it does not run yet."""
    SESSIONS.set_function(connected_tabs)
    health.start()


def connected_tabs() -> int:
    """How many tabs are connected, as Streamlit counts them; 0 before it serves."""
    try:
        stats = runtime.get_instance().stats_mgr.get_stats(family_names=["active_sessions"])
    except (RuntimeError, AttributeError):  # there is none yet, or one that is still being made
        return 0
    return sum(stat.value for stat in stats["active_sessions"] if isinstance(stat, GaugeStat))
