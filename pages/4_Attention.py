"""Attention: which tokens each head reads, how it decides, and what it moves."""

import pandas as pd
import streamlit as st

from gemma_viz.edits import Edits
from gemma_viz.errors import SeveralTokens
from gemma_viz.figures import attention as draw
from gemma_viz.figures import head_output as draw_output
from gemma_viz.figures import key_value_cache as draw_cache
from gemma_viz.figures import mask as draw_mask
from gemma_viz.figures.extremes import extremes as draw_extremes
from gemma_viz.stages import around
from gemma_viz.stages.attention import Query, arcs, check_attention, head, query
from gemma_viz.stages.embedding import token_of_word
from gemma_viz.stages.head_output import direct_effect, head_outputs
from gemma_viz.stages.heads import in_model_order, layer_heads, ordered
from gemma_viz.stages.key_value_cache import FAMILY, sizes
from gemma_viz.stages.mask import PREDICTIONS_MOVED, PREDICTIONS_SHOWN, all_scores, later_token, mask_shape, unmasked
from gemma_viz.tokens import visible
from gemma_viz.ui import live, panels, words_attention
from gemma_viz.ui.attention_arcs import attention_arcs
from gemma_viz.ui.head_maps import head_maps
from gemma_viz.ui.page import Page, end_page, start_page
from gemma_viz.ui.words_glossary import term

PARTS = {
    "heads": "All heads",
    "query": "One query",
    "moves": "What it moves",
    "sharing": "Shared keys",
    "mask": "The mask",
}

SORTED_BY = {
    "model": "the model's own order",
    "tokens_read": "from flat to spiky",
    "previous": "weight on the token before",
    "first": "weight on the first token",
    "itself": "weight on the token itself",
    "induction": "induction",
    "distance": "how far back they look",
}
WEIGHTS = ("previous", "first", "itself", "induction")

MEASURES = {
    "previous": "token before",
    "first": "first token",
    "itself": "itself",
    "induction": "induction",
    "tokens_read": "tokens read",
    "distance": "distance",
}


def all_heads(page: Page, layer: int, chosen: int) -> None:
    """Small maps of all heads, sorted and filtered, and the chosen one large."""
    view = page.view
    layers = live.values_by_layer(layer_heads, page.run, "Attention of all heads")
    left, right = st.columns(2, gap="large")
    with left:
        order = view.choice("sort", "Order of the maps", list(SORTED_BY), format_func=SORTED_BY.__getitem__)
    with right:
        least = view.integer("least", "At least, in percent of the weight", 0, 100, 0) if order in WEIGHTS else 0
    places = in_model_order(layers) if order == "model" else ordered(layers, order, least / 100)

    def pick(new_layer: int, new_head: int) -> None:
        view.set(layer=str(new_layer) if new_layer else None, head=str(new_head) if new_head else None, heads=None)

    st.markdown(words_attention.resting(layers, page.run.rules, page.labels[0]))
    small, large = st.columns([2, 3], gap="large")
    with small:
        st.markdown(
            words_attention.heads_shown(len(places), len(layers) * page.run.model.spec.n_heads, SORTED_BY[order])
        )
        st.caption(
            "In each map a row is a query and a column a key. Choose a map to see it large. "
            + ("Layers go down, heads across." if order == "model" else "L5 H3 is layer 5, head 3.")
        )
        head_maps(layers, page.run.rules, places, (layer, chosen), pick, key="head_maps")
    with large:
        _pattern(page, layer, chosen)
    with st.expander("What the measures mean"):
        st.markdown(
            "Averages over all tokens but the first. **Token before**, **first token**, **itself**: how much weight "
            "lies there. **Induction**: the weight on the token that came after an earlier occurrence of the same "
            "token, over the tokens that have occurred before; there are none in a prompt that repeats nothing. "
            "**Tokens read**: how many tokens a head would read that spreads itself evenly (exp of the entropy of the "
            "weights); flat heads read many, spiky ones one. **Distance**: how far back a head looks, in tokens: the "
            "mean of the distances to the tokens it reads, each counted by its weight. The token itself stands 0 back, "
            "the one before it 1."
        )
    if view.toggle("rank", "Show the measures of all heads as a table"):
        _measures(layers)


def _measures(layers: list) -> None:
    table = [
        {"layer": i, "head": j} | {name: float(getattr(one.measures, field)[j]) for field, name in MEASURES.items()}
        for i, one in enumerate(layers)
        for j in range(len(one.maps))
    ]
    st.dataframe(
        pd.DataFrame(table),
        hide_index=True,
        height=320,
        column_config={name: st.column_config.NumberColumn(format="%.2f") for name in MEASURES.values()},
        key="measures",
    )
    st.caption("A click on a column sorts.")


