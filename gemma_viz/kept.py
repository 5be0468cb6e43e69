"""What a capture keeps of its run: what enters each layer, and every layer's keys and values.

The stream is enough to make everything else, by calling a layer again. With the keys and values a text that begins like
this one need not be run from its start.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

from gemma_viz.run import Run

NAMES = ("resid_pre", "resid_post", "rot_k", "values")  # what a run has to keep for it


@dataclass(frozen=True)
class Kept:
    """By reference, in the model's dtype, each where its layer is.

    stream: list of [batch 1, position, d_model], at n_layers + 1 depths: what enters each layer, and leaves the last
    keys_values: of each layer, the keys after RoPE and the values: [batch 1, kv_head, position, d_head] both
    """

    stream: list[Tensor]
    keys_values: list[tuple[Tensor, Tensor]]

    @classmethod
    def of(cls, run: Run) -> "Kept":
        """Of a run through all layers that was to keep `NAMES`."""
        layers = range(sum(name == "resid_pre" for name, _ in run.values))
        return cls(
            stream=[*(run.values["resid_pre", layer] for layer in layers), run.values["resid_post", layers[-1]]],
            keys_values=[(run.values["rot_k", layer], run.values["values", layer]) for layer in layers],
        )

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        pairs = (tensor for pair in self.keys_values for tensor in pair)
        return sum(tensor.nbytes for tensor in (*self.stream, *pairs))

    def past(self, n: int | None = None) -> DynamicCache:
        """The keys and values of the first n tokens, of all if not said; what is added to them does not come back."""
        return DynamicCache([(keys[:, :, :n], values[:, :, :n]) for keys, values in self.keys_values])

    def after(self, earlier: "Kept", n: int) -> "Kept":
        """With the stream of an earlier run's first n tokens before its own; the keys and values have them already."""
        pairs = zip(earlier.stream, self.stream, strict=True)
        return Kept([torch.cat([before[:, :n], new], 1) for before, new in pairs], self.keys_values)

    def apart(self, lengths: Sequence[int]) -> "list[Kept]":
        """Of texts that were run one after the other in one row: each one's own."""
        streams = [_copies(stream, lengths, 1) for stream in self.stream]
        pairs = [(_copies(keys, lengths, 2), _copies(values, lengths, 2)) for keys, values in self.keys_values]
        return [
            Kept([stream[n] for stream in streams], [(keys[n], values[n]) for keys, values in pairs])
            for n in range(len(lengths))
        ]


def _copies(tensor: Tensor, lengths: Sequence[int], axis: int) -> list[Tensor]:
    """The parts; a view would keep everybody's values in memory for as long as one of the texts is looked at."""
    return [part.clone() for part in torch.split(tensor, list(lengths), dim=axis)]
