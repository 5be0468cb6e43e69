"""Output: from the stream to the next token."""

import pandas as pd
import streamlit as st

from gemma_viz.edits import Edits
from gemma_viz.errors import SamplingError
from gemma_viz.figures import attribution as draw_attribution
from gemma_viz.figures import output as draw
from gemma_viz.figures import sampling as draw_sampling
from gemma_viz.numbers import fixed, signed
from gemma_viz.stages import neighbours
from gemma_viz.stages.attribution import additions, split
from gemma_viz.stages.output import both_ends, check_unembed, final_norm, likeliest, predictions, sharpness, soft_cap
from gemma_viz.stages.sampling import choice
from gemma_viz.tokens import visible
from gemma_viz.ui import live, panels, words, words_output
from gemma_viz.ui.page import end_page, start_page
from gemma_viz.ui.sampling_controls import sampling_controls
from gemma_viz.ui.words_glossary import term

COMPONENTS_SHOWN = 8

page = start_page(
    "Output",
    f"After the last layer the stream is normalised once more and compared with a {term('vector')} for every entry of "
    f"the vocabulary. The products are the {term('logit', 'logits')}; a {term('softmax')} makes probabilities of them.",
)
spec, here, selected = page.run.model.spec, page.position, words.code(page.label)


def next_tokens() -> None:
    """The likeliest next tokens everywhere, and how surprising the real ones are."""
    with st.spinner("Predicting after every token of the prompt …"):
        values = live.values(predictions, page.run)
    next_labels = [[visible(text) for text in row] for row in values.texts]
    st.markdown(
        f"The model predicts after every token, not only after the last. After {selected} the likeliest is "
        f"{words.code(next_labels[here][0])} with {words.percent(float(values.probabilities[here, 0]))}"
        + (
            f"; what really comes next, {words.code(page.labels[here + 1])}, got "
            f"{words.percent(float(values.actual_probability[here]))} and rank {values.actual_rank[here]:,}."
            if here < len(page.run) - 1
            else "."
        )
    )
    panels.chart(draw.along_prompt(values, next_labels, page.labels, here), key="along_prompt")
    panels.folded("The same as a table, for the whole prompt", "whole_table", _whole_table, next_labels)
    left, right = st.columns(2, gap="large")
    with left:
        panels.chart(draw.next_tokens(next_labels[here], values.probabilities[here], values.logits[here]), key="next")
    with right:
        if len(page.run) > 1:
            panels.chart(draw.surprise(values, page.labels, here), key="surprise")
        st.markdown(words_output.mean_surprise(values, page.labels))
    if len(page.run) > draw.TOKENS_IN_BARS:
        panels.chart(draw.surprise_over_text(values, page.labels, here), key="surprise_over_text")


def _whole_table(next_labels: list[list[str]]) -> None:
    likeliest = pd.DataFrame(next_labels, columns=range(1, len(next_labels[0]) + 1), index=page.labels)
    st.dataframe(likeliest.rename_axis("after"), height=300, key="table")


def norm_and_projection() -> None:
    """What the final norm does, any soft-cap, and the matrix that stands at both ends."""
    left, right = st.columns(2, gap="large")
    with left:
        panels.chart(draw.norms(live.values(final_norm, page.run), page.labels, here), key="norms")
    with right:
        normed, unnormed = live.values(sharpness, page.run, here)
        labels = [visible(normed.likeliest), visible(unnormed.likeliest)]
        st.markdown(f"**After {selected}**")
        st.markdown(words_output.without_the_final_norm(normed, unnormed, labels))
        capped = live.values(soft_cap, page.run, here)
        if capped is None:
            st.markdown("This model has no soft-cap: its logits are the products as they are.")
    if capped:
        st.markdown(
            f"Before the softmax this model bends every logit to {capped.cap:g} · tanh(logit / {capped.cap:g}), so "
            f"that none goes beyond ±{capped.cap:g}. The largest here goes from {capped.before[0]:.2f} to "
            f"{capped.after[0]:.2f}; the order stays."
        )
        panels.chart(draw.soft_cap(capped), key="soft_cap")
    matrix_at_both_ends()


def matrix_at_both_ends() -> None:
    """A token's row as it enters the stream, and as it makes the token's logit."""
    st.header("One matrix at both ends" if spec.tied else "Two matrices")
    typed = panels.typed_token(page.view, page.run.model, "row", "Row of this word (empty: of the selected token)")
    token = page.run.tokens[here].id if typed is None else typed
    name = words.code(visible(live.token_text(page.run.model, token)))
    ends = live.values(both_ends, page.run, here, token)
    root = f" (√{spec.d_model:,})" if ends.scale == spec.embedding_scale else ""
    st.markdown(
        f"Where {name} stands in a text, its row of the embedding table times {ends.scale:.4g}{root} enters the "
        "stream. "
        + (
            f"At the end the same row makes the logit of {name}"
            if ends.is_one_row
            else "At the end a row of its own does"
        )
        + f": times the normed stream of {selected}, component by component, and summed. The {spec.d_model:,} products "
        f"add up to **{fixed(ends.product, 5)}**; the model has **{fixed(ends.logit, 5)}**"
        + (" before the soft-cap" if spec.final_softcap else "")
        + f", {abs(ends.product - ends.logit):.1e} apart."
    )
    first = slice(COMPONENTS_SHOWN)
    st.dataframe(
        pd.DataFrame(
            {
                "row": ends.embedding_row[first],
                f"× {ends.scale:.4g}, enters the stream": ends.embedding_row[first] * ends.scale,
            }
            | ({} if spec.tied else {"row of the output": ends.unembedding_row[first]})
            | {
                "normed stream": ends.normed[first],
                "row × normed stream": ends.unembedding_row[first] * ends.normed[first],
            }
        ).rename_axis("component"),
        key="both_ends",
    )
    table, all_numbers = spec.vocab_size * spec.d_model, page.run.model.n_parameters
    st.caption(f"The first {COMPONENTS_SHOWN} of {spec.d_model:,} components.")
    st.markdown(
        f"A matrix of {spec.vocab_size:,} rows of {spec.d_model:,} numbers is {table / 1e6:,.1f} million parameters, "
        f"{table / all_numbers:.0%} of this model's {all_numbers / 1e6:,.1f} million. "
        + ("Using it twice saves as many again." if spec.tied else "This model has it twice.")
    )


