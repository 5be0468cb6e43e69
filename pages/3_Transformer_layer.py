"""Transformer layer: the residual stream, what is added to it, and RMSNorm."""

import streamlit as st

from gemma_viz.figures import residual as draw
from gemma_viz.stages.residual import check_rms_norm, layer_scales, residual
from gemma_viz.ui import live, panels, words
from gemma_viz.ui.page import end_page, start_page

page = start_page(
    "Transformer layer",
    "Every token has one vector that runs through all layers: the residual stream. Attention and MLP never replace "
    "it. Each reads a normalised copy and adds its result.",
)
spec = page.cap.model.spec
values = residual(live.values_by_layer(layer_scales, page.cap, "Scales of the stream"), spec.norm_eps)
scale = values.stream_rms[:, page.position]

st.subheader("What happens")
st.markdown(
    f"The stream of {words.code(page.label)} starts with an RMS (root of the mean square of its {spec.d_model:,} "
    f"numbers) of {words.size(scale[0])} and leaves the last layer with {words.size(scale[-1])}."
    + (
        " Here the updates are normalised too, before they are added: this is a later generation than Gemma 2B, which "
        "normalises only what a sublayer reads."
        if spec.post_norms
        else ""
    )
)
panels.chart(draw.scale(values, page.labels, page.position), key="scale")
left, right = st.columns(2, gap="large")
with left:
    panels.chart(draw.share(values, page.label, page.position), key="share")
    st.caption("0: the update hardly changes the stream. 1: it swamps it. At 0.71 both are equally large.")
with right:
    panels.chart(draw.divisor(values, page.label, page.position), key="divisor")
    st.caption("Whatever the stream's scale, after the division the sublayer reads numbers of the same size.")

st.subheader("One norm, in numbers")
layer = page.choose_layer()
panels.code(live.values(check_rms_norm, page.cap, layer))
st.caption(
    f"Before layer {layer}'s attention the stream of {words.code(page.label)} is divided by "
    f"{words.size(values.attention_divisor[layer, page.position])}, then each component is multiplied with its learned "
    "weight plus 1."
)
panels.why(
    page.view,
    page.cap,
    page.position,
    text="Every sublayer was trained on inputs of one size. RMSNorm gives it that size, whatever has been added to "
    "the stream before. Without it a large input makes a large update, and that a larger input for the next sublayer. "
    "Leave the norms out and see what scale the stream reaches, and whether there is a prediction left.",
    step="norms",
    without="the norms in all layers",
)
end_page(page)
