"""Starts the app's server with what has to be there before its first visitor.

    python -m gemma_viz.ui.serve app.py [options of `streamlit run`]

Streamlit runs no line of an app before somebody opens it. So the operator's endpoint, and the default model that all
visitors share, are started here, in the server's own process.
"""

import sys
from collections.abc import Sequence

from streamlit.web.cli import main

from gemma_viz.checkpoints import offered_models
from gemma_viz.ui import live, operator


def serve(arguments: Sequence[str]) -> None:
    """Serve until the process is told to stop. arguments: those of `streamlit run`."""
    operator.start()
    live.preload(offered_models()[0])
    main(["run", *arguments])


if __name__ == "__main__":
    serve(sys.argv[1:])
