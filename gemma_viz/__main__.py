"""`python -m gemma_viz`: the command line."""

import sys

from gemma_viz.cli import main

sys.exit(main())
