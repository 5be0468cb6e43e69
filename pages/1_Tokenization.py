"""Tokenization: how the prompt was cut into pieces of the vocabulary."""

import pandas as pd
import streamlit as st

from gemma_viz.figures import tokenization as draw
from gemma_viz.stages.tokenization import check_bpe, merging, tokenization, variants
from gemma_viz.stages.vocabulary import browse, sizes, smaller_vocabulary
from gemma_viz.tokens import visible
from gemma_viz.ui import live, panels, words
from gemma_viz.ui.page import end_page, start_page
from gemma_viz.ui.words_glossary import term

KINDS = {
    "added": "special token, added by the tokenizer",
    "special": "special token",
    "byte": "single byte",
    "text": "piece of text",
}

ENTRY_KINDS = {
    "text": "piece of text",
    "byte": "single byte",
    "special": "special token",
    "unused": "kept free",
}
# The commonest in Gemma's vocabularies.
SCRIPTS = (
    "",
    "LATIN",
    "CJK",
    "DEVANAGARI",
    "CYRILLIC",
    "BENGALI",
    "ARABIC",
    "HANGUL",
    "TAMIL",
    "THAI",
    "HIRAGANA",
    "GREEK",
)

page = start_page(
    "Tokenization",
    f"The model knows nothing of letters. Its {term('vocabulary')} is a fixed list of pieces of text, and the prompt "
    "is cut into entries of that list. From here on there are only their numbers.",
)
values = live.values(tokenization, page.run)
piece = values.pieces[page.position]

st.header("What happens")
left, right = st.columns([3, 2], gap="large")
with left:
    st.dataframe(
        pd.DataFrame(
            {
                "position": [p.token.position for p in values.pieces],
                "piece": [p.token.piece for p in values.pieces],
                "id": [p.token.id for p in values.pieces],
                "text": [visible(p.token.text) for p in values.pieces],
                "bytes": [len(p.utf8) for p in values.pieces],
                "in hex": [p.utf8.hex(" ") for p in values.pieces],
                "what it is": [KINDS[p.kind] for p in values.pieces],
            }
        ),
        hide_index=True,
        height=min(38 + 35 * len(values.pieces), 420),
        key="pieces",
    )
with right:
    spaces = {0: "holds no space", 1: "holds one space, written ▁ in the vocabulary and ␣ on these pages"}.get(
        piece.spaces, f"holds {piece.spaces} spaces, each written ▁"
    )
    st.markdown(
        f"**The selected token.** {words.code(visible(piece.token.piece))} is entry **{piece.token.id:,}** of "
        f"{values.vocab_size:,}. It is a {KINDS[piece.kind]}"
        + (
            f", {spaces}, and stands for {words.counted(len(piece.utf8), 'byte')} of the text."
            if piece.kind == "text"
            else "."
        )
    )
    neighbours = [words.code(visible(entry)) for entry in values.neighbours[page.position]]
    st.markdown(
        f"Next to it in the list {'stand' if len(neighbours) > 1 else 'stands'} {' and '.join(neighbours)}: an id is "
        "only a row number in the vocabulary and says nothing of meaning. Among the pieces that were made by merging, "
        "a lower id was merged earlier."
    )
    st.markdown(
        "The cut loses nothing: joined again, the pieces give exactly the prompt."
        if values.round_trip
        else "Joined again, the pieces do not give exactly the prompt: the names of special tokens in it were read as "
        "those tokens, or it holds the sign ▁ itself, which reads as a space."
    )
    panels.chart(draw.lengths(values), key="lengths")

st.header("How the word was put together")
built = live.values(merging, page.run, page.position)
n_merges = len(built.merges)
if n_merges:
    st.markdown(
        "Training counted which two neighbouring pieces stand together most often, joined them into a new entry, and "
        "began again. A text is cut by the same joins in the same order. "
        f"{words.code(built.word)} begins as {len(built.states[0])} single characters:"
    )
    done = page.view.integer("merge", "Merges done", 0, n_merges, default=n_merges)
    st.markdown("### " + words.pieces(built.states[done]))
    if done:
        joined, rank = built.merges[done - 1]
        st.markdown(
            f"Merge {done} made {words.code(joined)}, entry {rank:,}. Of all neighbours that could be joined it came "
            "first in the vocabulary."
        )
    used = built.states[-1]
    shortest = len(built.fewest[0])
    st.markdown(
        f"**Other cuts.** With these entries the same letters can be cut in {built.n_cuts:,} ways. BPE does not "
        f"compare them; it takes what its order of merges leads to: {words.pieces(used)}, "
        + (
            f"{len(used)} pieces. The shortest cut has {shortest}: {words.pieces(built.fewest[0])}."
            if shortest < len(used)
            else "which is also a shortest one."
        )
    )
    others = [cut for cut in built.fewest if cut != used]
    if others:
        st.markdown("Some of the others: " + " · ".join(words.pieces(cut) for cut in others))
else:
    st.markdown(f"{words.code(visible(built.word))} is an entry as it stands: there is nothing to put together.")

