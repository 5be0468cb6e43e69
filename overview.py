"""Overview: the whole pass as one picture, the likeliest next tokens, and the way into every page."""

import streamlit as st

from gemma_viz.figures import output as draw
from gemma_viz.stages.overview import overview
from gemma_viz.tokens import visible
from gemma_viz.ui import flow, live, panels, words
from gemma_viz.ui.page import end_page, start_page
from gemma_viz.ui.walk_document import walk_document

page = start_page(
    "Overview",
    "A language model reads a text and says how likely each token of its vocabulary is to come next. Below is "
    "everything that happens to your prompt on the way, in order, on the real model. Type your own prompt at the "
    "left, choose a token, and open a step to see inside it.",
)
values = live.values(overview, page.run, page.position)
left, right = st.columns([3, 2], gap="large")

with left:
    st.header("The whole pass")
    flow.blocks(page.view, values, page.label)

with right:
    st.header("What comes next")
    top = values.top
    labels = [visible(text) for text in top.texts]
    st.markdown(
        f"After {words.code(page.label)}, token {page.position}, the model expects {words.code(labels[0])} with "
        f"{words.percent(top.probabilities[0])}."
    )
    panels.chart(draw.next_tokens(labels, top.probabilities, top.logits), key="next")
    st.markdown(
        "␣ stands for a space and ⏎ for a line break. Most of the walk is about the token you select above: choose "
        "another one and see what the model expects after it."
    )
    st.header("Take it with you")
    walk_document(page)

end_page(page)
