"""Two runs side by side: which of their tokens belong together, where their streams, patterns and predictions part.

The runs are of two texts, of one text by a changed model, or of one text by two models. What is compared:

    tokens        by what they are; where one text was cut in two ways, by their place in it
    streams       of one model only: the directions of another's stream mean something else
    patterns      likewise; weight on a token that the other run does not have counts in full
    predictions   also of two vocabularies, by the entries that both have
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from gemma_viz.capture import Capture
from gemma_viz.inside import Attention
from gemma_viz.model import Model
from gemma_viz.stages import Floats, around, counted, to_numpy
from gemma_viz.tokens import Token

SHOWN = 32  # columns a side of the patterns that are put side by side
QUERIES_AT_ONCE = 128  # of patterns in memory, for all heads of a layer


@dataclass(frozen=True)
class Column:
    """Tokens of two runs that stand under each other.

    left, right: range, their positions; empty where a run has no such token, several where the other run has fewer
        for the same characters
    same: bool, whether both are one token, and the same
    """

    left: range
    right: range
    same: bool


@dataclass(frozen=True)
class Aligned:
    """All tokens of two runs, in columns from left to right."""

    columns: tuple[Column, ...]

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Positions in both runs at which a column that both have ends."""
        return tuple((column.left[-1], column.right[-1]) for column in self.columns if column.left and column.right)

    def column_of(self, position: int) -> int:
        """The column that a position of the left run stands in."""
        return next(i for i, column in enumerate(self.columns) if position in column.left)

    def partner(self, position: int) -> int | None:
        """The position of the right run that ends with one of the left; the last ends with the last. None for none."""
        last = max(column.left.stop for column in self.columns) - 1
        if position == last:
            return max(column.right.stop for column in self.columns) - 1
        return dict(self.pairs).get(position)


@dataclass(frozen=True)
class Streams:
    """How alike the streams of two runs of one model are.

    pairs: the positions of the tokens that are compared, as in `Aligned.pairs`
    cosine: float32 [depth, pair], at n_layers + 1 depths: 0 is the embedding, then after each layer. NaN where a stream
        is not a number
    between_tokens: float32 [depth], to compare with: mean cosine of two different tokens of the left run, its first
        left out; NaN where there are no two
    same: bool [pair], whether the two tokens are the same
    """

    pairs: tuple[tuple[int, int], ...]
    cosine: Floats
    between_tokens: Floats
    same: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class HeadDistances:
    """How far apart all heads' patterns are in two runs.

    values: float32 [layer, head], as `head_distances` gives them; furthest: (int, int), the layer and head that differ
        most
    """

    values: Floats
    furthest: tuple[int, int]


@dataclass(frozen=True)
class HeadPatterns:
    """One head's patterns in two runs, on common axes.

    shown: range, the columns of the alignment that queries and keys are: all, or of long prompts those around one
    left, right: float32 [len(shown), len(shown)], query by key, NaN where the query may not look, or the run has no
        such token
    difference: float32, likewise, right less left; what may not be looked at has no weight. NaN where a run has no
        such token, or neither may look
    """

    shown: range
    left: Floats
    right: Floats
    difference: Floats


@dataclass(frozen=True)
class Probabilities:
    """texts: tuple of str, tokens; left, right: float64 [token], NaN where a vocabulary has no such token"""

    texts: tuple[str, ...]
    left: npt.NDArray[np.float64]
    right: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Outputs:
    """What two runs predict.

    likeliest: Probabilities, of the tokens that either run ranks highest
    gained, lost: Probabilities, of the tokens whose probability is higher or lower in the right run, the most changed
        first; none where a run is not finite
    left_from_right, right_from_left: float, KL divergences in nats, D(left || right) and D(right || left), over the
        entries that both vocabularies have, on which each is made to sum to 1. NaN where a run is not finite
    n_shared: int, such entries; n_own: (int, int), entries that only one has; own: (float, float), their probability
    favoured: (int, int) or None, the ids in both vocabularies of the first tokens in `lost` and in `gained`, each the
        one that its run ranks most above the other run; None where nothing differs
    is_finite: (bool, bool), whether a run's logits are numbers
    """

    likeliest: Probabilities
    gained: Probabilities
    lost: Probabilities
    left_from_right: float
    right_from_left: float
    n_shared: int
    n_own: tuple[int, int]
    own: tuple[float, float]
    favoured: tuple[int, int] | None
    is_finite: tuple[bool, bool]


