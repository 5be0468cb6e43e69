"""Transformer layer: the residual stream, what is added to it, and RMSNorm."""

import pandas as pd
import streamlit as st

from gemma_viz.edits import Edits
from gemma_viz.figures import residual as draw
from gemma_viz.stages.residual import (
    Residual,
    check_rms_norm,
    depth_similarity,
    layer_scales,
    lens,
    norm_in_numbers,
    norm_places,
    residual,
    stream_scales,
)
from gemma_viz.tokens import visible
from gemma_viz.ui import live, panels, words
from gemma_viz.ui.page import end_page, start_page
from gemma_viz.ui.words_glossary import term

COMPONENTS_SHOWN = 8

WITHOUT = {
    "all": (Edits(norms=False), "all norms of the layers"),
    "attention": (Edits(attention_norms=False), "the norms around attention"),
    "mlp": (Edits(mlp_norms=False), "the norms around the MLP"),
    "final": (Edits(final_norm=False), "the final norm"),
}

page = start_page(
    "Transformer layer",
    f"Every token has one vector that runs through all {term('layer', 'layers')}: the {term('residual stream')}. "
    f"{term('attention', 'Attention')} and {term('MLP')} never replace it. Each reads a normalised copy and adds its "
    "result.",
)
spec = page.run.model.spec


def scales() -> Residual:
    """How large every token's stream is at every depth, and what is added to it."""
    return residual(live.values_by_layer(layer_scales, page.run, "Scales of the stream"), spec)


def the_stream() -> None:
    """How large the stream is, and what each sublayer adds to it."""
    values = scales()
    scale = values.stream_rms[:, page.position]
    st.markdown(
        f"The stream of {words.code(page.label)} starts with an RMS (root of the mean square of its {spec.d_model:,} "
        f"numbers) of {words.size(scale[0])} and leaves the last layer with {words.size(scale[-1])}. "
        + words.where_it_falls(scale[::2])
        + (
            " Here the updates are normalised too, before they are added: Gemma 2 and 3 do so, Gemma 1 normalises "
            "only what a sublayer reads."
            if spec.post_norms
            else ""
        )
    )
    panels.chart(draw.scale(values, page.labels, page.position), key="scale")
    st.markdown(words.first_token(values.stream_rms, page.labels[0]))
    left, right = st.columns(2, gap="large")
    with left:
        panels.chart(draw.share(values, page.label, page.position), key="share")
        st.caption("0: the update hardly changes the stream. 1: it swamps it. At 0.71 both are equally large.")
    with right:
        panels.chart(draw.cosine(values, page.label, page.position), key="cosine")
        st.caption("Above 0 the update adds to the direction the stream has, below 0 it takes away from it.")


def one_token() -> None:
    """What the stream would predict at each depth, and how it turns."""
    target = panels.typed_token(page.view, page.run.model, "follow", "Follow this token (empty: the model's answer)")
    seen = live.values(lens, page.run, page.position, target)
    lens_labels = [[visible(text) for text in row] for row in seen.texts]
    answer = words.code(lens_labels[-1][0])
    st.markdown(
        f"If the stream of {words.code(page.label)} went to the output from an earlier depth, this is what would be "
        f"predicted. The final answer {answer} {words.leads(seen.leads_from, spec.n_layers)}."
    )
    panels.chart(draw.lens(seen, lens_labels), key="lens")
    left, right = st.columns(2, gap="large")
    with left:
        panels.chart(draw.followed(seen, visible(live.token_text(page.run.model, seen.target))), key="followed")
    with right:
        panels.chart(
            draw.depth_similarity(live.values(depth_similarity, page.run, page.position), page.label),
            key="depth_similarity",
        )


def rms_norm() -> None:
    """One norm in numbers, and what all of them divide by."""
    st.markdown(words.what_rms_norm_does(spec.d_model, term("RMSNorm")))
    left, right = st.columns(2, gap="large")
    with left:
        layer = page.choose_layer()
    with right:
        place = page.view.choice("norm", "Norm of this layer", norm_places(spec))
    norm = live.values(norm_in_numbers, page.run, layer, place, page.position)
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown(
            f"The norm {place} of layer {layer} divides the vector of {words.code(page.label)} by "
            f"{words.size(norm.rms)} and multiplies each component with a factor of its own. The first of "
            f"{spec.d_model:,}:"
        )
        st.dataframe(
            pd.DataFrame(
                {
                    "given": norm.x[:COMPONENTS_SHOWN],
                    f"÷ {words.size(norm.rms)}": norm.x[:COMPONENTS_SHOWN] / norm.rms,
                    "× factor": 1 + norm.weight[:COMPONENTS_SHOWN],
                    "= result": norm.x[:COMPONENTS_SHOWN] / norm.rms * (1 + norm.weight[:COMPONENTS_SHOWN]),
                    "the model has": norm.normed[:COMPONENTS_SHOWN],
                }
            ).rename_axis("component"),
            key="norm_in_numbers",
        )
    with right:
        panels.chart(draw.learned_weights(norm, place), key="learned_weights")
    st.header("The norms of all layers")
    panels.chart(draw.divisor(scales(), page.label, page.position), key="divisor")
    st.caption("Whatever the vector's size was, after the division its RMS is 1.")


panels.parts(
    page.view,
    "transformer_layer",
    {
        "stream": ("What happens to the stream", the_stream),
        "way": ("One token on its way", one_token),
        "norm": ("RMSNorm", rms_norm),
    },
)

layer = page.view.whole_number("layer", 0, spec.n_layers - 1, default=0)
panels.code(live.values(check_rms_norm, page.run, layer), page.run)
panels.reason(
    f"Every {term('sublayer')} was trained on inputs of one size. {term('RMSNorm')} gives it that size, whatever "
    "has been added to the stream before. Without it a large input makes a large update, and that a larger input for "
    "the next sublayer. Leave norms out and see what scale the stream reaches, and whether there is a prediction left."
)
which = page.view.choice("which", "Which norms to leave out", list(WITHOUT), format_func=lambda name: WITHOUT[name][1])
edits, without = WITHOUT[which]
if which != "final" and page.view.toggle("one", f"Only in layer {layer}"):  # the final norm belongs to no layer
    edits, without = edits.only_in(layer), f"{without} of layer {layer}"
if panels.left_out(page.view, page.run, page.position, edits, without):
    with_norms = live.values(stream_scales, page.run, page.position)
    without_norms = live.values(stream_scales, live.edited(page.run, edits), page.position)
    panels.chart(draw.both_runs(with_norms, without_norms, page.label, f"without {without}"), key="both_runs")
    st.markdown(words.how_far_the_stream_goes(with_norms, without_norms, without))
end_page(page)