def _pattern(page: Page, layer: int, chosen: int) -> None:
    values = live.values(head, page.run, layer, chosen, page.position)
    st.markdown(
        f"**Layer {layer}, head {chosen}.** A query of this layer sees {words_attention.sees(values.rule)}. A row of "
        "the map is one token's attention, and sums to 1. Empty is what it may not see. The tools that "
        "appear on a chart zoom."
    )
    if values.whole is not None:
        panels.chart(draw.whole_pattern(values, page.position), key="whole_pattern")
    panels.chart(draw.pattern(values, page.labels, page.position), key="pattern")
    if len(page.run) > 1:
        measured = live.values(layer_heads, page.run, layer).measures
        panels.chart(draw.profile(measured.profile[chosen], f"layer {layer}, head {chosen}"), key="profile")
        st.caption(words_attention.how_far_back(float(measured.distance[chosen]), values.rule))


def one_query(page: Page, layer: int, chosen: int) -> None:
    """From the selected token's query down to the numbers."""
    spec = page.run.model.spec
    values = live.values(query, page.run, layer, chosen, page.position)
    st.markdown(
        "Each token has lines to those that it reads, the stronger the more it reads of them. Hover a token, or go to "
        "one with Tab and the arrow keys, to see its lines; hover one on the right to see who reads it. A click or "
        "Enter selects it for the whole page."
    )
    attention_arcs(
        live.values(arcs, page.run, layer, page.position),
        page.labels,
        page.position,
        page.view.whole_numbers("heads", 0, spec.n_heads - 1, default=[chosen]),
        page.choose_token,
        lambda heads: page.view.set(heads=None if heads == [chosen] else "_".join(map(str, heads))),
        key="arcs",
    )
    st.header("From the query to what is read")
    strongest = int(values.strongest[0])
    last = page.position if values.rule.causal else len(page.run) - 1
    key = page.view.integer("key", "Key token to follow", 0, last, default=strongest)
    st.markdown(words_attention.score_in_numbers(values, page.labels, page.position, key, spec))
    left, right = st.columns(2, gap="large")
    with left:
        panels.chart(draw.vectors(values, page.labels, page.position), key="vectors")
    with right:
        panels.chart(draw.products(values, page.labels, page.position), key="products")
    if key in values.strongest:
        panels.chart(draw.running_sum(values, list(values.strongest).index(key), page.labels[key]), key="running_sum")
    left, right = st.columns(2, gap="large")
    with left:
        panels.chart(draw.scores(values, page.labels), key="scores")
    with right:
        panels.chart(draw.reads(values, page.labels), key="reads")
    panels.chart(draw.weighted_values(values, page.labels), key="weighted_values")
    st.markdown(words_attention.shapes(spec, len(page.run)))
    panels.folded("All tokens as a table, hidden ones too", "query_tables", _query_table, page, values)


def _query_table(page: Page, values: Query) -> None:
    st.dataframe(
        pd.DataFrame(
            {
                "token": page.labels,
                "q · k": values.dots,
                "score": values.scores,
                "weight": values.weights,
                "length of the value": values.value_norms,
                "weight × length": values.weights * values.value_norms,
            }
        ).rename_axis("position"),
        height=320,
        key="query_table",
    )
    st.caption("A score of −∞ is one that the mask hides: exp(−∞) is 0, so it gets no weight.")


def what_it_moves(page: Page, layer: int, chosen: int) -> None:
    """The head's output as a vector in the stream."""
    values = live.values(query, page.run, layer, chosen, page.position)
    outputs = live.values(head_outputs, page.run, layer, page.position)
    effect = live.values(direct_effect, page.run, layer, chosen, page.position)
    st.markdown(words_attention.moved(values, page.labels))
    left, right = st.columns(2, gap="large")
    with left:
        panels.chart(draw_output.weight_and_moved(values, page.labels), key="weight_and_moved")
    with right:
        panels.chart(draw_output.by_head(outputs, chosen), key="by_head")
        st.caption("The number on a bar is the cosine of the addition to the stream: below 0 it takes away from it.")
    st.markdown(words_attention.head_output(outputs, layer, chosen, page.label, page.run.model.spec))
    raised, lowered = ([visible(text) for text in texts] for texts in (effect.highest, effect.lowest))
    title = f"Next tokens that layer {layer}, head {chosen} raises and lowers by itself"
    panels.chart(draw_extremes(effect, raised, lowered, title, "change of the logit"), key="raised")
    st.caption(
        "The head's addition goes straight to the output projection, with the final norm's division as it is for the "
        "whole stream; shown is the change of each logit, compared with the average of all. Later layers read it too, "
        "and what they make of it is not in this picture."
    )