def align(left: Capture, right: Capture) -> Aligned:
    """Put the tokens of two runs under each other: by characters where one text was cut in two ways, else by pieces."""
    cut_alike = [token.piece for token in left.tokens] == [token.piece for token in right.tokens]
    if left.text == right.text and not cut_alike:
        return Aligned(tuple(_by_characters(left.tokens, right.tokens)))
    return Aligned(tuple(_by_pieces(left.tokens, right.tokens)))


def streams(left: Capture, right: Capture) -> Streams:
    """The cosine of two runs' streams at every depth and for every pair of tokens. Both of one model."""
    aligned = align(left, right)
    ours, theirs = map(list, zip(*aligned.pairs, strict=True)) if aligned.pairs else ([], [])
    depths = range(left.model.spec.n_layers)
    entering = [(left.resid_pre(0), right.resid_pre(0))]
    by_depth = [*entering, *((left.resid_post(layer), right.resid_post(layer)) for layer in depths)]
    return Streams(
        pairs=aligned.pairs,
        cosine=np.stack([to_numpy(_cosine(a[ours], b[theirs])) for a, b in by_depth]),
        between_tokens=np.array([_between_rows(a[1:]) for a, _ in by_depth], np.float32),
        same=(left.token_ids[ours] == right.token_ids[theirs]).numpy(),
    )


@counted
def head_distances(left: Capture, layer: int, right: Capture) -> Floats:
    """How far apart each head's patterns are in two runs of one model: float32 [head], 0 the same, 1 disjoint.

    The mean, over all tokens that both runs have, of the total variation distance of the two rows of weights. Weight on
    tokens that only one run has, or sees, counts in full, so that masks and windows may differ.
    """
    pairs = align(left, right).pairs
    ours, theirs = left.attention(layer), right.attention(layer)
    total, places = torch.zeros(len(ours.rot_q)), torch.tensor(pairs).reshape(-1, 2).T
    for queries in _runs(pairs):
        total += _distances(ours, theirs, queries, places).sum(-1)
    return to_numpy(total / len(pairs))  # NaN where there is no pair


def all_head_distances(layers: Sequence[Floats]) -> HeadDistances:
    """The `head_distances` of all layers together."""
    values = np.stack(layers)
    layer, head = divmod(int(np.nan_to_num(values).argmax()), values.shape[1])
    return HeadDistances(values, (layer, head))


@counted
def head_patterns(left: Capture, layer: int, right: Capture, head: int, position: int) -> HeadPatterns:
    """The patterns of a head in two runs of one model, around a token of the left one."""
    aligned = align(left, right)
    shown = around(aligned.column_of(position), len(aligned.columns), SHOWN)
    columns = aligned.columns[shown.start : shown.stop]
    ours, our_places = _part(left.attention(layer), head, [column.left for column in columns])
    theirs, their_places = _part(right.attention(layer), head, [column.right for column in columns])
    both = our_places & their_places  # [column]
    compared = both[:, None] & both & ~(np.isnan(ours) & np.isnan(theirs))
    difference = np.where(compared, np.nan_to_num(theirs) - np.nan_to_num(ours), np.nan).astype(np.float32)
    return HeadPatterns(shown, ours, theirs, difference)


