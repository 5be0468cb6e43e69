"""Wavelengths of RoPE: how many tokens one turn takes, and which of them each head uses."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from gemma_viz.capture import Capture
from gemma_viz.rotations import rotations
from gemma_viz.stages import Floats, counted, to_numpy

SHORTEST_TURN = 24  # tokens; where faster pairs turn too far between neighbours to be followed by eye


@dataclass(frozen=True)
class Wavelengths:
    """wavelengths: {theta: float32 [pair]}, tokens for one whole turn, for each theta the model has

    layers: {theta: tuple of int}, the layers that use it
    context_length: int, tokens
    """

    wavelengths: dict[float, Floats]
    layers: dict[float, tuple[int, ...]]
    context_length: int


@dataclass(frozen=True)
class PairLengths:
    """How much the heads of a layer use each pair of components: its mean length over the prompt's tokens.

    q: float32 [head, pair]; k: float32 [kv_head, pair]. Turning does not change a length
    wavelengths: float32 [pair], tokens for one whole turn in this layer
    """

    q: Floats
    k: Floats
    wavelengths: Floats


def wavelengths(cap: Capture) -> Wavelengths:
    """Tokens for one whole turn of each pair of components, in every kind of layer."""
    spec = cap.model.spec
    thetas = [cap.edits.in_layer(layer).rope_theta or theta for layer, theta in enumerate(spec.rope_thetas)]
    layers = {theta: tuple(i for i, t in enumerate(thetas) if t == theta) for theta in dict.fromkeys(thetas)}
    return Wavelengths(
        wavelengths={theta: layer_wavelengths(cap, users[0]) for theta, users in layers.items()},
        layers=layers,
        context_length=spec.context_length,
    )


@counted
def layer_wavelengths(cap: Capture, layer: int) -> Floats:
    """Tokens for one whole turn of each pair in a layer: float32 [pair]. Read off the model's own rotation by one.

    Infinite where nothing turns.
    """
    one, edits = torch.ones(1, 1), cap.edits.in_layer(layer)
    unmoved = replace(edits, rope_shift=0, rope_stretch=1.0, rope_shuffle=None, layers=None)
    cos, sin = rotations(cap.model.hf, cap.model.spec, layer, one, one, unmoved)  # [1, 1, d_head], both halves alike
    radians = torch.atan2(sin, cos)[0, 0, : cap.model.spec.d_head // 2]  # [pair], from one token to the next
    return to_numpy(2 * torch.pi / radians / abs(edits.rope_stretch))


def visible_pair(wavelengths: Floats, n_positions: int) -> int:
    """The pair whose turn is seen best over a text: about one whole turn, of a short text a part of one.

    wavelengths: float32 [pair], tokens for one turn; n_positions: int, tokens of the text
    """
    turn = max(n_positions, SHORTEST_TURN)
    return int(np.abs(np.log(wavelengths / turn)).argmin())


@counted
def pair_lengths(cap: Capture, layer: int) -> PairLengths:
    """Mean length of each pair of components in the queries and keys of a layer."""
    values = cap.attention(layer)
    return PairLengths(
        q=to_numpy(pairs(values.q).norm(dim=-1).mean(1)),
        k=to_numpy(pairs(values.k).norm(dim=-1).mean(1)),
        wavelengths=layer_wavelengths(cap, layer),
    )


def pairs(x: Tensor) -> Tensor:
    """[..., pair, 2] from [..., d_head]: pair i is made of components i and i + d_head / 2."""
    return torch.stack(x.chunk(2, dim=-1), dim=-1)
