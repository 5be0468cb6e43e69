"""The vocabulary of a tokenizer: what its entries are, and what a smaller one of the same training would be.

Not here: cutting a prompt (`gemma_viz.tokens`).
"""

import json
import unicodedata
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerBase

from gemma_viz.tokens import byte_of, special_ids


class Vocabulary:
    """All entries of a byte-fallback BPE vocabulary.

    pieces: tuple of str, by id, as the vocabulary writes them: ▁ for a space, <0x41> for a byte
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self._tokenizer = tokenizer
        self.ids: dict[str, int] = tokenizer.get_vocab()
        self.pieces = tuple(sorted(self.ids, key=lambda piece: self.ids[piece]))

    def __len__(self) -> int:
        return len(self.pieces)

    def beside(self, id: int) -> tuple[str, ...]:
        """The entries before and after one."""
        return tuple(self.pieces[near] for near in (id - 1, id + 1) if 0 <= near < len(self))

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """By id: "special" (a control token), "unused" (kept free for later uses), "byte" or "text"."""
        special = special_ids(self._tokenizer)
        return tuple(_kind(piece, self.ids[piece] in special) for piece in self.pieces)

    @cached_property
    def text_ids(self) -> npt.NDArray[np.int64]:
        """The ids of entries that stand for text: pieces of it, and bytes."""
        return np.flatnonzero([kind in ("text", "byte") for kind in self.kinds])

    @property
    def n_text(self) -> int:
        """How many entries stand for text."""
        return len(self.text_ids)

    @cached_property
    def scripts(self) -> tuple[str, ...]:
        """By id: the writing system of the first letter, "LATIN" for example, or "" where there is none."""
        return tuple(
            _script(piece) if kind == "text" else "" for piece, kind in zip(self.pieces, self.kinds, strict=True)
        )

    @cached_property
    def merges(self) -> tuple[tuple[str, str], ...]:
        """The pairs that training joined, the first first."""
        backend = json.loads(self._tokenizer.backend_tokenizer.to_str())
        return tuple((left, right) for left, right in backend["model"]["merges"])

    @lru_cache(maxsize=32)  # noqa: B019  (lives as long as its model)
    def smaller(self, size: int) -> Tokenizer:
        """The tokenizer that training would have given, had it stopped at fewer entries that stand for text.

        It begins with the 256 bytes and takes merged pieces in their order, each with those of its characters that are
        new; other characters are written as bytes. Control tokens are not counted, and are text for it.
        """
        by_kind = list(zip(self.pieces, self.kinds, strict=True))
        pieces = dict.fromkeys(piece for piece, kind in by_kind if kind == "byte")
        for union in dict.fromkeys(left + right for left, right in self.merges):
            new = [part for part in dict.fromkeys((*union, union)) if part not in pieces]
            if len(pieces) + len(new) > size:
                break
            pieces |= dict.fromkeys(new)
        else:  # nothing is left out: the characters that no merge needs are there too
            pieces |= dict.fromkeys(piece for piece, kind in by_kind if kind == "text")
        merges = [(left, right) for left, right in self.merges if {left, right, left + right} <= pieces.keys()]
        vocabulary = {piece: id for id, piece in enumerate(pieces)}
        tokenizer = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, fuse_unk=True))
        backend = self._tokenizer.backend_tokenizer
        tokenizer.normalizer, tokenizer.pre_tokenizer = backend.normalizer, backend.pre_tokenizer
        return tokenizer


def _kind(piece: str, special: bool) -> str:
    if piece.startswith("<unused"):
        return "unused"
    if special:
        return "special"
    return "text" if byte_of(piece) is None else "byte"


def _script(piece: str) -> str:
    letter = next(filter(str.isalpha, piece), "")
    return unicodedata.name(letter, "").split(" ")[0].split("-")[0] if letter else ""
