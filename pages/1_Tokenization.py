"""Tokenization: how the prompt was cut into pieces of the vocabulary."""

import pandas as pd
import streamlit as st

from gemma_viz.figures import tokenization as draw
from gemma_viz.stages.tokenization import check_bpe, tokenization
from gemma_viz.tokens import visible
from gemma_viz.ui import live, panels, words
from gemma_viz.ui.page import end_page, start_page

KINDS = {
    "added": "added by the tokenizer",
    "special": "special token",
    "byte": "single byte",
    "text": "piece of text",
}

page = start_page(
    "Tokenization",
    "The model knows nothing of letters. Its vocabulary is a fixed list of pieces of text, and the prompt is cut into "
    "entries of that list. From here on there are only their numbers.",
)
values = live.values(tokenization, page.cap)
piece = values.pieces[page.position]

st.subheader("What happens")
left, right = st.columns([3, 2], gap="large")
with left:
    st.dataframe(
        pd.DataFrame(
            {
                "position": [p.token.position for p in values.pieces],
                "piece": [p.token.piece for p in values.pieces],
                "id": [p.token.id for p in values.pieces],
                "text": [visible(p.token.text) for p in values.pieces],
                "bytes (hex)": [p.utf8.hex(" ") for p in values.pieces],
                "what it is": [KINDS[p.kind] for p in values.pieces],
            }
        ),
        hide_index=True,
        height=min(38 + 35 * len(values.pieces), 420),
        key="pieces",
    )
with right:
    spaces = {0: "holds no space", 1: "holds one space, written ▁"}.get(
        piece.spaces, f"holds {piece.spaces} spaces, each written ▁"
    )
    st.markdown(
        f"**The selected token.** {words.code(piece.token.piece)} is entry **{piece.token.id:,}** of "
        f"{values.vocab_size:,}. It is a {KINDS[piece.kind]}"
        + (f", {spaces}, and stands for {len(piece.utf8)} bytes of the text." if piece.kind == "text" else ".")
    )
    st.markdown(
        "The cut loses nothing: joined again, the pieces give exactly the prompt."
        if values.round_trip
        else "Joined again, the pieces do not give exactly the prompt: the names of special tokens in it were read as "
        "those tokens, or it holds the sign ▁ itself, which reads as a space."
    )
    panels.chart(draw.lengths(values), key="lengths")

panels.code(live.values(check_bpe, page.cap))
st.caption(
    "Special tokens and a few other names are cut out whole before this. The difference counts pieces that come out "
    "otherwise than the tokenizer's, in the first 600 characters."
)
st.subheader("Why")
st.markdown(
    f"A text could be cut finer. With single bytes the vocabulary would have 256 entries, but this prompt would be "
    f"{values.n_bytes:,} positions long instead of {values.n_tokens:,}, and attention compares every position with "
    f"every earlier one. It could be cut coarser, into whole words, but then new words have no entry. Gemma's "
    f"{values.vocab_size:,} entries are the compromise: common words are one piece, rare ones several, and characters "
    f"that are in no piece fall back to the {values.n_byte_pieces} single bytes. The price is the table: "
    f"{values.embedding_parameters / 1e6:,.0f} million parameters, {values.embedding_share:.0%} of this model."
)
end_page(page)
