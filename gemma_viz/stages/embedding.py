"""Embedding: the row of the table for each token, its rescaling, and which rows point the same way."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.cluster.hierarchy import leaves_list, linkage
from torch import Tensor
from torch.nn.functional import normalize

from gemma_viz.capture import Capture
from gemma_viz.errors import SeveralTokens
from gemma_viz.model import Model, NearestTokens
from gemma_viz.stages import Check, Floats, check, counted, to_numpy
from gemma_viz.steps import embed
from gemma_viz.tokens import SPACE, visible

# The groups of Douglas Orr's article: colours, places, adjectives; one group a line.
ARTICLE_WORDS = "red blue green yellow\nLondon Paris Berlin Tokyo\nbig small tiny huge"


@dataclass(frozen=True)
class Embedding:
    """rows: float32 [position, d_model], rows of the embedding table

    raw_norm, scaled_norm: float32 [position], Euclidean length of the rows, and of the rows times `scale`
    attention_norm: float32 [position], length of what the first attention adds to the scaled rows
    scale: float, sqrt(d_model)
    """

    rows: Floats
    raw_norm: Floats
    scaled_norm: Floats
    attention_norm: Floats
    scale: float


@dataclass(frozen=True)
class WordMap:
    """Rows of the table in two dimensions, by principal component analysis of their directions.

    labels: tuple of str; groups: tuple of int, by which they are coloured
    places: float32 [word, 2], along the two axes; explained: float, share of the variance there
    """

    labels: tuple[str, ...]
    groups: tuple[int, ...]
    places: Floats
    explained: float


@dataclass(frozen=True)
class WordSimilarity:
    """Words that are one token each, neighbours next to each other.

    words: tuple of str; ids: tuple of int; groups: tuple of int, the group that each was typed in
    similarity: float32 [word, word], cosine of the embedding rows, 1 on the diagonal
    within, between: float, its average over pairs of words of one group, and of two; NaN where there is no such pair
    map: WordMap, the same words in the same order
    left_out: tuple of SeveralTokens, the words that have no single row
    """

    words: tuple[str, ...]
    ids: tuple[int, ...]
    groups: tuple[int, ...]
    similarity: Floats
    within: float
    between: float
    map: WordMap
    left_out: tuple[SeveralTokens, ...]


@dataclass(frozen=True)
class Sum:
    """The tokens nearest to a sum of rows, without the tokens that were summed.

    nearest: NearestTokens
    rank: int, of the word that was expected, 1 for the nearest; None where none was, or it is not one token
    """

    nearest: NearestTokens
    rank: int | None


@dataclass(frozen=True)
class RowNorms:
    """norms: by kind of entry, as in `Vocabulary.kinds`: float32, Euclidean lengths of the embedding rows"""

    norms: dict[str, Floats]


def embedding(cap: Capture) -> Embedding:
    """The rows of the capture's tokens and their lengths."""
    rows = cap.model.embedding[cap.token_ids.to(cap.model.device)].float()
    return Embedding(
        rows=to_numpy(rows),
        raw_norm=to_numpy(rows.norm(dim=-1)),
        scaled_norm=to_numpy(cap.resid_pre(0).norm(dim=-1)),
        attention_norm=to_numpy((cap.resid_mid(0) - cap.resid_pre(0)).norm(dim=-1)),
        scale=cap.embedding_factor,
    )


@counted
def nearest(cap: Capture, position: int, k: int = 12) -> NearestTokens:
    """The vocabulary tokens nearest to the one at a position."""
    return cap.model.nearest_tokens(cap.tokens[position].id, k)


def nearest_to_word(model: Model, word: str, k: int = 12) -> NearestTokens:
    """The vocabulary tokens nearest to a typed word. Raises SeveralTokens where it has no single row."""
    return model.nearest_tokens(token_of_word(model, word), k)


def token_of_word(model: Model, word: str) -> int:
    """The id of a word as it stands inside a text, with its leading space. Raises SeveralTokens."""
    pieces = model.tokenizer.tokenize(" " + word)
    if len(pieces) != 1:
        raise SeveralTokens(word, tuple(piece.replace(SPACE, "␣") for piece in pieces))
    return model.token_id(pieces[0])


