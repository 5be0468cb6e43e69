"""Embedding: the row of the table for each token, its rescaling, and which rows point the same way."""

from dataclasses import dataclass

from gemma_viz.capture import Capture
from gemma_viz.model import Model, NearestTokens
from gemma_viz.stages import Check, Floats, check, to_numpy
from gemma_viz.steps import embed
from gemma_viz.tokens import SPACE

# The groups of Douglas Orr's article: colours, places, adjectives.
ARTICLE_WORDS = "red blue green yellow London Paris Berlin Tokyo big small tiny huge"


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
class WordSimilarity:
    """words: tuple of str, those that are one token; ids: tuple of int

    similarity: float32 [word, word], cosine of the embedding rows, 1 on the diagonal
    left_out: (word, pieces) of those that are several tokens, and so have no single row
    """

    words: tuple[str, ...]
    ids: tuple[int, ...]
    similarity: Floats
    left_out: tuple[tuple[str, tuple[str, ...]], ...]


def embedding(cap: Capture) -> Embedding:
    """The rows of the capture's tokens and their lengths."""
    rows = cap.model.embedding[cap.token_ids.to(cap.model.device)].float()
    return Embedding(
        rows=to_numpy(rows),
        raw_norm=to_numpy(rows.norm(dim=-1)),
        scaled_norm=to_numpy(cap.resid_pre(0).norm(dim=-1)),
        attention_norm=to_numpy((cap.resid_mid(0) - cap.resid_pre(0)).norm(dim=-1)),
        scale=cap.model.spec.embedding_scale,
    )


def nearest(cap: Capture, position: int, k: int = 12) -> NearestTokens:
    """The vocabulary tokens nearest to the one at a position."""
    return cap.model.nearest_tokens(cap.tokens[position].id, k)


def word_similarity(model: Model, words: tuple[str, ...]) -> WordSimilarity:
    """Cosine similarity of words, each as it stands inside a text, that is with its leading space."""
    found: dict[str, int] = {}
    left_out = []
    for word in dict.fromkeys(words):
        pieces = model.tokenizer.tokenize(" " + word)
        if len(pieces) == 1:
            found[word] = model.token_id(pieces[0])
        else:
            left_out.append((word, tuple(piece.replace(SPACE, "␣") for piece in pieces)))
    rows = model.embedding[list(found.values())].float()
    rows = rows / rows.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return WordSimilarity(tuple(found), tuple(found.values()), to_numpy(rows @ rows.T), tuple(left_out))


def check_embed(cap: Capture) -> Check:
    """`steps.embed` against what enters the first layer."""
    mine = embed(cap.token_ids.to(cap.model.device), cap.model.embedding)
    return check(embed, "embed(token_ids, table)", mine.cpu(), cap.resid_pre(0))
