"""Attention: which tokens each head reads, and how it decides."""

import pandas as pd
import streamlit as st

from gemma_viz.edits import Edits
from gemma_viz.figures import attention as draw
from gemma_viz.stages.attention import attention_overview, check_attention, head, head_measures, small_maps
from gemma_viz.ui import live, panels, words
from gemma_viz.ui.page import end_page, start_page

MEASURES = {
    "previous": "token before",
    "first": "first token",
    "itself": "itself",
    "induction": "induction",
    "tokens_read": "tokens read",
    "distance": "distance",
}

page = start_page(
    "Attention",
    "The only step in which tokens learn of each other. Every head lets each token look back over the text, weigh "
    "what it finds, and copy a mixture of it into its own stream.",
)
spec = page.cap.model.spec
left, right = st.columns(2, gap="large")
with left:
    layer = page.choose_layer()
with right:
    chosen = page.choose_head()

st.subheader("What happens")
small, large = st.columns([2, 3], gap="large")
with small:
    maps = live.values_by_layer(small_maps, page.cap, "Attention of all heads")
    panels.chart(draw.overview(attention_overview(maps, len(page.cap)), layer, chosen), key="overview")
with large:
    values = live.values(head, page.cap, layer, chosen, page.position)
    reach = (
        f"the last {values.window:,} tokens, itself included" if values.window else "itself and all tokens before it"
    )
    shared = (
        f"all {spec.n_heads} query heads of a layer share one key/value head (multi-query attention)"
        if spec.n_kv_heads == 1
        else f"it reads key/value head {values.kv_head}, as do {spec.group_size - 1} other query heads"
    )
    st.markdown(
        f"**Layer {layer}, head {chosen}.** A query of this layer sees {reach}; {shared}. A row of the "
        "map is one token's attention, and sums to 1. Empty is what it may not see."
    )
    panels.chart(draw.pattern(values, page.labels, page.position), key="pattern")
    panels.chart(draw.reads(values, page.labels), key="reads")

if page.view.toggle("rank", "Rank all heads by what they do on this prompt"):
    measured = live.values_by_layer(head_measures, page.cap, "Measures of all heads")
    table = pd.DataFrame(
        {
            "layer": [i for i in range(spec.n_layers) for _ in range(spec.n_heads)],
            "head": [j for _ in range(spec.n_layers) for j in range(spec.n_heads)],
        }
        | {name: [weight for one in measured for weight in getattr(one, field)] for field, name in MEASURES.items()}
    )
    st.dataframe(
        table,
        hide_index=True,
        height=320,
        column_config={name: st.column_config.NumberColumn(format="%.2f") for name in MEASURES.values()},
        key="measures",
    )
    st.caption(
        "Averages over all tokens but the first. Weight on the token before, on the first token, on itself; tokens "
        "read is how many an evenly spread head would read (exp of the entropy); distance is how far back the weight "
        "lies, in tokens; induction is the weight on what came after earlier occurrences of the same token, where "
        "there are any. A click on a column sorts."
    )

strongest = int(values.strongest[0])
st.markdown(
    f"**From query to weights.** The query of {words.code(page.label)} is compared with the key of every token it may "
    f"see. Scaled by {spec.attention_scale:.4g}, these scores go through a softmax. It reads "
    f"{words.code(page.labels[strongest])} (token {strongest}) most, with a weight of {values.weights[strongest]:.2f}. "
    f"How much that moves depends on the value, too: its length there is {words.size(values.value_norm[strongest])}, "
    f"against {words.size(values.value_norm.mean())} on average over the prompt. Heads often rest on the first token."
)
left, right = st.columns([3, 2], gap="large")
with left:
    panels.chart(draw.vectors(values, page.labels, page.position), key="vectors")
with right:
    panels.chart(draw.scores(values, page.labels), key="scores")

panels.code(live.values(check_attention, page.cap, layer))
panels.why(
    page.view,
    page.cap,
    page.position,
    text="Without attention every token would be alone: what comes next would depend on the last token only. Leave "
    "attention out, and all the other tokens of the prompt can be changed without any effect.",
    edits=Edits(attention=False),
    without="attention in all layers",
)
end_page(page)
