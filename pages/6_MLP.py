"""MLP: what each token does by itself, between two attentions."""

import streamlit as st

from gemma_viz.edits import Edits
from gemma_viz.figures import mlp as draw
from gemma_viz.stages.mlp import activations, check_mlp, neurons
from gemma_viz.ui import live, panels, words
from gemma_viz.ui.page import end_page, start_page

page = start_page(
    "MLP",
    "Between two attentions every token works by itself. Its vector is compared with thousands of learned directions; "
    "those that match open a gate, and what passes the gates is added to its stream.",
)
spec = page.cap.model.spec
layer = page.choose_layer()
values = live.values(neurons, page.cap, layer, page.position)

st.subheader("What happens")
st.markdown(
    f"In layer {layer} {words.code(page.label)} meets {spec.d_mlp:,} neurons. Each has a gate and an up value, both "
    f"products of the normalised stream with a learned vector. {values.open_share:.0%} of the gates are above 0. "
    f"gelu(gate) × up is what goes through; the down-projection brings it back to {spec.d_model:,} numbers. The "
    f"update's RMS is {words.size(values.update_rms)}, the stream's {words.size(values.stream_rms)}."
)
left, right = st.columns(2, gap="large")
with left:
    panels.chart(draw.gelu_curve(values), key="gelu")
with right:
    panels.chart(draw.gate_and_up(values, page.label), key="gate_and_up")
panels.chart(draw.most_active(values, page.label), key="most_active")

st.subheader("One neuron")
neuron = page.view.integer("neuron", "Neuron", 0, spec.d_mlp - 1, default=int(values.most_active[0]))
panels.chart(
    draw.over_prompt(live.values(activations, page.cap, layer, neuron), page.labels, neuron, page.position),
    key="over_prompt",
)

panels.code(live.values(check_mlp, page.cap, layer))
panels.why(
    page.view,
    page.cap,
    page.position,
    text=f"Attention moves information between tokens but hardly transforms it: once the weights are fixed, it is a "
    f"weighted sum. The MLP is where a token's own vector is turned into something new, and where most of a layer's "
    f"parameters are: {3 * spec.d_model * spec.d_mlp:,} of them in each layer. The gate makes it more than a matrix: "
    "it lets one part of the vector decide whether another part counts.",
    edits=Edits(mlp=False),
    without="the MLP in all layers",
)
end_page(page)