@counted
def outputs(left: Capture, right: Capture, position: int, partner: int, k: int = 6) -> Outputs:
    """The predictions of two runs after a position of each."""
    our_ids, their_ids = _entries(left.model, right.model)
    logits = left.logits([position])[0].double(), right.logits([partner])[0].double()
    is_finite = bool(logits[0].isfinite().all()), bool(logits[1].isfinite().all())
    ours, theirs = logits[0].log_softmax(-1), logits[1].log_softmax(-1)
    p, q = (
        torch.where(ids >= 0, logs.exp()[ids.clamp_min(0)], torch.nan)
        for logs, ids in ((ours, our_ids), (theirs, their_ids))
    )  # [entry] both
    shared = (our_ids >= 0) & (their_ids >= 0)
    change = torch.where(shared, q - p, 0).nan_to_num(0)

    def probabilities(entries: list[int]) -> Probabilities:
        texts = (
            left.model.token_text(a) if a >= 0 else right.model.token_text(b)
            for a, b in zip(our_ids[entries].tolist(), their_ids[entries].tolist(), strict=True)
        )
        return Probabilities(tuple(texts), p[entries].numpy(), q[entries].numpy())

    gained, lost = _largest(change, k), _largest(-change, k)
    best = [entry for shares in (p, q) for entry in _largest(shares.nan_to_num(0), k)]
    return Outputs(
        likeliest=probabilities(list(dict.fromkeys(best))),
        gained=probabilities(gained),
        lost=probabilities(lost),
        left_from_right=_divergence(ours[our_ids[shared]], theirs[their_ids[shared]]),
        right_from_left=_divergence(theirs[their_ids[shared]], ours[our_ids[shared]]),
        n_shared=int(shared.sum()),
        n_own=(int((their_ids < 0).sum()), int((our_ids < 0).sum())),
        own=(float(p[their_ids < 0].sum()), float(q[our_ids < 0].sum())),
        favoured=(int(our_ids[lost[0]]), int(their_ids[gained[0]])) if gained and lost else None,
        is_finite=is_finite,
    )


def _by_characters(left: Sequence[Token], right: Sequence[Token]) -> Iterator[Column]:
    """Columns end wherever both runs have a token that ends there."""
    ends, other_ends = _ends(left), _ends(right)
    start = other_start = 0
    for end in sorted(ends.keys() & other_ends.keys()):
        ours, theirs = range(start, ends[end]), range(other_start, other_ends[end])
        start, other_start = ours.stop, theirs.stop
        if [left[i].piece for i in ours] == [right[j].piece for j in theirs]:
            yield from (Column(range(i, i + 1), range(j, j + 1), True) for i, j in zip(ours, theirs, strict=True))
        else:
            yield Column(ours, theirs, False)


def _ends(tokens: Sequence[Token]) -> dict[float, int]:
    """Places in the text where tokens end, and how many tokens have ended there; bytes of one character end together.

    A token that the tokenizer added ends where the one before it did; at the start that is before the text.
    """
    end = -1.0
    ends = {end: 0}
    for token in tokens:
        end = token.span[1] if token.span else end
        ends[end] = token.position + 1
    return ends | {math.inf: len(tokens)}


def _by_pieces(left: Sequence[Token], right: Sequence[Token]) -> Iterator[Column]:
    """Runs of the same pieces stand under each other; what is replaced is paired from its end, so that the texts'
    last tokens stand under each other too.
    """
    ours, theirs = [token.piece for token in left], [token.piece for token in right]
    # Found first, because the matcher takes long over long texts that repeat themselves.
    n_first = _n_shared(ours, theirs)
    n_last = min(_n_shared(ours[::-1], theirs[::-1]), min(len(ours), len(theirs)) - n_first)
    matcher = SequenceMatcher(None, ours[n_first : len(ours) - n_last], theirs[n_first : len(theirs) - n_last])
    blocks = [
        (True, 0, n_first, 0, n_first),
        *(
            (tag == "equal", i + n_first, i_stop + n_first, j + n_first, j_stop + n_first)
            for tag, i, i_stop, j, j_stop in matcher.get_opcodes()
        ),
        (True, len(ours) - n_last, len(ours), len(theirs) - n_last, len(theirs)),
    ]
    for same, start, stop, other_start, other_stop in blocks:
        n_paired = min(stop - start, other_stop - other_start)
        yield from (Column(range(i, i + 1), range(0), False) for i in range(start, stop - n_paired))
        yield from (Column(range(0), range(j, j + 1), False) for j in range(other_start, other_stop - n_paired))
        for i, j in zip(range(stop - n_paired, stop), range(other_stop - n_paired, other_stop), strict=True):
            yield Column(range(i, i + 1), range(j, j + 1), same)


