"""Embedding: one vector for each token, and its rescaling."""

import streamlit as st

from gemma_viz.edits import Edits
from gemma_viz.errors import SeveralTokens
from gemma_viz.figures import embedding as draw
from gemma_viz.stages.embedding import (
    ARTICLE_WORDS,
    add_words,
    check_embed,
    embedding,
    nearest,
    nearest_to_word,
    neighbourhood,
    row_norms,
    word_similarity,
)
from gemma_viz.stages.residual import layer_scales
from gemma_viz.tokens import visible
from gemma_viz.ui import live, panels, words
from gemma_viz.ui.page import end_page, start_page
from gemma_viz.ui.words_glossary import term

MOST_WORDS = 60
ALIKE = 0.05  # two mean lengths, as a share
UNSCALED = Edits(embedding_scale=False)
ARTICLE_SUM = "king - man + woman = queen"

page = start_page(
    "Embedding",
    f"Each {term('token')}'s id picks one row of a table: a {term('vector')} that the model has learned for "
    "this piece of text. Multiplied with the square root of how many numbers it has, it enters the "
    f"{term('residual stream')}.",
)
values = live.values(embedding, page.run)
spec = page.run.model.spec


def lookup() -> None:
    """The rows of the prompt's tokens, and their lengths."""
    raw_rms, scaled_rms = (
        lengths[page.position] / spec.d_model**0.5 for lengths in (values.raw_norm, values.scaled_norm)
    )
    itemsize = page.run.model.itemsize
    root = f"√{spec.d_model:,} = " if values.scale == spec.embedding_scale else ""
    st.markdown(
        f"The table has {spec.vocab_size:,} rows of {spec.d_model:,} numbers: "
        f"{spec.vocab_size * spec.d_model * itemsize / 1e6:,.0f} MB, {spec.d_model * itemsize:,} bytes a row. Looking "
        f"a token up is copying a row: the ids [{len(page.run)}] become [{len(page.run)} × {spec.d_model:,}]. The row "
        f"of {words.code(page.label)} has a length of {words.size(values.raw_norm[page.position])}; times "
        f"{root}{values.scale:.2f} it is {words.size(values.scaled_norm[page.position])}. "
        f"Its RMS, the length divided by √{spec.d_model:,}, goes from {words.size(raw_rms)} "
        f"to {words.size(scaled_rms)}: the same ratio of {values.scale:.2f}."
    )
    panels.chart(draw.rows(values, page.labels, page.position), key="rows")
    left, right = st.columns(2, gap="large")
    with left:
        panels.chart(draw.norms(values, page.labels, page.position), key="norms")
    with right:
        lengths = live.values(row_norms, page.run.model)
        panels.chart(draw.row_norms(lengths, float(values.raw_norm[page.position]), page.label), key="row_norms")
        unused = lengths.norms.get("unused")
        if unused is not None and abs(unused.mean() / lengths.norms["text"].mean() - 1) < ALIKE:
            st.caption(
                "Nearly all rows have one length, also those that stand for no text: what tells them apart is where "
                "they point."
            )
        elif unused is not None:
            st.caption(
                f"Entries that are kept free stand for no text: their rows are {words.size(unused.mean())} long on "
                f"average, those of text {words.size(lengths.norms['text'].mean())}."
            )


def directions() -> None:
    """Which rows of the table are near each other."""
    left, right = st.columns(2, gap="large")
    with left:
        asked = page.view.text("near", "Nearest to this word (empty: to the selected token)", "").strip()
        try:
            neighbours = (
                live.values(nearest_to_word, page.run.model, asked)
                if asked
                else live.values(nearest, page.run, page.position)
            )
            labels = [visible(text) for text in neighbours.texts]
            panels.chart(draw.nearest(neighbours, visible(asked) or page.label, labels), key="nearest")
        except SeveralTokens as several:
            panels.several_tokens(several)
    with right:
        sum_text = page.view.text("sum", "Words added and subtracted, = what you expect", ARTICLE_SUM)
        plus, minus, expected = words.parsed_sum(sum_text)
        try:
            if not plus:
                st.info("Type words with + and - between them, for example: king - man + woman = queen")
            else:
                summed = live.values(add_words, page.run.model, plus, minus, expected)
                labels = [visible(text) for text in summed.nearest.texts]
                panels.chart(draw.nearest(summed.nearest, "the sum", labels), key="sum")
                st.markdown(
                    f"Of all {spec.vocab_size:,} rows, without those that were added, the nearest to the sum is "
                    f"{words.code(labels[0])}."
                    + (
                        f" {words.code(expected)} is number {summed.rank:,}."
                        + ("" if summed.rank == 1 else " The sum does not lead there.")
                        if summed.rank
                        else ""
                    )
                )
        except SeveralTokens as several:
            panels.several_tokens(several)
    groups_of_words()


def groups_of_words() -> None:
    """Whether related words have rows that are near each other."""
    st.markdown(
        "**Do words with related meanings have rows that point in similar directions?** Type groups, one a line:"
    )
    typed = page.view.text("words", "Words, separated by spaces; a line is a group", ARTICLE_WORDS, st.text_area)
    groups = tuple(tuple(line.split()) for line in typed.splitlines() if line.split())
    n_words = sum(map(len, groups))
    if n_words > MOST_WORDS:
        st.info(f"{n_words} words are too many for one picture. Take away {n_words - MOST_WORDS} at least.")
    else:
        similar = live.values(word_similarity, page.run.model, groups)
        for several in similar.left_out:
            panels.several_tokens(several)
        if len(similar.words) > 1:
            left, right = st.columns(2, gap="large")
            with left:
                panels.chart(draw.similarity(similar), key="similarity")
            with right:
                if page.view.toggle("around", f"Map what is near {words.literal(page.label)} instead"):
                    near = live.values(neighbourhood, page.run, page.position)
                    panels.chart(draw.places(near, ("nearest tokens", "the selected token")), key="places")
                else:
                    lines = [f"line {i + 1}" for i in range(len(groups))]
                    panels.chart(draw.places(similar.map, lines), key="places")
            st.markdown(words.groups_compared(similar.within, similar.between))
        else:
            st.info("Type at least two words that are one token each.")


panels.parts(
    page.view,
    "embedding",
    {
        "lookup": ("The row of each token", lookup),
        "near": ("Which rows point the same way", directions),
    },
)

raw, scaled = values.raw_norm[page.position], values.scaled_norm[page.position]
update = values.attention_norm[page.position]
panels.code(live.values(check_embed, page.run), page.run)
if panels.why(
    page.view,
    page.run,
    page.position,
    text="What a layer adds has a size of its own, whatever the row's: the larger it is beside the row, the less "
    "of the "
    f"token itself is left in the stream. The first attention adds to {words.code(page.label)} a vector of length "
    f"{words.size(update)}. That is {words.size(update / scaled)} times "
    f"the length of the rescaled row; of the row as stored it would be {words.size(update / raw)} times. Leave the "
    "rescaling out and see what becomes of the prediction.",
    edits=UNSCALED,
    without="the rescaling",
):
    as_it_is, unscaled = (
        float(live.values(layer_scales, run, 0).attention_share[page.position])
        for run in (page.run, live.edited(page.run, UNSCALED))
    )
    st.markdown(
        f"The first attention's share in the stream of {words.code(page.label)}, √(var r / (var r + var s)) with r "
        "for what is added and s for the stream, is "
        f"{as_it_is:.4f} with the rescaling and {unscaled:.4f} without it. At 1 nothing of the token itself is left."
    )
end_page(page)
