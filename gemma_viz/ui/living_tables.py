"""The numbers of the living picture as tables."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from gemma_viz.stages.flow import Flow
from gemma_viz.ui.page import Page


def living_tables(page: Page, values: Flow, following: Sequence[tuple[str, float]]) -> None:
    """Draw them for all tokens that the picture has. following: as for `living_picture`."""
    st.caption(
        "RMS is the size of a token’s stream, “÷ stream” how large an update is beside the stream that it is added to. "
        "The rows of the selected token come first."
    )
    _flow(page, values)
    _likeliest(page, values.shown, following)


def _flow(page: Page, values: Flow) -> None:
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


def _likeliest(page: Page, shown: range, following: Sequence[tuple[str, float]]) -> None:
    nexts, shares = zip(*following, strict=True)
    tokens = {"position": shown, "token": [page.labels[at] for at in shown]}
    st.dataframe(
        pd.DataFrame({**tokens, "likeliest next": nexts, "its probability": shares}),
        hide_index=True,
        key="living_nexts",
    )
