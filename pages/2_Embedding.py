"""Embedding: one vector for each token, and its rescaling."""

import streamlit as st

from gemma_viz.figures import embedding as draw
from gemma_viz.stages.embedding import ARTICLE_WORDS, check_embed, embedding, nearest, word_similarity
from gemma_viz.tokens import visible
from gemma_viz.ui import live, panels, words
from gemma_viz.ui.page import end_page, start_page

MOST_WORDS = 40

page = start_page(
    "Embedding",
    "Each token's id picks one row of a table: a vector that the model has learned for this piece of text. Multiplied "
    "with the square root of its length, it enters the residual stream.",
)
values = live.values(embedding, page.cap)
spec = page.cap.model.spec

st.subheader("What happens")
st.markdown(
    f"The table has {spec.vocab_size:,} rows of {spec.d_model:,} numbers. The row of {words.code(page.label)} has a "
    f"length of {words.size(values.raw_norm[page.position])}; times √{spec.d_model:,} = {values.scale:.2f} it is "
    f"{words.size(values.scaled_norm[page.position])}."
)
panels.chart(draw.rows(values, page.labels, page.position), key="rows")
left, right = st.columns(2, gap="large")
with left:
    panels.chart(draw.norms(values, page.labels, page.position), key="norms")
with right:
    neighbours = live.values(nearest, page.cap, page.position)
    panels.chart(draw.nearest(neighbours, page.label, [visible(text) for text in neighbours.texts]), key="nearest")

st.markdown("**Words with related meanings have rows that point in similar directions.** Try your own:")
typed = page.view.text("words", "Words, separated by spaces", ARTICLE_WORDS).split()
if len(typed) > MOST_WORDS:
    st.info(f"{len(typed)} words are too many for one picture. Shown are the first {MOST_WORDS}.")
similar = live.values(word_similarity, page.cap.model, tuple(typed[:MOST_WORDS]))
for word, pieces in similar.left_out:
    st.info(f"{words.code(word)} is {len(pieces)} tokens ({' '.join(map(words.code, pieces))}), so it has no row.")
if len(similar.words) > 1:
    panels.chart(draw.similarity(similar), key="similarity")
else:
    st.info("Type at least two words that are one token each.")

raw, scaled = values.raw_norm[page.position], values.scaled_norm[page.position]
update = values.attention_norm[page.position]
panels.code(live.values(check_embed, page.cap))
panels.why(
    page.view,
    page.cap,
    page.position,
    text=f"In the stream a row has to hold its own against what the layers add. The first attention adds to "
    f"{words.code(page.label)} a vector of length {words.size(update)}. That is {words.size(update / scaled)} times "
    f"the length of the rescaled row; of the row as stored it would be {words.size(update / raw)} times. Leave the "
    "rescaling out and see what becomes of the prediction.",
    step="embedding_scale",
    without="the rescaling",
)
end_page(page)
