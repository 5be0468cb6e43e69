"""Tokenization: how the text was cut, what each piece is, and what cutting it otherwise would cost."""

from dataclasses import dataclass
from itertools import groupby

from gemma_viz.capture import Capture
from gemma_viz.stages import Check
from gemma_viz.steps import bpe
from gemma_viz.tokens import SPACE, Token

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

    n_bytes, n_characters, n_words: int, lengths of the text; words are what white space separates
    n_tokens: int, without the ones the tokenizer added
    vocab_size: int; n_byte_pieces: int, entries of the vocabulary that stand for single bytes
    embedding_parameters: int, numbers in the embedding table; embedding_share: float, of all the model's parameters
    round_trip: bool, whether the tokens give back the text exactly
    """

    pieces: tuple[Piece, ...]
    n_bytes: int
    n_characters: int
    n_words: int
    n_tokens: int
    vocab_size: int
    n_byte_pieces: int
    embedding_parameters: int
    embedding_share: float
    round_trip: bool


def tokenization(cap: Capture) -> Tokenization:
    """How the capture's text was cut."""
    spec, tokenizer = cap.model.spec, cap.model.tokenizer
    vocabulary = tokenizer.get_vocab()
    own = [token for token in cap.tokens if token.span]
    return Tokenization(
        pieces=tuple(_piece(token) for token in cap.tokens),
        n_bytes=len(cap.text.encode()),
        n_characters=len(cap.text),
        n_words=len(cap.text.split()),
        n_tokens=len(own),
        vocab_size=spec.vocab_size,
        n_byte_pieces=sum(f"<0x{byte:02X}>" in vocabulary for byte in range(256)),
        embedding_parameters=spec.vocab_size * spec.d_model,
        embedding_share=spec.vocab_size * spec.d_model / cap.model.n_parameters,
        round_trip=tokenizer.decode([t.id for t in own], clean_up_tokenization_spaces=False) == cap.text,
    )


def check_bpe(cap: Capture) -> Check:
    """Merge the text by `steps.bpe` and count the tokens that come out otherwise.

    Control tokens and the few other names that the tokenizer cuts out whole before merging are cut out here too. Only
    the first `CHARACTERS_CHECKED` characters are merged.
    """
    tokenizer = cap.model.tokenizer
    vocabulary = tokenizer.get_vocab()
    whole = tokenizer.added_tokens_decoder.keys()
    own = [token for token in cap.tokens if token.span and token.span[1] <= CHARACTERS_CHECKED]
    mine: list[str] = []
    for is_whole, run in groupby(own, key=lambda token: token.id in whole):
        run_tokens = list(run)
        text = cap.text[_start(run_tokens[0]) : _end(run_tokens[-1])]
        mine += [token.piece for token in run_tokens] if is_whole else bpe(text, vocabulary)
    models = [token.piece for token in own]
    wrong = sum(a != b for a, b in zip(mine, models, strict=False)) + abs(len(mine) - len(models))
    return Check(bpe, "bpe(text, vocabulary)", f"{len(mine)} pieces", wrong, len(models))


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
