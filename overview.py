"""Overview: the whole pass as one living picture, the likeliest next tokens, and the way into every page."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from gemma_viz.figures import output as draw
from gemma_viz.stages import around
from gemma_viz.stages.flow import Flow, Likeliest, depths, embedded_rms, flow, layer_flow, read_out
from gemma_viz.stages.overview import Overview, overview
from gemma_viz.tokens import visible
from gemma_viz.ui import blocks, live, panels, words, words_flow
from gemma_viz.ui.living_picture import living_picture
from gemma_viz.ui.page import Page, end_page, start_page
from gemma_viz.ui.walk_document import walk_document

TOKENS_SHOWN = 24  # of a long text, in the picture


def whole_pass(page: Page, about: Overview) -> None:
    """The picture, and its numbers."""
    run = page.run
    shown = around(page.position, len(run), TOKENS_SHOWN)
    layers = live.values_by_layer(layer_flow, run, "Following the streams")
    values = flow(live.values(embedded_rms, run), layers, shown)
    outcome = live.values(read_out, run, shown, page.position)
    following = _labelled(outcome.following)
    early = dict(zip(depths(len(layers)), _labelled(outcome.early), strict=True))
    next_label = visible(about.top.texts[0])
    living_picture(
        page,
        values,
        following,
        early,
        words_flow.seen(values, about, page.labels, next_label),
        words_flow.told(values, about, page.labels, early, next_label),
        page.choose_token,
        key="living",
    )
    with st.expander("The numbers of this picture, as a table"):
        _table(page, values)
        _likeliest_table(page, shown, following)


def _labelled(likeliest: Likeliest) -> list[tuple[str, float]]:
    return list(zip(map(visible, likeliest.texts), likeliest.probabilities.tolist(), strict=True))


def _table(page: Page, values: Flow) -> None:
    """The numbers of all tokens that the picture has, those of the selected one first."""
    n_layers, n_tokens = values.attention.shape
    order = sorted(range(n_tokens), key=lambda at: values.shown[at] != page.position)

    def column(rows: np.ndarray) -> np.ndarray:
        return rows[:, order].T.ravel()

    st.dataframe(
        pd.DataFrame(
            {
                "position": np.repeat([values.shown[at] for at in order], n_layers),
                "token": [page.labels[values.shown[at]] for at in order for _ in range(n_layers)],
                "layer": np.tile(np.arange(n_layers), n_tokens),
                "RMS before": column(values.stream_rms[:-1:2]),
                "attention’s update ÷ stream": column(values.attention),
                "reads most from": [page.labels[key] for key in column(values.read[:, :, 0])],
                "with the weight (mean over heads)": column(values.weights[:, :, 0]),
                "RMS between": column(values.stream_rms[1::2]),
                "MLP’s update ÷ stream": column(values.mlp),
                "RMS after": column(values.stream_rms[2::2]),
            }
        ),
        hide_index=True,
        height=320,
        key="living_table",
    )


def _likeliest_table(page: Page, shown: range, following: Sequence[tuple[str, float]]) -> None:
    nexts, shares = zip(*following, strict=True)
    tokens = {"position": shown, "token": [page.labels[at] for at in shown]}
    st.dataframe(
        pd.DataFrame({**tokens, "likeliest next": nexts, "its probability": shares}),
        hide_index=True,
        key="living_nexts",
    )


page = start_page(
    "Overview",
    "A language model reads a text and says how likely each token of its vocabulary is to come next. Below your prompt "
    "flows through the real model, from top to bottom: each token is a stream of numbers, and every layer adds to it, "
    "first what **attention** reads from other tokens, then what the **MLP** makes of the token alone. Follow it row "
    "by row, point at a bar of attention to see what it reads, or open any part.",
)
values = live.values(overview, page.run, page.position)
whole_pass(page, values)
left, right = st.columns([3, 2], gap="large")

with left:
    st.subheader("Step by step")
    blocks.blocks(page.view, values, page.label)

with right:
    st.subheader("What comes next")
    top = values.top
    labels = [visible(text) for text in top.texts]
    st.markdown(
        f"After {words.code(page.label)}, token {page.position}, the model expects {words.code(labels[0])} with "
        f"{words.percent(top.probabilities[0])}."
    )
    panels.chart(draw.next_tokens(labels, top.probabilities, top.logits), key="next")
    st.markdown(
        "␣ stands for a space and ⏎ for a line break. Most of the walk is about the token you select above: choose "
        "another one and see what the model expects after it."
    )
    st.subheader("Take it with you")
    walk_document(page)

end_page(page)