def _n_shared(one: Sequence[str], other: Sequence[str]) -> int:
    """How many of the first pieces are the same."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Of the rows of two [pair, d_model]; in float64, in which no stream's square is out of range."""
    cosine = cosine_similarity(a.double(), b.double(), dim=-1).clamp(-1, 1)
    return cosine.masked_fill(~(a.isfinite() & b.isfinite()).all(-1), torch.nan)


def _between_rows(x: Tensor) -> float:
    """Mean cosine of two different rows of [position, d_model]: from the sum of all, without making all pairs."""
    n, total = len(x), normalize(x.double(), dim=-1).sum(0)
    return float((total @ total - n) / (n * (n - 1))) if n > 1 else math.nan


def _runs(pairs: Sequence[tuple[int, int]]) -> Iterator[tuple[range, range]]:
    """Pairs that are neighbours in both runs, at most `QUERIES_AT_ONCE` of them."""
    start = 0
    for stop in range(1, len(pairs) + 1):
        (first, other_first) = pairs[start]
        n = stop - start
        if stop == len(pairs) or n == QUERIES_AT_ONCE or pairs[stop] != (first + n, other_first + n):
            yield range(first, first + n), range(other_first, other_first + n)
            start = stop


def _distances(left: Attention, right: Attention, queries: tuple[range, range], pairs: Tensor) -> Tensor:
    """Total variation distance of the weights of some queries: [head, query]. pairs: int64 [2, pair].

    That is 1 less the weight that both put on the same tokens.
    """
    ours, seen = _weights(left, queries[0])
    theirs, others_seen = _weights(right, queries[1])
    keys, other_keys = pairs
    both = (
        (seen.start <= keys) & (keys < seen.stop) & (others_seen.start <= other_keys) & (other_keys < others_seen.stop)
    )
    keys, other_keys = keys[both] - seen.start, other_keys[both] - others_seen.start
    return (1 - torch.minimum(ours[..., keys], theirs[..., other_keys]).sum(-1)).clamp_min(0)


def _weights(values: Attention, queries: range) -> tuple[Tensor, range]:
    """[head, query, key], and the keys: those that the queries see."""
    seen = values.keys_seen_by(queries)
    scores = values.scores_of(slice(None), slice(queries.start, queries.stop), slice(seen.start, seen.stop))
    return scores.softmax(-1), seen


def _part(values: Attention, head: int, columns: Sequence[range]) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """One head's weights [column, column], NaN where there is none, and which of the columns have a token."""
    places = [positions[-1] if positions else -1 for positions in columns]
    there = np.array(places) >= 0
    part = np.full((len(columns), len(columns)), np.nan, np.float32)
    positions = [place for place in places if place >= 0]
    if positions:
        queries = slice(positions[0], positions[-1] + 1)
        scores = values.scores_of(slice(head, head + 1), queries)[0]  # [query, key]
        weights = to_numpy(scores.softmax(-1).masked_fill(scores == -torch.inf, torch.nan))
        part[np.ix_(there, there)] = weights[np.ix_([p - positions[0] for p in positions], positions)]
    return part, there


def _entries(left: Model, right: Model) -> tuple[Tensor, Tensor]:
    """The entries of two vocabularies together: the id of each in one and in the other, -1 where it has none.

    int64 [entry] both. Rows of an output that no entry belongs to are left out for two models.
    """
    if left is right:
        ids = torch.arange(left.spec.vocab_size)
        return ids, ids
    ours, theirs = left.vocabulary.ids, right.vocabulary.ids
    pieces = dict.fromkeys([*ours, *theirs])
    return torch.tensor([ours.get(piece, -1) for piece in pieces]), torch.tensor(
        [theirs.get(piece, -1) for piece in pieces]
    )


def _largest(values: Tensor, k: int) -> list[int]:
    """Places of the k largest values above 0, the largest first."""
    largest = values.topk(min(k, len(values)))
    return [place for place, value in zip(largest.indices.tolist(), largest.values.tolist(), strict=True) if value > 0]


def _divergence(log_p: Tensor, log_q: Tensor) -> float:
    """KL divergence in nats of two [entry], each made to sum to 1; rounding can leave it a little below 0."""
    log_p, log_q = log_p.log_softmax(-1), log_q.log_softmax(-1)
    return float((log_p.exp() * (log_p - log_q)).sum().clamp_min(0))
