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
    if not runtime.exists():
        return 0
    stats = runtime.get_instance().stats_mgr.get_stats(family_names=["active_sessions"])
    return sum(stat.value for stat in stats["active_sessions"] if isinstance(stat, GaugeStat))
