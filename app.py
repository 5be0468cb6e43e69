"""The app as a server: `streamlit run app.py`. Its first page is overview.py, the others are in the folder pages."""

import os
import sys
from pathlib import Path

# A thread of torch's that waits for another spins for milliseconds, on a core that the browser may need. Read by GNU's
# OpenMP when torch loads it.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from plotly.offline import get_plotlyjs
from starlette.middleware import Middleware
from streamlit.starlette import App

from gemma_viz.errors import BadSetting
from gemma_viz.service import log
from gemma_viz.service.addresses import ToPages, address
from gemma_viz.service.head import InHead
from gemma_viz.service.private import OnlyFromThisMachine
from gemma_viz.service.script import script
from gemma_viz.service.settings import settings
from gemma_viz.ui import live, operator
from gemma_viz.ui.assets import joined
from gemma_viz.ui.boundary import answer
from gemma_viz.ui.plotly_figure import LIBRARY

PAGES = Path(__file__).with_name("pages")

log.to_stderr()
try:
    settings()  # a setting that cannot be is said at the start, not to the first visitor
except BadSetting as error:
    print(f"gemma-viz: {error}", file=sys.stderr, flush=True)
    raise SystemExit(2) from None

operator.start(live.engine())
app = App(
    Path(__file__).with_name("overview.py"),
    on_script_error=answer,
    routes=[script(LIBRARY, get_plotlyjs())],
    middleware=[
        Middleware(OnlyFromThisMachine, paths=("/_stcore/metrics",)),
        Middleware(ToPages, pages=[address(path.name) for path in PAGES.glob("*.py")]),
        Middleware(InHead, title="Gemma Viz", style=joined("page.css"), script=LIBRARY),
    ],
)