if piece.kind == "text" and piece.token.text.strip():
    st.header("A space or a capital makes another token")
    spelled = live.values(variants, page.run, page.position)
    st.dataframe(
        pd.DataFrame(
            {
                "text": [visible(v.text) for v in spelled],
                "pieces": [" ".join(v.pieces) for v in spelled],
                "ids": [", ".join(map(str, v.ids)) for v in spelled],
                "similarity": [v.similarity for v in spelled],
            }
        ),
        hide_index=True,
        column_config={
            "similarity": st.column_config.NumberColumn(
                f"cosine to the row of {piece.token.piece}", format="%.2f", help="Of entries that are one token."
            )
        },
        key="variants",
    )
    st.caption(
        "To the model these are different numbers. How near their rows are, where each has one, is what it has learned "
        "of their meaning."
    )

panels.code(live.values(check_bpe, page.run), page.run)
st.caption(
    f"{term('special token', 'Special tokens')} and a few other names are cut out whole before this. The difference "
    "counts pieces that come out otherwise than the tokenizer's, in the first 600 characters."
)

st.header("Why")
st.markdown(
    "A text could be cut finer. With single bytes the vocabulary would have 256 entries, but "
    f"{words.into_bytes(values.n_bytes, values.n_tokens)}, and attention compares every position with every earlier "
    f"one. It could be cut coarser, into whole words, but then new words have no entry. Gemma's "
    f"{values.vocab_size:,} entries are the compromise: common words are one piece, rare ones several, and characters "
    f"that are in no piece fall back to the {values.n_byte_pieces} single bytes. The price is the table: "
    f"{values.embedding_parameters / 1e6:,.0f} million parameters, {values.embedding_share:.0%} of this model."
)
if page.view.toggle("smaller", "Stop the merges earlier, and see what a smaller vocabulary does"):
    model = page.run.model
    offered = live.values(sizes, model)
    choices = [f"{size:,}" for size in offered]
    chosen = page.view.step("entries", "Entries of the vocabulary", choices, default="32,000")
    with st.spinner("Cutting the texts with smaller vocabularies …"):
        tried = {
            name: live.values(smaller_vocabulary, model, page.run.text, size)
            for name, size in zip(choices, offered, strict=True)
        }
    cut = tried[chosen]
    st.markdown(
        f"With {cut.size:,} entries your prompt is {words.counted(len(cut.tokens), 'token')}: "
        + words.pieces(cut.tokens[:60])
        + (" …" if len(cut.tokens) > 60 else "")
    )
    st.markdown(
        f"The table would have {cut.embedding_parameters / 1e6:,.0f} million parameters, {cut.embedding_share:.0%} of "
        "such a model. The grey band is where vocabularies made for a language or two usually are; Gemma's is several "
        "times as large, and it is other scripts that gain most."
    )
    panels.chart(draw.by_vocabulary_size(list(tried.values()), cut.size), key="by_vocabulary_size")
    st.dataframe(
        pd.DataFrame(
            {
                "text": list(cut.cuts),
                "tokens": [c.n_tokens for c in cut.cuts.values()],
                "tokens per word": [c.n_tokens / max(1, c.n_words) for c in cut.cuts.values()],
                "tokens per character": [c.n_tokens / max(1, c.n_characters) for c in cut.cuts.values()],
                "words in one piece": [c.in_one_piece for c in cut.cuts.values()],
            }
        ),
        hide_index=True,
        column_config={
            "tokens per word": st.column_config.NumberColumn(format="%.2f"),
            "tokens per character": st.column_config.NumberColumn(format="%.2f"),
            "words in one piece": st.column_config.NumberColumn(format="percent"),
        },
        key="cuts",
    )

st.header("The vocabulary itself")
left, middle, right = st.columns(3, gap="large")
with left:
    search = page.view.text("search", "Entries that hold this text", "")
with middle:
    script = page.view.choice(
        "script", "Script of the first letter", SCRIPTS, format_func=lambda s: s.capitalize() or "any"
    )
with right:
    kind = page.view.choice(
        "kind", "Kind of entry", ["", *ENTRY_KINDS], format_func=lambda k: ENTRY_KINDS.get(k, "any")
    )
first_id = page.view.integer("from", "From id", 0, values.vocab_size - 1, default=0)
entries, n_entries = live.values(browse, page.run.model, search, first_id, script, kind)
if entries:
    st.dataframe(
        pd.DataFrame(
            {
                "id": [entry.id for entry in entries],
                "entry": [entry.piece for entry in entries],
                "adds to a text": [entry.text for entry in entries],
                "kind": [ENTRY_KINDS[entry.kind] for entry in entries],
                "script": [entry.script for entry in entries],
            }
        ),
        hide_index=True,
        height=320,
        key="entries",
    )
    st.caption(
        ("1 entry" if n_entries == 1 else f"{n_entries:,} entries")
        + (f", the first {len(entries)} shown." if n_entries > len(entries) else ".")
    )
else:
    st.info("No entry is like that. Shorten the text, or choose another script or kind.")
end_page(page)
