"""Compare."""

from gemma_viz.ui.page import end_page, start_page

page = start_page("Compare", "Two prompts, two changes or two models side by side.", shows_change=False)
end_page(page)
