"""Compare: two prompts, two changes of the model, or two models side by side."""

import streamlit as st

from gemma_viz.figures import comparison as draw
from gemma_viz.stages import comparison as stage
from gemma_viz.stages.residual import lens
from gemma_viz.tokens import visible
from gemma_viz.ui import live, panels, words_comparison
from gemma_viz.ui.aligned_strips import aligned_strips
from gemma_viz.ui.compared import Compared, choose
from gemma_viz.ui.page import Page, end_page, start_page
from gemma_viz.ui.words_glossary import term

PARTS = {"streams": "Where the streams part", "heads": "Attention", "output": "Output"}


def compare(page: Page, runs: Compared) -> None:
    """The tokens of both runs, and one of the parts."""
    aligned = live.values(stage.align, runs.left, runs.right)
    labels = (runs.left.labels, runs.right.labels)
    column = aligned.column_of(page.position)
    st.markdown(words_comparison.aligned(aligned, labels, runs.names))
    aligned_strips(aligned, runs.left.tokens, runs.right.tokens, column, key="aligned")
    st.caption("Coloured: tokens that differ. Framed: the selected token, and what stands under it.")
    part = page.view.section("comparison", PARTS)
    if part == "streams":
        streams(page, runs, aligned)
    elif part == "heads":
        heads(page, runs, aligned)
    else:
        output(page, runs, aligned)


def streams(page: Page, runs: Compared, aligned: stage.Aligned) -> None:
    """How alike the streams are, and how far along each run has its answer."""
    if runs.is_one_model:
        values = live.values(stage.streams, runs.left, runs.right)
        names = runs.pair_labels(values.pairs)
        selected = next((i for i, (left, _) in enumerate(values.pairs) if left == page.position), None)
        st.markdown(words_comparison.streams_part(values, names, selected))
        panels.chart(draw.streams(values, names, selected), key="streams")
        st.caption(
            f"The {term('cosine')} is 1 where two streams point the same way. A few components that are large for "
            "every token keep it high: the dotted line below says how high for two tokens that have nothing to do "
            "with each other."
        )
        if selected is not None:
            panels.chart(draw.stream_by_depth(values, selected, names[selected]), key="stream_by_depth")
    else:
        st.markdown(words_comparison.two_models(runs.left.model.spec, runs.right.model.spec))
    places = both_places(page, runs, aligned)
    if places:
        by_depth(runs, places)


def by_depth(runs: Compared, places: tuple[int, int]) -> None:
    """How far along each run has its answer; where both have the same one, what else they disagree about."""
    lenses = live.values(lens, runs.left, places[0]), live.values(lens, runs.right, places[1])
    labels = tuple(visible(values.texts[-1][0]) for values in lenses)
    st.markdown(words_comparison.decided(lenses, labels, runs.names))
    favoured = live.values(stage.outputs, runs.left, runs.right, *places).favoured
    title = "The answer of each run"
    if favoured and labels[0] == labels[1] and runs.is_one_model:
        lenses = tuple(
            live.values(lens, run, place, id)
            for run, place, id in zip((runs.left, runs.right), places, favoured, strict=True)
        )
        labels = tuple(visible(live.token_text(runs.left.model, id)) for id in favoured)
        st.markdown(words_comparison.favoured(lenses, labels, runs.names))
        title = "What each run favours most over the other"
    panels.chart(draw.tokens_by_depth(lenses, runs.names, labels, title), key="by_depth")


def heads(page: Page, runs: Compared, aligned: stage.Aligned) -> None:
    """Which heads look elsewhere, and one head's two patterns."""
    if not runs.is_one_model:
        st.markdown(words_comparison.two_models_heads(runs.left.model.spec, runs.right.model.spec))
        return
    by_layer = live.values_by_layer(stage.head_distances, runs.left, "Patterns of both runs", runs.right)
    distances = stage.all_head_distances(by_layer)
    st.markdown(
        f"A head's distance is half the sum of the absolute differences of its weights ({term('total variation')}), "
        "averaged over all tokens that both runs have: 0 where it looks at the same tokens, 1 where it looks at none "
        "of the same. " + words_comparison.heads_differ(distances.values)
    )
    left, right = st.columns([2, 3], gap="large")
    with left:
        layer, head = page.choose_layer(), page.choose_head()
        other_layer, other_head = distances.furthest
        st.button(
            f"Show the one that differs most: layer {other_layer}, head {other_head}",
            on_click=page.view.set,
            kwargs={"layer": str(other_layer), "head": str(other_head)},
        )
        panels.chart(draw.head_distances(distances.values, layer, head), key="head_distances")
    values = live.values(stage.head_patterns, runs.left, layer, runs.right, head, page.position)
    names = runs.column_labels(aligned)
    selected = aligned.column_of(page.position)
    with right:
        panels.chart(
            draw.pattern(values, "difference", names, selected, f"Difference: {runs.names[1]} less {runs.names[0]}"),
            key="difference",
        )
    for place, side, name in zip(st.columns(2, gap="large"), ("left", "right"), runs.names, strict=True):
        with place:
            panels.chart(draw.pattern(values, side, names, selected, f"Pattern of {name}"), key=side)
    st.caption("Empty: what a token may not look at, and tokens that only one of the runs has.")


def output(page: Page, runs: Compared, aligned: stage.Aligned) -> None:
    """What both predict next."""
    places = both_places(page, runs, aligned)
    if places is None:
        return
    values = live.values(stage.outputs, runs.left, runs.right, *places)
    after = runs.left.tokens[places[0]].label, runs.right.tokens[places[1]].label
    st.markdown(words_comparison.outputs_differ(values, runs.names, after))
    st.markdown(words_comparison.vocabularies(values, runs.names))
    left, right = st.columns(2, gap="large")
    if values.likeliest.texts:
        with left:
            panels.chart(draw.likeliest(values, runs.names), key="likeliest")
    if values.gained.texts or values.lost.texts:
        with right:
            panels.chart(draw.changes(values, runs.names), key="changes")
            st.caption(f"To the right: likelier in {runs.names[1]}. To the left: likelier in {runs.names[0]}.")
    st.caption(
        f"The {term('KL divergence')} of P from Q: how much more surprised, on average, Q is by tokens that are drawn "
        "from P than P itself. It is 0 for equal predictions, and not the same both ways."
    )


def both_places(page: Page, runs: Compared, aligned: stage.Aligned) -> tuple[int, int] | None:
    """The selected token and the one that it is compared with; None, with a note, where there is none."""
    partner = aligned.partner(page.position)
    if partner is None:
        st.info(words_comparison.no_partner(page.label, runs.names), icon=":material/info:")
        return None
    return page.position, partner


page = start_page(
    "Compare",
    "Two runs side by side: of two prompts, of one prompt with and without a change, or by two models. Where do they "
    "part, and what comes of it?",
    shows_change=False,
)
compared = choose(page)
if compared:
    compare(page, compared)
end_page(page)
