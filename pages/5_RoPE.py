"""RoPE: how attention knows where a token stands."""

import streamlit as st

from gemma_viz.edits import Edits
from gemma_viz.figures import rope as draw
from gemma_viz.stages.rope import check_rope, rotation, score_by_offset, vectors, wavelengths
from gemma_viz.ui import live, panels, words
from gemma_viz.ui.page import end_page, start_page

page = start_page(
    "RoPE",
    "Attention compares queries with keys, and neither says where its token stands. Rotary position embedding turns "
    "them: pairs of components are clock hands, and every position turns each hand a little further.",
)
spec = page.cap.model.spec
left, middle, right = st.columns(3, gap="large")
with left:
    layer = page.choose_layer()
with middle:
    chosen = page.choose_head()
with right:
    pair = page.view.integer("pair", "Pair of components", 0, spec.d_head // 2 - 1, default=spec.d_head // 16)

st.subheader("What happens")
turned = live.values(rotation, page.cap, layer, chosen, pair)
st.markdown(
    f"In layer {layer} pair {pair} (components {pair} and {pair + spec.d_head // 2}) makes one whole turn in "
    f"{words.size(turned.wavelength)} tokens. The query of {words.code(page.label)} at position {page.position} is "
    f"turned by {turned.degrees[page.position]:,.1f}°; its length stays the same."
)
left, right = st.columns(2, gap="large")
with left:
    panels.chart(draw.rotation(turned, page.labels, page.position), key="rotation")
with right:
    panels.chart(draw.wavelengths(live.values(wavelengths, page.cap), len(page.cap), pair), key="wavelengths")
panels.chart(
    draw.query(live.values(vectors, page.cap, layer, chosen, page.position), page.label), key="query_before_after"
)

st.subheader("Only the distance counts")
key = max(page.position - 1, 0)
by_offset = live.values(score_by_offset, page.cap, layer, chosen, page.position, key)
st.markdown(
    f"Take the query of {words.code(page.label)} and the key of {words.code(page.labels[key])}, turn them as if they "
    f"stood elsewhere, and score them. Moved apart, the score changes; moved on together by {by_offset.shift} tokens, "
    "it stays, because turning both hands by the same angle leaves the angle between them."
)
panels.chart(draw.score_by_offset(by_offset, page.label, page.labels[key]), key="by_offset")

panels.code(live.values(check_rope, page.cap, layer))
panels.why(
    page.view,
    page.cap,
    page.position,
    text="Without it a head could not prefer the token just before, nor tell “dog bites man” from “man bites dog” by "
    "their order. The causal mask alone gives a hint: each token sees one more token than the one before it. How much "
    "depends on the prompt: leave the rotation out and see.",
    edits=Edits(rope=False),
    without="RoPE in all layers",
)
end_page(page)
