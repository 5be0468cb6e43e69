"""RoPE: one pair of components as a clock hand, scores by distance, and what each pair adds to a score."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gemma_viz.capture import Capture
from gemma_viz.inside import Attention
from gemma_viz.rotations import rotations, turned_to
from gemma_viz.stages import Check, Floats, check, counted, to_numpy
from gemma_viz.stages.wavelengths import layer_wavelengths, pairs
from gemma_viz.steps import rope as rope_step

LEAST_DISTANCES = 64  # over which a score is followed


@dataclass(frozen=True)
class Rotation:
    """One pair of components of one head's queries, and of the keys it reads, before and after.

    q, rot_q, k, rot_k: float32 [position, 2], components i and i + d_head / 2
    degrees: float64 [position], by how much each was turned, all whole turns included
    wavelength: float, tokens for one whole turn
    kv_head: int, the key/value head whose keys these are
    """

    q: Floats
    rot_q: Floats
    k: Floats
    rot_k: Floats
    degrees: npt.NDArray[np.float64]
    wavelength: float
    kv_head: int


@dataclass(frozen=True)
class Vectors:
    """q, rot_q: float32 [d_head], the query of one head at one position before and after"""

    q: Floats
    rot_q: Floats


@dataclass(frozen=True)
class ScoreByDistance:
    """The score of one query and one key, at their own places and at others. Scaled, before any soft-cap.

    query, key: int, their positions; shift: int, tokens by which both are moved on
    score, moved: float, the captured q and k turned to their own places, and both turned `shift` tokens further
    models: float, from the queries and keys that the model turned itself
    capped: float or None, what Gemma 2's soft-cap makes of the model's score
    visible: bool, whether the query may look at the key in this layer
    distances: int [distance], tokens from key to query, from 0 to their own or `LEAST_DISTANCES`
    scores, scores_moved: float32 [distance], as `score` and `moved`, were the key so far before the query
    """

    query: int
    key: int
    shift: int
    score: float
    moved: float
    models: float
    capped: float | None
    visible: bool
    distances: npt.NDArray[np.int64]
    scores: Floats
    scores_moved: Floats


@dataclass(frozen=True)
class Contributions:
    """One score as a sum over pairs of components.

    parts: float32 [pair], scaled: the product of the two lengths and of the cosine of the angle between the hands
    score: float, what the model's own turned query and key give at once, scaled, before any soft-cap
    wavelengths: float32 [pair], tokens for one whole turn
    """

    parts: Floats
    score: float
    wavelengths: Floats


@counted
def rotation(cap: Capture, layer: int, head: int, pair: int) -> Rotation:
    """How the queries of a head, and the keys it reads, are turned in one pair of components."""
    values, spec = cap.attention(layer), cap.model.spec
    both, kv_head = [pair, pair + spec.d_head // 2], head // spec.group_size
    wavelength = float(layer_wavelengths(cap, layer)[pair])
    return Rotation(
        q=to_numpy(values.q[head][:, both]),
        rot_q=to_numpy(values.rot_q[head][:, both]),
        k=to_numpy(values.k[kv_head][:, both]),
        rot_k=to_numpy(values.rot_k[kv_head][:, both]),
        degrees=_positions(cap, layer).numpy() * (360 / wavelength),
        wavelength=wavelength,
        kv_head=kv_head,
    )


@counted
def vectors(cap: Capture, layer: int, head: int, position: int) -> Vectors:
    """The whole query of one head at one position."""
    values = cap.attention(layer)
    return Vectors(to_numpy(values.q[head, position]), to_numpy(values.rot_q[head, position]))


@counted
def score_by_distance(cap: Capture, layer: int, head: int, query: int, key: int, shift: int) -> ScoreByDistance:
    """Turn one captured query and key to other positions, with the model's own rotations, and score them."""
    values, spec = cap.attention(layer), cap.model.spec
    q, k = values.q[head, query], values.k[head // spec.group_size, key]
    distances = torch.arange(max(LEAST_DISTANCES, query - key) + 1)
    furthest = distances[-1:]

    def scores(queries: Tensor, keys: Tensor) -> Tensor:
        """[position], of this query and this key, put at these positions."""
        turned_q, turned_k = turned(cap, layer, q, queries), turned(cap, layer, k, keys)
        return (turned_q * turned_k).sum(-1) * values.rule.scale / values.rule.temperature

    own_query, own_key = torch.tensor([query]), torch.tensor([key])
    as_the_model_has_it = values.scores_of(slice(head, head + 1), slice(query, query + 1), slice(key, key + 1))
    visible = bool(as_the_model_has_it.isfinite())
    return ScoreByDistance(
        query=query,
        key=key,
        shift=shift,
        score=float(scores(own_query, own_key)),
        moved=float(scores(own_query + shift, own_key + shift)),
        models=uncapped_score(values, head, query, key),
        capped=float(as_the_model_has_it) if visible and values.rule.softcap else None,
        visible=visible,
        distances=distances.numpy(),
        scores=to_numpy(scores(furthest, furthest - distances)),
        scores_moved=to_numpy(scores(furthest + shift, furthest + shift - distances)),
    )


@counted
def contributions(cap: Capture, layer: int, head: int, query: int, key: int) -> Contributions:
    """What each pair of components adds to the score of a query and a key."""
    values, spec = cap.attention(layer), cap.model.spec
    rot_q, rot_k = values.rot_q[head, query], values.rot_k[head // spec.group_size, key]  # [d_head]
    return Contributions(
        parts=to_numpy((pairs(rot_q) * pairs(rot_k)).sum(-1) * values.rule.scale / values.rule.temperature),
        score=uncapped_score(values, head, query, key),
        wavelengths=layer_wavelengths(cap, layer),
    )


def _positions(cap: Capture, layer: int) -> Tensor:
    """By how many tokens' turn each token is turned: float64 [position]."""
    edits = cap.edits.in_layer(layer)
    positions = turned_to(torch.arange(len(cap), dtype=torch.float64)[None], edits)[0]
    return positions / (abs(edits.rope_stretch) or 1.0)


@counted
def turned(cap: Capture, layer: int, vector: Tensor, positions: Tensor) -> Tensor:
    """One query or key as the layer turns it at each of some positions: float32 [position, d_head].

    vector: float32 [d_head], before RoPE; positions: int [position]
    """
    edits = replace(cap.edits, rope_shuffle=None)  # a random order is one of all tokens
    cos, sin = rotations(cap.model.hf, cap.model.spec, layer, vector[None, None], positions[None], edits)
    x, y = vector.chunk(2)  # pair i is made of components i and i + d_head / 2
    return vector * cos[0] + torch.cat([-y, x]) * sin[0]


def uncapped_score(values: Attention, head: int, query: int, key: int) -> float:
    """What the model's own turned query and key give, scaled, before any soft-cap, whether it may look there or not."""
    everywhere = replace(values, rule=replace(values.rule, softcap=None, causal=False))
    return float(everywhere.scores_of(slice(head, head + 1), slice(query, query + 1), slice(key, key + 1)))


@counted
def check_rope(cap: Capture, layer: int) -> Check:
    """`steps.rope` against the queries that the model's attention was given."""
    values = cap.attention(layer)
    theta, slower = cap.model.spec.rope_thetas[layer], cap.model.spec.rope_factors[layer]
    call = "rope(q, theta)" if slower == 1 else f"rope(q, theta, slower={slower:g})"
    return check(rope_step, f"{call}, layer {layer}", rope_step(values.q, theta, slower), values.rot_q)
