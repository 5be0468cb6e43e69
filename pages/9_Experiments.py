"""Experiments."""

from gemma_viz.ui.page import end_page, start_page

page = start_page(
    "Experiments",
    "Every design choice of Gemma is a switch here. Turn one off, or change it, and see what breaks.",
    shows_change=False,
)
end_page(page)
