"""Vocabulary: how texts would be cut with fewer entries, and a look into the list itself."""

import string
from dataclasses import dataclass

from tokenizers import Tokenizer

from gemma_viz.model import Model
from gemma_viz.tokens import visible

SIZES = (1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000)  # and as many as there are
USUAL = (30_000, 60_000)  # entries, of models for one language or two

PUNCTUATION = string.punctuation + "。，、।،؟…“”«»"

# Our own sentences, all saying about the same.
TEXTS = {
    "English": "In the morning the ferry was late, and the people on the quay talked about the weather.",
    "German": "Am Morgen hatte die Fähre Verspätung, und die Leute am Kai sprachen über das Wetter.",
    "Spanish": "Por la mañana el transbordador llegó tarde, y la gente del muelle hablaba del tiempo.",
    "Russian": "Утром паром опоздал, и люди на причале говорили о погоде.",
    "Arabic": "تأخرت العبارة في الصباح، وتحدث الناس على الرصيف عن الطقس.",
    "Hindi": "सुबह नाव देर से आई, और घाट पर लोग मौसम के बारे में बात कर रहे थे।",
    "Chinese": "早上渡轮晚点了，码头上的人们在谈论天气。",
    "Python": "def late(ferries, now):\n    return [f.name for f in ferries if f.due < now]\n",
}


@dataclass(frozen=True)
class Cut:
    """How one text is cut with some vocabulary.

    n_tokens, n_characters, n_words: int; words are what white space separates
    in_one_piece: float, share of the words that are a single token
    """

    n_tokens: int
    n_characters: int
    n_words: int
    in_one_piece: float


@dataclass(frozen=True)
class SmallerVocabulary:
    """A vocabulary that stops at fewer entries, and what it does.

    size: int, entries that stand for text
    tokens: tuple of str, the visitor's text, cut
    cuts: by name of the text: Cut; the visitor's is called `YOURS`
    embedding_parameters: int, of a table of that size; embedding_share: float, of such a model's parameters
    """

    size: int
    tokens: tuple[str, ...]
    cuts: dict[str, Cut]
    embedding_parameters: int
    embedding_share: float


YOURS = "your prompt"


@dataclass(frozen=True)
class Entry:
    """id: int; piece, text: str, as the vocabulary writes it and as a person can read it; kind, script: str"""

    id: int
    piece: str
    text: str
    kind: str
    script: str


def sizes(model: Model) -> tuple[int, ...]:
    """Sizes to compare, the whole vocabulary last."""
    whole = model.vocabulary.n_text
    return (*(size for size in SIZES if size < whole), whole)


def smaller_vocabulary(model: Model, text: str, size: int) -> SmallerVocabulary:
    """Cut a text, and the shipped ones, with a vocabulary of `size` entries."""
    tokenizer = model.vocabulary.smaller(size)
    table = size * model.spec.d_model
    others = model.n_parameters - model.spec.vocab_size * model.spec.d_model
    return SmallerVocabulary(
        size=size,
        tokens=tuple(tokenizer.encode(text).tokens),
        cuts={name: _cut(tokenizer, shipped) for name, shipped in ({YOURS: text} | TEXTS).items()},
        embedding_parameters=table,
        embedding_share=table / (table + others),
    )


def browse(
    model: Model, search: str = "", first: int = 0, script: str = "", kind: str = "", limit: int = 200
) -> tuple[tuple[Entry, ...], int]:
    """Entries of the vocabulary, in the order of their ids, and how many there are in all.

    search: text that the entry holds, a space stands for ▁; "" for any
    first: the smallest id; script, kind: as in `Vocabulary`; "" for any; limit: how many are given at most
    """
    vocabulary = model.vocabulary
    wanted = search.replace(" ", "▁")
    found = [
        id
        for id, piece in enumerate(vocabulary.pieces)
        if id >= first
        and wanted in piece
        and (not script or vocabulary.scripts[id] == script)
        and (not kind or vocabulary.kinds[id] == kind)
    ]
    entries = (
        Entry(
            id=id,
            piece=vocabulary.pieces[id],
            text=visible(model.token_text(id)),
            kind=vocabulary.kinds[id],
            script=vocabulary.scripts[id].capitalize(),
        )
        for id in found[:limit]
    )
    return tuple(entries), len(found)


def _cut(tokenizer: Tokenizer, text: str) -> Cut:
    pieces = tokenizer.encode(text).tokens
    words = [word for word in (part.strip(PUNCTUATION) for part in text.split()) if word]
    whole = {piece.removeprefix("▁") for piece in pieces}
    return Cut(
        n_tokens=len(pieces),
        n_characters=len(text),
        n_words=len(words),
        in_one_piece=sum(word in whole for word in words) / len(words) if words else 0.0,
    )
