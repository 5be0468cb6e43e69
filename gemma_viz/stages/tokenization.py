"""Tokenization: how the text was cut, what each piece is, and what cutting it otherwise would cost."""

from dataclasses import dataclass
from itertools import groupby, pairwise

from torch.nn.functional import cosine_similarity

from gemma_viz.capture import Capture
from gemma_viz.stages import Check, around, counted
from gemma_viz.steps import bpe
from gemma_viz.tokens import SPACE, Token

LONGEST_WORD = 24  # tokens
CUTS_SHOWN = 6
CHARACTERS_CHECKED = 600  # merging in plain Python takes time that grows with the square of the length


@dataclass(frozen=True)
class Piece:
    """One token, described.

    token: Token
    kind: "added", "special", "byte" or "text": how it came to be
    utf8: the bytes of the text that it stands for; empty for control tokens
    spaces: int, how many spaces its ▁ signs stand for
    """

    token: Token
    kind: str
    utf8: bytes
    spaces: int


@dataclass(frozen=True)
class Tokenization:
    """pieces: tuple of Piece, one for each token
    neighbours: for each token the entries before and after it in the vocabulary, tuple of str

    n_bytes, n_characters, n_words: int, lengths of the text; words are what white space separates
    n_tokens: int, without the ones the tokenizer added
    vocab_size: int; n_byte_pieces: int, entries of the vocabulary that stand for single bytes
    embedding_parameters: int, numbers in the embedding table; embedding_share: float, of all the model's parameters
    round_trip: bool, whether the tokens give back the text exactly
    """

    pieces: tuple[Piece, ...]
    neighbours: tuple[tuple[str, ...], ...]
    n_bytes: int
    n_characters: int
    n_words: int
    n_tokens: int
    vocab_size: int
    n_byte_pieces: int
    embedding_parameters: int
    embedding_share: float
    round_trip: bool


@dataclass(frozen=True)
class Merging:
    """A word, as byte-pair encoding puts it together.

    word: str, as the vocabulary writes it
    states: tuple of tuple of str: its single characters (or bytes), then the pieces after every merge
    merges: (piece, rank) of what was joined at each step; the rank is the id, and a lower one goes first
    n_cuts: int, in how many ways the word can be cut into entries of the vocabulary
    fewest: tuple of tuple of str, some of those, with the fewest pieces
    """

    word: str
    states: tuple[tuple[str, ...], ...]
    merges: tuple[tuple[str, int], ...]
    n_cuts: int
    fewest: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Variant:
    """text: str; pieces: tuple of str; ids: tuple of int

    similarity: float, cosine of its embedding row to the selected token's; None where it is several tokens
    """

    text: str
    pieces: tuple[str, ...]
    ids: tuple[int, ...]
    similarity: float | None


def tokenization(cap: Capture) -> Tokenization:
    """How the capture's text was cut."""
    spec, tokenizer, ids = cap.model.spec, cap.model.tokenizer, cap.model.vocabulary.ids
    own = [token for token in cap.tokens if token.span]
    return Tokenization(
        pieces=tuple(_piece(token) for token in cap.tokens),
        neighbours=tuple(cap.model.vocabulary.beside(token.id) for token in cap.tokens),
        n_bytes=len(cap.text.encode()),
        n_characters=len(cap.text),
        n_words=len(cap.text.split()),
        n_tokens=len(own),
        vocab_size=spec.vocab_size,
        n_byte_pieces=sum(f"<0x{byte:02X}>" in ids for byte in range(256)),
        embedding_parameters=spec.vocab_size * spec.d_model,
        embedding_share=spec.vocab_size * spec.d_model / cap.model.n_parameters,
        round_trip=tokenizer.decode([t.id for t in own], clean_up_tokenization_spaces=False) == cap.text,
    )


@counted
def word_at(cap: Capture, position: int) -> range:
    """The positions of the word around a token: from a piece that begins with a space to the next one.

    A control token, a byte or white space stands by itself. Of writing without spaces at most `LONGEST_WORD` tokens.
    """
    tokens = cap.tokens
    if not _is_letters(tokens[position]):
        return range(position, position + 1)
    start, stop = position, position + 1
    while start > 0 and not tokens[start].piece.startswith(SPACE) and _is_letters(tokens[start - 1]):
        start -= 1
    while stop < len(tokens) and not tokens[stop].piece.startswith(SPACE) and _is_letters(tokens[stop]):
        stop += 1
    shown = around(position - start, stop - start, LONGEST_WORD)
    return range(start + shown.start, start + shown.stop)


