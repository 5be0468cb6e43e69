"""The whole pass as one picture: a column of blocks, each with this prompt's shapes, each a link to its page."""

import streamlit as st

from gemma_viz.stages.overview import Overview
from gemma_viz.ui import words
from gemma_viz.ui.page import PAGES
from gemma_viz.ui.view import View


def blocks(view: View, values: Overview, label: str) -> None:
    """Draw the blocks from the text down to the prediction."""
    spec, n = values.spec, values.n_positions
    token = words.code(label)
    _block(
        view,
        "pages/1_Tokenization.py",
        f"{values.n_characters:,} characters → {n:,} tokens",
        f"{token} is entry {values.token_id:,} of {spec.vocab_size:,}",
    )
    _arrow(f"token ids [{n}]")
    _block(
        view,
        "pages/2_Embedding.py",
        f"one row of {spec.d_model:,} numbers for each token, × {values.embedding_factor:.2f}",
        f"RMS of {token}: {words.size(values.raw_rms)} → {words.size(values.embedded_rms)}",
    )
    _arrow(f"residual stream [{n} × {spec.d_model:,}]")
    with st.container(border=True):
        st.markdown(f"**{spec.n_layers} layers**, one after the other. Each adds two updates to the stream:")
        _link(view, "pages/3_Transformer_layer.py")
        _block(
            view,
            "pages/4_Attention.py",
            "RMSNorm → attention → add",
            f"{spec.n_heads} query heads, {spec.n_kv_heads} key/value head{'s' if spec.n_kv_heads > 1 else ''}, "
            f"{spec.d_head} numbers each",
            f"{spec.n_heads} patterns [{n} × {n}]: which token reads which",
        )
        _block(
            view,
            "pages/5_RoPE.py",
            "inside attention: turns queries and keys by their position",
            f"{spec.d_head // 2} pairs of components, each with its own wavelength",
        )
        _block(
            view,
            "pages/6_MLP.py",
            "RMSNorm → MLP → add",
            f"{spec.d_model:,} → {spec.d_mlp:,} → {spec.d_model:,} numbers, each token by itself",
            "gelu(gate) × up, then down",
        )
        st.caption(
            f"RMS of {token}: {words.size(values.embedded_rms)} before the first layer, "
            f"{words.size(values.first_layer_rms)} after it, {words.size(values.last_rms)} after the last."
        )
    _arrow(f"residual stream [{n} × {spec.d_model:,}]")
    best = f"likeliest next: {words.percent(values.top.probabilities[0])}"
    tied = "the embedding table again" if spec.tied else "a matrix of its own"
    _block(
        view,
        "pages/7_Output.py",
        "final norm → output projection → softmax",
        f"{tied}: {spec.d_model:,} → {spec.vocab_size:,} logits for each token",
        f"RMS {words.size(values.last_rms)} → {words.size(values.normed_rms)}, {best}",
    )


def _block(view: View, page: str, *facts: str) -> None:
    with st.container(border=True):
        _link(view, page)
        st.markdown("  \n".join(facts))


def _link(view: View, page: str) -> None:
    view.page_link(page, f"**{PAGES[page]}**", icon=":material/arrow_forward:", icon_position="right")


def _arrow(shape: str) -> None:
    st.caption(f"↓ {shape}", text_alignment="center")