def from_logits_to_a_choice() -> None:
    """Sampling, step by step."""
    sampling = sampling_controls(page.view)
    try:
        values = live.values(choice, page.run, here, sampling)
    except SamplingError as error:
        st.warning(str(error))
        return
    labels = [visible(text) for text in values.texts]
    st.markdown(words_output.what_was_drawn(values, labels, sampling.seed))
    chosen = values.texts[values.chosen]
    if here == len(page.run) - 1:
        st.button(
            f"Put {labels[values.chosen]} at the end of the prompt",
            on_click=page.show_text,
            args=(page.run.text + chosen,),
        )
    settings = {
        "the model": "the model",
        "repetition penalty": f"penalty {sampling.repetition_penalty:g}",
        "temperature": f"temperature {sampling.temperature:g}",
        "greedy": "temperature 0",
        "top-k": f"top-k {sampling.top_k}",
        "top-p": f"top-p {sampling.top_p:g}",
        "min-p": f"min-p {sampling.min_p:g}",
    }
    panels.chart(draw_sampling.steps(values, labels, [settings[step] for step in values.steps]), key="steps")
    st.caption(
        "Steps that are off are left out. Their order is that of transformers' generate(). The **repetition penalty** "
        "makes tokens that the text already has less likely. The **temperature** divides all logits: below 1 the "
        "likely gain, above 1 the unlikely. **Top-k** keeps the k likeliest, **top-p** the likeliest that together "
        "have the probability p, **min-p** those at least p times as likely as the first."
    )
    if values.candidates[-1] > 1:
        panels.chart(draw_sampling.line(values, labels), key="line")
        if values.candidates[-1] > (~values.cut[-1]).sum():
            st.caption("The empty part belongs to the other tokens, too many to be drawn here.")
        panels.chart(draw_sampling.drawn(values, labels), key="drawn")
        st.caption("The draws take the following random numbers of the same seed, so they too are the same each time.")


def where_a_logit_comes_from() -> None:
    """A logit as the sum of what every part of the model added to the stream."""
    model, best = page.run.model, live.values(likeliest, page.run, here, 2)
    left, right = st.columns(2, gap="large")
    with left:
        typed = panels.typed_token(page.view, model, "logit", "Logit of this word (empty: of the likeliest token)")
        token = best[0] if typed is None else typed
        compared = page.view.toggle("compare", "Less the logit of another token")
    with right:
        other = None
        if compared:
            typed = panels.typed_token(page.view, model, "less", "The other word (empty: the likeliest other token)")
            other = next(id for id in best if id != token) if typed is None else typed
    names = [visible(live.token_text(model, id)) for id in (token, other) if id is not None]
    together = neighbours(here, len(page.run))
    by_layer = live.values_by_layer(additions, page.run, "What each layer adds", together)
    added = [of_tokens[together.index(here)] for of_tokens in by_layer]
    values = live.values(split, page.run, here, added, token, other)
    if not values.is_finite:
        st.warning(words.NO_NUMBERS)
        return
    largest = values.parts[0]
    st.markdown(
        f"The stream of {selected} is a sum: its embedding, and what each head and each MLP has added. With the final "
        f"norm's divisor held at what it is here, the logit of {words.code(names[0])}"
        + (f" less that of {words.code(names[1])}" if compared else "")
        + f" is a sum over the same parts. The largest one: {largest.name}, {signed(largest.value, 2)}. "
        + words_output.added_up(values, spec.final_softcap is not None, model.dtype)
    )
    what = " less ".join(names) if compared else f"the logit of {names[0]}"
    left, right = st.columns([3, 2], gap="large")
    with left:
        panels.chart(draw_attribution.largest_parts(values, what), key="largest_parts")
    with right:
        panels.chart(draw_attribution.parts_map(values, what), key="parts_map")
        st.markdown(f"The embedding of {selected} itself adds {signed(values.embedding, 2)}.")
    st.caption(
        "This is the direct path only: what a part wrote into the stream and the output read from there. What a later "
        "layer read of it and turned into something else counts as that layer's, so a head with a small bar here can "
        "still matter much. And the divisor that is held fixed was made by all parts together. A softmax sees only "
        "differences of logits: what raises all tokens alike changes nothing, so compare two tokens."
    )
    if spec.final_softcap:
        st.caption(f"The soft-cap at ±{spec.final_softcap:g} comes after the sum and bends it; the split is before it.")


panels.parts(
    page.view,
    "output",
    {
        "next": ("Next tokens", next_tokens),
        "norm": ("Norm and projection", norm_and_projection),
        "choice": ("From logits to a choice", from_logits_to_a_choice),
        "parts": ("Where a logit comes from", where_a_logit_comes_from),
    },
)

panels.code(live.values(check_unembed, page.run, len(page.run) - 1), page.run)
scales = live.values(final_norm, page.run)
panels.why(
    page.view,
    page.run,
    here,
    text=words_output.why_a_final_norm(selected, scales.before[here], scales.after[here]),
    edits=Edits(final_norm=False),
    without="the final norm",
)
end_page(page)
