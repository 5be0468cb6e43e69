"""Positions drawn: heads by how much they depend on them, and patterns side by side."""

from collections.abc import Sequence

import plotly.graph_objects as go

from gemma_viz.figures.attention import pattern_heatmap
from gemma_viz.figures.heads import distances
from gemma_viz.stages import Floats
from gemma_viz.stages.positions import ChangedPatterns


def sensitivity(values: Floats, layer: int, head: int) -> go.Figure:
    """Heatmap: how much of each head's attention comes from position. values: [layer, head]."""
    return distances(values, layer, head, "How much of each head's attention comes from position")


def pattern(
    values: ChangedPatterns, changed: bool, head: int, labels: Sequence[str], query: int, title: str
) -> go.Figure:
    """Heatmap: one head's pattern around a token, in the untouched run or in the changed one."""
    weights = (values.after if changed else values.before)[head]
    return pattern_heatmap(weights, values.shown, labels, query, title, height=440)