@counted
def merging(cap: Capture, position: int) -> Merging:
    """How the word around a token was put together, and how else it could be cut."""
    ids = cap.model.vocabulary.ids
    word = "".join(cap.tokens[i].piece for i in word_at(cap, position))
    if cap.tokens[position].special or cap.tokens[position].byte is not None:
        return Merging(word, ((word,),), (), 1, ((word,),))
    states = bpe(word, ids)
    joined = tuple(
        next(new for new, old in zip(after, before, strict=False) if new != old) for before, after in pairwise(states)
    )
    n_cuts, fewest = _cuts(word, ids)
    return Merging(word, tuple(map(tuple, states)), tuple((piece, ids[piece]) for piece in joined), n_cuts, fewest)


@counted
def variants(cap: Capture, position: int) -> tuple[Variant, ...]:
    """The word around a token in other spellings, each with and without a space before it."""
    model = cap.model
    word = "".join(cap.tokens[i].text for i in word_at(cap, position)).strip()
    own = model.embedding[cap.tokens[position].id].float()
    spellings = dict.fromkeys((word, word.lower(), word.capitalize(), word.upper()))
    found = []
    for text in [space + spelling for spelling in spellings for space in (" ", "") if spelling]:
        pieces = tuple(model.tokenizer.tokenize(text))
        ids = tuple(map(model.token_id, pieces))
        similarity = float(cosine_similarity(model.embedding[ids[0]].float(), own, dim=0)) if len(ids) == 1 else None
        found.append(Variant(text, pieces, ids, similarity))
    return tuple(found)


def _is_letters(token: Token) -> bool:
    return not token.special and token.byte is None and bool(token.text.strip())


def _cuts(word: str, ids: dict[str, int]) -> tuple[int, tuple[tuple[str, ...], ...]]:
    """In how many ways a word can be cut into entries of the vocabulary, and those of the fewest pieces."""
    ways = [1] + [0] * len(word)
    best: list[list[tuple[str, ...]]] = [[()], *([] for _ in word)]
    for stop in range(1, len(word) + 1):
        starts = [start for start in range(stop) if word[start:stop] in ids]
        ways[stop] = sum(ways[start] for start in starts)
        cuts = ((*cut, word[start:stop]) for start in starts for cut in best[start])
        best[stop] = sorted(cuts, key=len)[:CUTS_SHOWN]
    return ways[-1], tuple(best[-1])


def in_characters(cap: Capture) -> list[int]:
    """The ids of the same text, every piece of it cut into single characters, or bytes where they are no entries."""
    ids = cap.model.vocabulary.ids
    finer: list[int] = []
    for token in cap.tokens:
        is_text = not token.special and token.byte is None
        finer += [ids[piece] for piece in bpe(token.piece, ids)[0]] if is_text else [token.id]
    return finer


def check_bpe(cap: Capture) -> Check:
    """Merge the text by `steps.bpe` and count the tokens that come out otherwise.

    Control tokens and the few other names that the tokenizer cuts out whole before merging are cut out here too. Only
    the first `CHARACTERS_CHECKED` characters are merged.
    """
    tokenizer, ids = cap.model.tokenizer, cap.model.vocabulary.ids
    whole = tokenizer.added_tokens_decoder.keys()
    own = [token for token in cap.tokens if token.span and token.span[1] <= CHARACTERS_CHECKED]
    mine: list[str] = []
    for is_whole, run in groupby(own, key=lambda token: token.id in whole):
        run_tokens = list(run)
        text = cap.text[_start(run_tokens[0]) : _end(run_tokens[-1])]
        mine += [token.piece for token in run_tokens] if is_whole else bpe(text, ids)[-1]
    models = [token.piece for token in own]
    wrong = sum(a != b for a, b in zip(mine, models, strict=False)) + abs(len(mine) - len(models))
    gave = "1 piece" if len(mine) == 1 else f"{len(mine):,} pieces"
    return Check(bpe, "bpe(text, vocabulary)", gave, wrong, len(models))


def _start(token: Token) -> int:
    return token.span[0] if token.span else 0


def _end(token: Token) -> int:
    return token.span[1] if token.span else 0


def _piece(token: Token) -> Piece:
    if token.special:
        return Piece(token, "special" if token.span else "added", b"", 0)
    if token.byte is not None:
        return Piece(token, "byte", bytes([token.byte]), 0)
    return Piece(token, "text", token.text.encode(), token.piece.count(SPACE))
