"""Experiments: every design choice of the model is a switch."""

from gemma_viz.ui import change
from gemma_viz.ui.experiment_panels import all_switches, why_is_it_there, your_own_change
from gemma_viz.ui.page import end_page, start_page

page = start_page(
    "Experiments",
    "Every design choice of Gemma is a switch here. Turn one off, or change it, and see what breaks: on your prompt, "
    "and on a short text that comes with the app.",
    shows_change=False,
)
edits = change.asked_edits(page.view, page.run.model)
n_changes = len(edits.changes)
own = f"Your own change ({n_changes})" if n_changes else "Your own change"
part = page.view.section("experiments", {"why": "Why is it there?", "own": own, "board": "All switches"})
if part == "why":
    why_is_it_there(page)
elif part == "own":
    your_own_change(page, edits)
else:
    all_switches(page)
end_page(page)
