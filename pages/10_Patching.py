"""Patching."""

from gemma_viz.ui.page import end_page, start_page

page = start_page(
    "Patching",
    "Take a value from the run of another prompt and see what of its answer comes with it.",
    shows_change=False,
)
end_page(page)
