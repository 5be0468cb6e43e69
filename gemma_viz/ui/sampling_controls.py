"""The controls for how a token is drawn, the same wherever one is."""

import streamlit as st

from gemma_viz.sampling import Sampling
from gemma_viz.ui.view import View

SEEDS = 1000

TEMPERATURES = [f"{tenth / 10:g}" for tenth in range(21)]
TOP_KS = ["0", "1", "2", "3", "5", "10", "20", "40", "64", "100", "200", "500", "1000"]
TOP_PS = [f"{twentieth / 20:g}" for twentieth in range(1, 21)]
MIN_PS = ["0", "0.01", "0.02", "0.05", "0.1", "0.2", "0.3", "0.5", "0.8", "1"]
PENALTIES = ["1", "1.05", "1.1", "1.2", "1.3", "1.5", "2", "3"]


def sampling_controls(view: View, next_seed: str = "Draw again with the next seed") -> Sampling:
    """Draw the controls, and a button that moves the seed on. next_seed: what the button says"""
    controls = [*st.columns(3, gap="large"), *st.columns(3, gap="large")]
    with controls[0]:
        penalty = view.step("repetition", "Repetition penalty (1: off)", PENALTIES, default="1")
    with controls[1]:
        temperature = view.step("temperature", "Temperature (0: greedy)", TEMPERATURES, default="1")
    with controls[2]:
        top_k = view.step("top_k", "Top-k (0: off)", TOP_KS, default="64")
    with controls[3]:
        top_p = view.step("top_p", "Top-p (1: off)", TOP_PS, default="0.95")
    with controls[4]:
        min_p = view.step("min_p", "Min-p (0: off)", MIN_PS, default="0")
    with controls[5]:
        seed = view.integer("seed", "Seed", 0, SEEDS - 1, default=0)
    again = (seed + 1) % SEEDS
    st.button(next_seed, on_click=view.set, kwargs={"seed": str(again) if again else None})
    return Sampling(float(temperature), int(top_k), float(top_p), float(min_p), float(penalty), seed)
