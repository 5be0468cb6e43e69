"""A figure in a page, in the page's colours."""

import plotly.graph_objects as go
import streamlit as st
from plotly.offline import get_plotlyjs_version

from gemma_viz.figures import export
from gemma_viz.figures.style import TEMPLATE_SCRIPT
from gemma_viz.ui.assets import joined

LIBRARY = f"plotly-{get_plotlyjs_version()}.js"  # where the server has it, seen from a page

_mount = st.components.v2.component(
    "gemma_viz_figure",
    html='<div class="figure" role="figure"></div>',
    css=joined("plotly_figure.css"),
    js=TEMPLATE_SCRIPT + joined("plotly_figure.js"),
    isolate_styles=False,  # plotly puts its own style sheet into the page
)


def plotly_figure(figure: go.Figure, key: str) -> None:
    """Draw a figure, without its title."""
    height = export.height_untitled(figure)
    _mount(
        key=key,
        data={
            "figure": export.untitled(figure),
            "height": height,
            "alt": figure.layout.meta["alt"],
            "image": export.image_options(figure),
            "library": LIBRARY,
        },
        height=height,  # kept free until the chart is drawn
    )
