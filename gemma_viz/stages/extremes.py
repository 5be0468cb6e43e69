"""Extremes: the vocabulary tokens with the largest and the smallest values of something."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gemma_viz.model import Model
from gemma_viz.stages import Floats, to_numpy


@dataclass(frozen=True)
class Extremes:
    """The vocabulary tokens with the largest and with the smallest values of something.

    Only entries that stand for text; a model never sees or says those that are kept free.

    highest, lowest: tuples of str, texts of tokens, the most extreme first
    highest_values, lowest_values: float32 [k]
    """

    highest: tuple[str, ...]
    lowest: tuple[str, ...]
    highest_values: Floats
    lowest_values: Floats


def extremes(model: Model, values: Tensor, k: int) -> Extremes:
    """The k largest and the k smallest of float32 [vocab_size], among the entries that stand for text."""
    among = torch.from_numpy(model.vocabulary.text_ids)
    candidates = values.cpu()[among]
    k = min(k, len(candidates) // 2)
    high, low = candidates.topk(k), candidates.topk(k, largest=False)
    return Extremes(
        highest=tuple(map(model.token_text, among[high.indices].tolist())),
        lowest=tuple(map(model.token_text, among[low.indices].tolist())),
        highest_values=to_numpy(high.values),
        lowest_values=to_numpy(low.values),
    )
