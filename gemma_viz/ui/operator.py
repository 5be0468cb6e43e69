"""What a server does before its first visitor comes, and what it tells its operator."""

import sys
import threading
import time
from importlib import import_module
from pkgutil import iter_modules

from streamlit import runtime
from streamlit.runtime.stats import GaugeStat

from gemma_viz import figures, ui
from gemma_viz.checkpoints import label, offered_models
from gemma_viz.engine import Engine
from gemma_viz.engine.keys import ModelKey, Request
from gemma_viz.engine.local import LocalEngine
from gemma_viz.errors import GemmaVizError
from gemma_viz.memory import keep_for_good
from gemma_viz.service import health
from gemma_viz.service.metrics import ENGINE, SESSIONS

NAME = "the operator"  # in the engine's line
AGAIN_SECONDS = 10.0
# After which a thread of Python lets another one go on. The model gives way at each of its thousand operations, and
# would wait for Python's 5 ms at many of them where pages are being drawn.
THREAD_SECONDS = 0.0005


def start(engine: Engine) -> None:
    """Start the endpoint if the operator asks for it, get the default model ready, and set how threads take turns."""
    sys.setswitchinterval(THREAD_SECONDS)
    SESSIONS.set_function(connected_tabs)
    if isinstance(engine, LocalEngine):
        ENGINE.watch(lambda: engine.state)
    health.start()
    threading.Thread(target=get_ready, args=(engine, offered_models()[0]), daemon=True, name="get ready").start()


def get_ready(engine: Engine, name: str, again_seconds: float = AGAIN_SECONDS) -> None:
    """Ask for a model until it is there, and say how that stands."""
    card = Request("gemma_viz.stages.described:card", ((ModelKey(name),),))
    import_pages()
    while True:
        try:
            engine.submit(card, NAME).result()
            keep_for_good()
            return health.READINESS.set(True, f"{label(name)} is loaded.")
        except Exception as error:  # whatever it is, it is said to the operator and tried again
            reason = str(error) if isinstance(error, GemmaVizError) else type(error).__name__
            health.READINESS.set(False, f"{label(name)} cannot be had: {reason}")
        time.sleep(again_seconds)


def import_pages() -> None:
    """Import what pages draw with, which takes a second that the first visitor need not wait."""
    for package in (figures, ui):
        for module in iter_modules(package.__path__, f"{package.__name__}."):
            import_module(module.name)


def connected_tabs() -> int:
    """How many tabs are connected, as Streamlit counts them; 0 before it serves."""
    try:
        stats = runtime.get_instance().stats_mgr.get_stats(family_names=["active_sessions"])
    except (RuntimeError, AttributeError):  # there is none yet, or one that is still being made
        return 0
    return sum(stat.value for stat in stats["active_sessions"] if isinstance(stat, GaugeStat))
