"""From text to tokens: the one place that talks to the tokenizer.

Not here: what the tokenization page shows of them (`gemma_viz.stages.tokenization`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from transformers import PreTrainedTokenizerBase

from gemma_viz.display import strip, text_table
from gemma_viz.errors import NoTokens, NotUnicode, TooManyTokens

SPACE = "▁"  # U+2581, what SentencePiece writes for a space
TOKENS_SHOWN = 200  # of a long text, where it is displayed


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a prompt.

    position: int, from 0
    id: int, row of the embedding table
    piece: str, its name in the vocabulary, with ▁ for a space and <0x41> for a byte
    text: str, what it adds to the text. Bytes that make a character only together show as �
    span: (start, end) in characters of the prompt, or None for a token the tokenizer added by itself (<bos>)
    special: bool, a control token such as <bos> or <end_of_turn>, whether added or typed
    """

    position: int
    id: int
    piece: str
    text: str
    span: tuple[int, int] | None
    special: bool

    @property
    def byte(self) -> int | None:
        """The byte that this token stands for, or None for a token of the ordinary vocabulary."""
        return byte_of(self.piece)

    @property
    def label(self) -> str:
        """The token as a person can read it, with white space and control characters made visible."""
        return self.piece if self.byte is not None else visible(self.text)


class Tokens(tuple[Token, ...]):
    """The tokens of a text: a tuple of Token that a notebook shows as a strip, and a terminal as a table."""

    __slots__ = ()

    def __repr__(self) -> str:
        return text_table(
            ("position", "id", "token"), [(str(t.position), str(t.id), t.label) for t in self[:TOKENS_SHOWN]]
        ) + self._more("\n")

    def _repr_html_(self) -> str:
        tips = [f"position {token.position}, id {token.id}, {token.piece}" for token in self[:TOKENS_SHOWN]]
        return strip([token.label for token in self[:TOKENS_SHOWN]], tips, self._more())

    def _more(self, before: str = "") -> str:
        return f"{before}… {len(self) - TOKENS_SHOWN:,} more" if len(self) > TOKENS_SHOWN else ""


def byte_of(piece: str) -> int | None:
    """The byte that a piece of the vocabulary stands for, 0x41 for "<0x41>"; None for a piece of text."""
    is_byte = len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")
    return int(piece[3:5], 16) if is_byte else None


def special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The ids of control tokens."""
    return _special_ids(tokenizer, len(tokenizer))


@lru_cache(maxsize=4)
def _special_ids(tokenizer: PreTrainedTokenizerBase, n_tokens: int) -> frozenset[int]:
    """Read once, and again when a token was added: six thousand of Gemma 3's were, which takes 3 ms to go through."""
    return frozenset(id for id, added in tokenizer.added_tokens_decoder.items() if added.special)


def visible(text: str) -> str:
    """Text with a sign for every character that cannot be seen.

    >>> visible(" to\\n")
    '␣to⏎'
    """
    return "".join(_SIGNS.get(character) or _sign(character) for character in text)


# What Unicode counts as printable and no font draws: joiners, fillers, variation selectors, the empty Braille pattern.
_DRAWS_NOTHING = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_SIGNS = {" ": "␣", "\n": "⏎", "\t": "⇥"}


def _sign(character: str) -> str:
    if ord(character) < 0x20:
        return chr(0x2400 + ord(character))  # Unicode's pictures of control characters
    seen = character.isprintable() and not _DRAWS_NOTHING.match(character)
    return character if seen else f"U+{ord(character):04X}"


def tokenize(tokenizer: PreTrainedTokenizerBase, text: str, limit: int) -> Tokens:
    """The tokens of `text`, as transformers' default for the model gives them.

    The default adds <bos> where the checkpoint asks for it, and reads the names of special tokens in the text
    ("<bos>", "<end_of_turn>") as those tokens, not as letters.

    Raises NotUnicode, NoTokens or TooManyTokens, which are ValueErrors.
    """
    _refuse_surrogates(text)
    encoded = tokenizer(text, return_offsets_mapping=True)
    return _tokens(tokenizer, encoded["input_ids"], _spans(encoded["offset_mapping"]), limit)


def tokens_with_ids(
    tokenizer: PreTrainedTokenizerBase,
    ids: Sequence[int],
    limit: int,
    spans: Sequence[tuple[int, int] | None] | None = None,
) -> Tokens:
    """The tokens with these ids, which need not be what the tokenizer makes of their text; spans are None if not given.

    Raises NoTokens or TooManyTokens.
    """
    return _tokens(tokenizer, ids, spans or [None] * len(ids), limit)


def _tokens(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], spans: Sequence[tuple[int, int] | None], limit: int
) -> Tokens:
    if not ids:
        raise NoTokens("The text is empty, and this model adds no token of its own. Type at least one character.")
    if len(ids) > limit:
        raise TooManyTokens(
            f"The text has {len(ids):,} tokens and the limit is {limit:,}. Shorten it by at least "
            f"{len(ids) - limit:,} tokens."
        )
    pieces = tokenizer.convert_ids_to_tokens(list(ids))
    special = special_ids(tokenizer)
    return Tokens(
        Token(position, id, piece, token_text(tokenizer, id), span, id in special)
        for position, (id, piece, span) in enumerate(zip(ids, pieces, spans, strict=True))
    )


def token_text(tokenizer: PreTrainedTokenizerBase, id: int) -> str:
    """What the token with this id adds to a text; special tokens give their name."""
    return tokenizer.decode([id], clean_up_tokenization_spaces=False)


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise NotUnicode(
            f"Character {error.start + 1} of the text is half of a surrogate pair (U+{ord(text[error.start]):04X}), "
            "which is not a character. Remove it or paste the text again."
        ) from error


def _spans(offsets: list[tuple[int, int]]) -> list[tuple[int, int] | None]:
    """Tokenizers mark a token that stands for none of the text with an empty range."""
    return [(start, end) if end > start else None for start, end in offsets]
