"""The mask: what a query may not see, and what it would see without."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gemma_viz.attention import hidden_keys, masked_scores
from gemma_viz.capture import Capture
from gemma_viz.edits import Edits
from gemma_viz.stages import Floats, Last, around, counted, to_numpy

SCORES_SHOWN = 96  # tokens a side
PREDICTIONS_SHOWN, PREDICTIONS_MOVED = 64, 16  # tokens, and by how many they go on in a long text
CELLS = 128  # a side of the picture of a mask
LATER, SEEN, OUTSIDE = 0, 1, 2


@dataclass(frozen=True)
class AllScores:
    """The scores of one head for all pairs, before the mask takes some away.

    shown: range, positions, of a long prompt those around the query
    scores: float32 [query, key], scaled (Gemma 2: soft-capped)
    hidden: bool [query, key], what the mask takes away
    """

    shown: range
    scores: Floats
    hidden: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class MaskShape:
    """Who sees whom in a text of some length.

    cells: int8 [query, key], LATER, SEEN or OUTSIDE (the window), each cell for several tokens
    n_positions, cell: int, tokens of the text, and of a cell's side; window: int or None
    """

    cells: npt.NDArray[np.int8]
    n_positions: int
    cell: int
    window: int | None


@dataclass(frozen=True)
class LaterToken:
    """What changes in the last layer's stream when one token is put in place of another, with the mask and without.

    position: int, of the token that is replaced
    with_mask, without_mask: float32 [position], length of the change over the length of the stream
    """

    position: int
    with_mask: Floats
    without_mask: Floats


@dataclass(frozen=True)
class Unmasked:
    """What is predicted after each position with the mask and without.

    shown: range, positions
    with_texts, without_texts: tuples of str [shown], the likeliest next tokens
    with_probability, without_probability: float32 [shown], of the token that is likeliest with the mask
    """

    shown: range
    with_texts: tuple[str, ...]
    without_texts: tuple[str, ...]
    with_probability: Floats
    without_probability: Floats


@counted
def all_scores(cap: Capture, layer: int, head: int, position: int) -> AllScores:
    """The scores of one head for all pairs, of a long prompt around a position."""
    values, shown = cap.attention(layer), around(position, len(cap), SCORES_SHOWN)
    part = slice(shown.start, shown.stop)
    queries, keys = values.rot_q[head, part], values.rot_k[head // cap.model.spec.group_size, part]
    hidden = hidden_keys(shown, shown, values.rule, queries.device)
    scores = masked_scores(queries, keys, torch.zeros_like(hidden), values.rule)
    return AllScores(shown, to_numpy(scores), hidden.numpy())


def mask_shape(window: int | None, n_positions: int) -> MaskShape:
    """Who sees whom in a layer with such a window, or with none."""
    cell = -(-n_positions // CELLS)
    places = torch.arange(0, n_positions, cell)
    distance = places[:, None] - places
    cells = torch.full(distance.shape, SEEN, dtype=torch.int8)
    cells[distance < 0] = LATER
    cells[distance >= (window or n_positions)] = OUTSIDE
    return MaskShape(cells.numpy(), n_positions, cell, window)


@counted
def later_token(cap: Capture, position: int, id: int) -> LaterToken:
    """Run the prompt with another token at a position, with the mask and without, and compare with the prompt's own.

    All runs are made afresh, of texts of one length, so that what does not depend on the token is equal bit for bit.
    Those of the prompt as it is are the same for all its tokens.
    """
    rules = (cap.edits, cap.edits.also(Edits(causal_mask=False)))

    def last_streams(ids: Sequence[int]) -> list[Tensor]:
        return [cap.model.capture_ids(ids, edits).resid_post(-1) for edits in rules]

    nbytes = len(rules) * cap.resid_post(-1).nbytes
    before = _as_it_is.get(cap, rules, lambda: last_streams(cap.token_ids.tolist()), nbytes)
    with_mask, without_mask = map(_change, before, last_streams(cap.ids_with(position, id)))
    return LaterToken(position, with_mask, without_mask)


_as_it_is: Last[list[Tensor]] = Last()


def _change(before: Tensor, after: Tensor) -> Floats:
    """float32 [position], from two streams [position, d_model]."""
    return to_numpy((after - before).norm(dim=-1) / before.norm(dim=-1))


def unmasked(cap: Capture, without: Capture, shown: range) -> Unmasked:
    """Predictions with the mask and without, after some positions.

    without: the capture of the same text with `Edits(causal_mask=False)`
    """
    one, other = (capture.logits(shown).softmax(-1) for capture in (cap, without))  # [shown, vocab_size]
    best, best_without = one.argmax(-1), other.argmax(-1)
    texts = cap.model.token_text
    return Unmasked(
        shown=shown,
        with_texts=tuple(map(texts, best.tolist())),
        without_texts=tuple(map(texts, best_without.tolist())),
        with_probability=to_numpy(one.gather(1, best[:, None])[:, 0]),
        without_probability=to_numpy(other.gather(1, best[:, None])[:, 0]),
    )