def shared_keys(page: Page, layer: int, chosen: int) -> None:
    """Which query heads share keys and values, and what that saves."""
    spec = page.run.model.spec
    st.markdown(words_attention.sharing(spec))
    panels.chart(draw_cache.sharing(spec.n_heads, spec.n_kv_heads, chosen), key="sharing")
    st.markdown(
        "**Why share?** To write the next token, the model needs the keys and values of all tokens before it. They "
        f"are kept, in the {term('key/value cache')}, and read again for every new token. With fewer key/value heads "
        "there is less to keep and less to read."
    )
    lengths = [str(2**power) for power in range(0, 18)]
    n_tokens = int(page.view.step("tokens", "Tokens of text", lengths, "8192"))
    here = sizes(spec, f"this model ({spec.family})")
    models = (here, *FAMILY)
    panels.chart(draw_cache.cache(models, n_tokens), key="cache")
    st.dataframe(
        pd.DataFrame(
            {
                "model": model.name,
                "layers": model.n_layers,
                "query heads": model.n_heads,
                "key/value heads": model.n_kv_heads,
                "d_head": model.d_head,
                "local layers": f"{model.n_local} of {model.window:,} tokens" if model.n_local else "none",
                "KiB for one token": model.cache(1) / 1024,
                f"MiB for {n_tokens:,} tokens": model.cache(n_tokens) / 2**20,
                "made for tokens": model.context_length,
            }
            for model in models
        ),
        hide_index=True,
        column_config={
            name: st.column_config.NumberColumn(format="%.1f")
            for name in ("KiB for one token", f"MiB for {n_tokens:,} tokens")
        },
        height="content",
        key="cache_table",
    )
    st.caption(
        "layers × 2 (key and value) × key/value heads × d_head × 2 bytes for each token; a local layer keeps the last "
        "tokens of its window only. Sizes from the Gemma, Gemma 2 and Gemma 3 reports and published configurations."
    )


def the_mask(page: Page, layer: int, chosen: int) -> None:
    """What the mask hides, and what happens without it."""
    rules = page.run.rules
    st.markdown(words_attention.mask(rules[layer], len(page.run), layer))
    left, right = st.columns([3, 2], gap="large")
    with left:
        panels.chart(
            draw_mask.masked_scores(live.values(all_scores, page.run, layer, chosen, page.position), page.labels),
            key="masked_scores",
        )
    with right:
        windows = dict.fromkeys(rule.window for rule in rules if rule.causal)
        length = max(len(page.run), 2 * max((window or 0 for window in windows), default=0))
        for width in sorted(windows, key=lambda window: window or length):
            panels.chart(draw_mask.shape(mask_shape(width, length)), key=f"mask_{width}")
    if not any(rule.causal for rule in rules):
        return  # there is no run with the mask to compare with
    st.header("Does a later token change an earlier one?")
    asked = page.view.text("instead", f"Put this word in place of token {page.position}", "dance").strip()
    try:
        id = live.values(token_of_word, page.run.model, asked or "dance")
    except SeveralTokens as several:
        panels.several_tokens(several)
    else:
        with st.spinner("Running the prompt again, with the mask and without …"):
            changed = live.values(later_token, page.run, page.position, id)
        st.markdown(words_attention.later_token(changed, page.label, visible(live.token_text(page.run.model, id))))
        panels.chart(draw_mask.later_token(changed, page.labels), key="later_token")
    shown = around(page.position, len(page.run), PREDICTIONS_SHOWN, PREDICTIONS_MOVED)
    without = live.values(unmasked, page.run, live.edited(page.run, Edits(causal_mask=False)), shown)
    st.markdown(words_attention.unmasked(without))
    st.dataframe(
        pd.DataFrame(
            {
                "position": list(without.shown),
                "after": page.labels[without.shown.start : without.shown.stop],
                "likeliest next, with the mask": [visible(text) for text in without.with_texts],
                "without": [visible(text) for text in without.without_texts],
                "its probability with the mask": without.with_probability,
                "and without": without.without_probability,
            }
        ),
        hide_index=True,
        height=320,
        key="unmasked",
    )


page = start_page(
    "Attention",
    f"The only step in which tokens learn of each other. Every {term('head')} lets each token look through the "
    "text, weigh what it finds, and copy a mixture of it into its own stream. For this each token has three vectors in "
    f"each head: a {term('query')}, which asks for something, a {term('key')}, which says what the token offers, and a "
    f"{term('value')}, which is what it hands on. The better a query matches a key, the more of that value is read.",
)
left, right = st.columns(2, gap="large")
with left:
    layer = page.choose_layer()
with right:
    chosen = page.choose_head()
part = page.view.section("attention", PARTS)
parts = {"heads": all_heads, "query": one_query, "moves": what_it_moves, "sharing": shared_keys, "mask": the_mask}
parts[part](page, layer, chosen)

panels.code(live.values(check_attention, page.run, layer), page.run)
if part == "mask":
    panels.why(
        page.view,
        page.run,
        page.position,
        text="The model learns by predicting every token of a text from those before it, all in one pass. Could a "
        "token see the next one, it would only have to copy it. And because nothing earlier depends on what comes "
        f"later, {term('key', 'keys')} and {term('value', 'values')} can be kept while a text grows. The last token "
        "looks back over the text either way; without the mask it reads streams that have seen what they were never "
        "to see.",
        edits=Edits(causal_mask=False),
        without="the mask in all layers",
    )
else:
    panels.why(
        page.view,
        page.run,
        page.position,
        text="Without attention every token would be alone: what comes next would depend on the last token only. Leave "
        "attention out, and all the other tokens of the prompt can be changed without any effect.",
        edits=Edits(attention=False),
        without="attention in all layers",
    )
end_page(page)
