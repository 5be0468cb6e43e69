"""Overview: the whole pass as one living picture, the likeliest next tokens, and the way into every page."""

import streamlit as st

from gemma_viz.figures import output as draw
from gemma_viz.stages import around
from gemma_viz.stages.flow import Likeliest, depths, early, embedded_rms, flow, following, layer_flow
from gemma_viz.stages.overview import Overview, overview
from gemma_viz.tokens import visible
from gemma_viz.ui import blocks, live, panels, words, words_flow
from gemma_viz.ui.living_picture import living_picture
from gemma_viz.ui.living_tables import living_tables
from gemma_viz.ui.page import Page, end_page, start_page
from gemma_viz.ui.walk_document import walk_document
from gemma_viz.ui.words_glossary import term

TOKENS_SHOWN = 24  # of a long text, in the picture
TOKENS_MOVED = 8  # it goes on by


def whole_pass(page: Page, about: Overview) -> None:
    """The picture, and its numbers."""
    run = page.run
    shown = around(page.position, len(run), TOKENS_SHOWN, TOKENS_MOVED)
    layers = live.values_by_layer(layer_flow, run, "Following the streams")
    values = flow(live.values(embedded_rms, run), layers, shown)
    nexts = _labelled(live.values(following, run, shown))
    guesses = dict(zip(depths(len(layers)), _labelled(live.values(early, run, page.position)), strict=True))
    next_label = visible(about.top.texts[0])
    living_picture(
        page,
        values,
        nexts,
        guesses,
        words_flow.seen(values, about, page.labels, next_label),
        words_flow.told(values, about, page.labels, guesses, next_label),
        page.choose_token,
        key="living",
    )
    st.caption(
        "What the stream would say early is often nonsense: early layers write for later ones, and only the last "
        "write for the output. Every depth is on the page Transformer layer, part “One token on its way”."
    )
    panels.folded("The numbers of this picture, as a table", "living_tables", living_tables, page, values, nexts)


def _labelled(likeliest: Likeliest) -> list[tuple[str, float]]:
    return list(zip(map(visible, likeliest.texts), likeliest.probabilities.tolist(), strict=True))


page = start_page(
    "Overview",
    f"A {term('language model')} reads a text and says how likely each {term('token')} of its {term('vocabulary')} is "
    "to come next. Below your prompt flows through the real model, from top to bottom: each token is a stream of "
    f"numbers, and every layer adds to it, first what {term('attention', '**attention**')} reads from other tokens, "
    f"then what the {term('MLP', '**MLP**')} makes of the token alone. Follow it row by row, point at a bar of "
    "attention to see what it reads, or open any part.",
)
values = live.values(overview, page.run, page.position)
whole_pass(page, values)
left, right = st.columns([3, 2], gap="large")

with left:
    st.header("Step by step")
    blocks.blocks(page.view, values, page.label)

with right:
    st.header("What comes next")
    top = values.top
    labels = [visible(text) for text in top.texts]
    st.markdown(
        f"After {words.code(page.label)}, token {page.position}, the model expects {words.code(labels[0])} with "
        f"{words.percent(top.probabilities[0])}."
    )
    panels.chart(draw.next_tokens(labels, top.probabilities, top.logits), key="next")
    page.view.page_link(
        "pages/7_Output.py",
        "Which heads and MLPs made this prediction",
        {"output": "parts"},
        icon=":material/arrow_forward:",
        icon_position="right",
    )
    st.markdown(
        "␣ stands for a space and ⏎ for a line break. Most of the walk is about the token you select above: choose "
        "another one and see what the model expects after it."
    )
    st.header("Take it with you")
    walk_document(page)

end_page(page)
