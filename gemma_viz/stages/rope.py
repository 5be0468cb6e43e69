"""RoPE: wavelengths, the rotation of one pair of components, and scores that depend on the distance only."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from gemma_viz.capture import Capture
from gemma_viz.stages import Check, Floats, check, to_numpy
from gemma_viz.steps import rope as rope_step


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
class Rotation:
    """One pair of components of one head's queries, before and after.

    before, after: float32 [position, 2], components i and i + d_head / 2
    degrees: float32 [position], by how much each was turned
    wavelength: float, tokens for one whole turn
    """

    before: Floats
    after: Floats
    degrees: Floats
    wavelength: float


@dataclass(frozen=True)
class Vectors:
    """q, rot_q: float32 [d_head], the query of one head at one position before and after"""

    q: Floats
    rot_q: Floats


@dataclass(frozen=True)
class ScoreByOffset:
    """The score of one query and one key, were the key `offset` tokens before the query.

    offsets: int [offset]; scores: float32 [offset], scaled
    scores_shifted: the same with both moved on by `shift` tokens: RoPE makes the two equal
    shift: int, tokens
    """

    offsets: np.ndarray
    scores: Floats
    scores_shifted: Floats
    shift: int


def wavelengths(cap: Capture) -> Wavelengths:
    """Tokens for one whole turn of each pair of components."""
    spec = cap.model.spec
    thetas = dict.fromkeys(spec.rope_thetas)
    return Wavelengths(
        wavelengths={theta: _wavelengths(theta, spec.d_head) for theta in thetas},
        layers={theta: tuple(i for i, t in enumerate(spec.rope_thetas) if t == theta) for theta in thetas},
        context_length=spec.context_length,
    )


def rotation(cap: Capture, layer: int, head: int, pair: int) -> Rotation:
    """How the queries of a head are turned in one pair of components."""
    values, spec = cap.attention(layer), cap.model.spec
    both = [pair, pair + spec.d_head // 2]
    wavelength = float(_wavelengths(spec.rope_thetas[layer], spec.d_head)[pair])
    return Rotation(
        before=to_numpy(values.q[head][:, both]),
        after=to_numpy(values.rot_q[head][:, both]),
        degrees=(np.arange(len(cap)) * (360 / wavelength)).astype(np.float32),
        wavelength=wavelength,
    )


def vectors(cap: Capture, layer: int, head: int, position: int) -> Vectors:
    """The whole query of one head at one position."""
    values = cap.attention(layer)
    return Vectors(to_numpy(values.q[head, position]), to_numpy(values.rot_q[head, position]))


def score_by_offset(cap: Capture, layer: int, head: int, query: int, key: int, shift: int = 100) -> ScoreByOffset:
    """Turn one captured query and key to other positions and score them, with `steps.rope`."""
    values, spec = cap.attention(layer), cap.model.spec
    theta, furthest = spec.rope_thetas[layer], 64
    n = furthest + shift + 1
    q = rope_step(values.q[head, query].expand(1, n, -1), theta)[0]  # this query at every position
    k = rope_step(values.k[head // spec.group_size, key].expand(1, n, -1), theta)[0]
    offsets = torch.arange(furthest + 1)
    return ScoreByOffset(
        offsets=offsets.numpy(),
        scores=to_numpy((q[furthest] * k[furthest - offsets]).sum(-1) * spec.attention_scale),
        scores_shifted=to_numpy((q[furthest + shift] * k[furthest + shift - offsets]).sum(-1) * spec.attention_scale),
        shift=shift,
    )


def check_rope(cap: Capture, layer: int) -> Check:
    """`steps.rope` against the queries that the model's attention was given."""
    values = cap.attention(layer)
    mine = rope_step(values.q, cap.model.spec.rope_thetas[layer])
    return check(rope_step, f"rope(q, theta), layer {layer}", mine, values.rot_q)


def _wavelengths(theta: float, d_head: int) -> Floats:
    pair = np.arange(0, d_head, 2) / d_head
    return (2 * math.pi * theta**pair).astype(np.float32)
