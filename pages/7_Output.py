"""Output: from the stream to the next token."""

import pandas as pd
import streamlit as st

from gemma_viz.edits import Edits
from gemma_viz.figures import output as draw
from gemma_viz.stages.output import check_unembed, final_norm, predictions
from gemma_viz.tokens import visible
from gemma_viz.ui import live, panels, words
from gemma_viz.ui.page import end_page, start_page

page = start_page(
    "Output",
    "After the last layer the stream is normalised once more and compared with a vector for every entry of the "
    "vocabulary. The products are the logits; a softmax makes probabilities of them.",
)
spec = page.cap.model.spec
with st.spinner("Predicting after every token of the prompt …"):
    values = live.values(predictions, page.cap)
next_labels = [[visible(text) for text in row] for row in values.texts]
here = page.position

st.subheader("What happens")
st.markdown(
    f"The model predicts after every token, not only after the last. After {words.code(page.label)} the likeliest is "
    f"{words.code(next_labels[here][0])} with {words.percent(float(values.probabilities[here, 0]))}"
    + (
        f"; what really comes next, {words.code(page.labels[here + 1])}, got "
        f"{words.percent(float(values.actual_probability[here]))} and rank {values.actual_rank[here]:,}."
        if here < len(page.cap) - 1
        else "."
    )
)
panels.chart(draw.along_prompt(values, next_labels, page.labels, here), key="along_prompt")
with st.expander("The same as a table, for the whole prompt"):
    st.dataframe(
        pd.DataFrame(next_labels, columns=range(1, len(next_labels[0]) + 1), index=page.labels).rename_axis("after"),
        height=300,
        key="table",
    )
left, right = st.columns(2, gap="large")
with left:
    panels.chart(draw.next_tokens(next_labels[here], values.probabilities[here], values.logits[here]), key="next")
with right:
    scales = live.values(final_norm, page.cap)
    panels.chart(draw.norms(scales, page.labels, here), key="norms")
    tied = (
        "the embedding table once more: a token is likely when the stream points the way of its own row"
        if spec.tied
        else "a matrix of its own"
    )
    cap = f" Logits are then capped smoothly at ±{spec.final_softcap:g}." if spec.final_softcap else ""
    st.markdown(f"The output projection is {tied}.{cap}")

panels.code(live.values(check_unembed, page.cap, here))
panels.why(
    page.view,
    page.cap,
    here,
    text=f"The stream has grown through the layers, for {words.code(page.label)} to an RMS of "
    f"{words.size(scales.before[here])}; after the norm it is {words.size(scales.after[here])}. Logits grow with it, "
    "and a softmax over large logits gives nearly everything to one token, whether or not it is the right one.",
    edits=Edits(final_norm=False),
    without="the final norm",
)
end_page(page)