def word_similarity(model: Model, groups: tuple[tuple[str, ...], ...]) -> WordSimilarity:
    """Cosine similarity of words, given in groups that a person expects to belong together."""
    found: dict[str, tuple[int, int]] = {}
    left_out = []
    for group, words in enumerate(groups):
        for word in words:
            try:
                found.setdefault(word, (token_of_word(model, word), group))
            except SeveralTokens as several:
                left_out.append(several)
    rows = normalize(model.embedding[[id for id, _ in found.values()]].float().cpu(), dim=-1)  # [word, d_model]
    order = _neighbours_together(rows)
    ordered = [list(found)[i] for i in order]
    similarity = (rows @ rows.T)[order][:, order]
    group_of = torch.tensor([found[word][1] for word in ordered])
    same = group_of[:, None] == group_of
    pairs = torch.ones_like(same).tril(-1)
    return WordSimilarity(
        words=tuple(ordered),
        ids=tuple(found[word][0] for word in ordered),
        groups=tuple(group_of.tolist()),
        similarity=to_numpy(similarity),
        within=float(similarity[same & pairs].mean()),
        between=float(similarity[~same & pairs].mean()),
        map=_word_map(tuple(ordered), tuple(group_of.tolist()), rows[order]),
        left_out=tuple(left_out),
    )


@counted
def neighbourhood(cap: Capture, position: int, k: int = 30) -> WordMap:
    """The token at a position (group 1) among the tokens nearest to it (group 0)."""
    model, id = cap.model, cap.tokens[position].id
    ids = (id, *model.nearest_tokens(id, k).ids)
    rows = normalize(model.embedding[list(ids)].float().cpu(), dim=-1)
    labels = tuple(visible(model.token_text(i)) for i in ids)
    return _word_map(labels, (1, *(0,) * (len(ids) - 1)), rows)


def add_words(model: Model, plus: tuple[str, ...], minus: tuple[str, ...], expected: str = "", k: int = 10) -> Sum:
    """The tokens nearest to the sum of some words' rows less those of others. Raises SeveralTokens."""
    ids = [token_of_word(model, word) for word in (*plus, *minus)]
    signs = torch.tensor([1.0] * len(plus) + [-1.0] * len(minus))
    rows = normalize(model.embedding[ids].float().cpu(), dim=-1)
    wanted = token_of_word(model, expected) if expected else None
    nearest, rank = model.nearest_to_vector(signs @ rows, k, without=tuple(ids), rank_of=wanted)
    return Sum(nearest, rank)


def row_norms(model: Model) -> RowNorms:
    """Lengths of all rows of the table, by kind of entry."""
    norms, kinds = model.row_norms.cpu().numpy(), np.array(model.vocabulary.kinds)
    return RowNorms({kind: norms[: len(kinds)][kinds == kind] for kind in dict.fromkeys(model.vocabulary.kinds)})


def _neighbours_together(rows: Tensor) -> list[int]:
    """An order in which similar rows stand next to each other, by hierarchical clustering."""
    if len(rows) < 3:
        return list(range(len(rows)))
    tree = linkage(rows.numpy(), method="average", metric="cosine", optimal_ordering=True)
    return [int(i) for i in leaves_list(tree)]


def _word_map(labels: tuple[str, ...], groups: tuple[int, ...], rows: Tensor) -> WordMap:
    centred = rows - rows.mean(0)
    u, s, _ = torch.linalg.svd(centred, full_matrices=False)
    places = torch.zeros(len(rows), 2)
    places[:, : min(2, len(s))] = (u * s)[:, :2]
    total = float(s.pow(2).sum())
    return WordMap(labels, groups, to_numpy(places), float(s[:2].pow(2).sum()) / total if total else 1.0)


def check_embed(cap: Capture) -> Check:
    """`steps.embed` against what enters the first layer."""
    mine = embed(cap.token_ids.to(cap.model.device), cap.model.embedding)
    return check(embed, "embed(token_ids, table)", mine.cpu(), cap.resid_pre(0))
