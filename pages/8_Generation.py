"""Generation: the text grows token by token."""

import streamlit as st

from gemma_viz.continuations import Tree
from gemma_viz.errors import SamplingError
from gemma_viz.stages.generation import check_generation, reuse
from gemma_viz.tokens import visible
from gemma_viz.ui import live, panels, words, words_generation
from gemma_viz.ui.continuation_tree import continuation_tree
from gemma_viz.ui.continuations import ask_for, asked_for, continuations, keep
from gemma_viz.ui.page import end_page, start_page
from gemma_viz.ui.sampling_controls import sampling_controls
from gemma_viz.ui.words_glossary import term

NEW_TOKENS = {"low": 2, "high": 64, "default": 16}  # to add in one run

page = start_page(
    "Generation",
    f"The model predicts one {term('token')}. To write a text, one token is drawn, put at the end, and everything "
    "runs again. Add tokens here, and walk through the longer text on all pages.",
)
run = page.run


def show_tree(tree: Tree) -> None:
    """What has been generated, and how to go on from there."""
    st.markdown(words_generation.how_to_go_on(tree))
    continuation_tree(tree, run.text, page.show_text, key="tree")
    if (here := tree.find(run.text)) is not None and tree.nodes[here].ids != run.token_ids:
        st.caption(
            "The tokens that were generated are not those that the tokenizer makes of the same text; all pages show "
            "the tokenizer's."
        )


st.header("What happens")
n_new = page.view.whole_number("new", **NEW_TOKENS)
left, middle, _ = st.columns([1, 1, 2])
with left:
    st.button("Add one token", type="primary", width="stretch", on_click=ask_for, args=(1,))
with middle:
    st.button(f"Add {n_new} tokens", width="stretch", on_click=ask_for, args=(n_new,))
place, grown = st.empty(), st.container()
tree, n_asked = continuations().begun(run.text, run.token_ids), asked_for()
if not n_asked:  # before what is below, which then keeps its place
    with grown:
        show_tree(tree)

st.header("How a token is drawn")
sampling = sampling_controls(page.view, "Next seed")
st.caption(
    "Each token is drawn by chance from the model's probabilities, with these settings, so it need not be the "
    "likeliest one; temperature 0 always takes that. Page Output, part “From logits to a choice”, shows a draw step by "
    "step."
)
page.view.integer("new", "Tokens to add in one run", **NEW_TOKENS)

if n_asked:
    text, shown = run.text, ""
    try:
        for token in live.generated(run, sampling, n_asked):
            shown += visible(token.piece)
            place.markdown(f"{words.code(visible(run.text) + shown)} …")
            if (longer := run.text + token.text) != text:  # not so while a character is not whole
                ids = (*run.token_ids, *token.ids)
                tree = tree.grown(text, longer, ids, longer[len(text) :], token.probability)
                text = longer
                keep(tree)  # whatever ends the run, what it wrote stays
    except SamplingError as error:
        place.warning(str(error))
    else:
        if text != run.text:
            page.show_text(text)
            st.rerun()
        place.info(words_generation.nothing_added(len(run), run.model.token_limit))
    with grown:
        show_tree(tree)

st.header("Keys and values are kept")
st.markdown(words_generation.reuse(live.values(reuse, run)))

st.caption("The code takes the likeliest token, so that chance plays no part in the check.")
panels.code(live.values(check_generation, run), run)
end_page(page)
