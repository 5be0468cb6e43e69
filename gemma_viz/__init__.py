"""Gemma Viz: see inside Gemma, with your own prompt, on the real model.

    import gemma_viz as gv

    model = gv.load()                      # the embedded Gemma 3 270M; or gv.load("google/gemma-2b"), gv.load(path)
    cap = model.capture("I want to move")
    cap.attention(3).pattern               # [head, query, key]
    cap.top_k(5).texts

Everything that captures return is a torch tensor on the CPU in float32, for one prompt, without a batch axis, unless
its docstring says otherwise.
"""

from gemma_viz.capture import Capture
from gemma_viz.checkpoints import load
from gemma_viz.edits import Edits
from gemma_viz.inside import MLP, Attention
from gemma_viz.model import Model, NearestTokens
from gemma_viz.ranking import TopK
from gemma_viz.spec import ModelSpec
from gemma_viz.tokens import Token

__all__ = [
    "MLP",
    "Attention",
    "Capture",
    "Edits",
    "Model",
    "ModelSpec",
    "NearestTokens",
    "Token",
    "TopK",
    "load",
]
