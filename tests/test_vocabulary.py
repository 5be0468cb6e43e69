"""Smaller vocabularies, against the real tokenizer and against their own rule."""

import pytest

import gemma_viz as gv
from gemma_viz.vocabulary import Vocabulary

TEXTS = (
    "I want to move",
    "  two  spaces, tabs\tand\n\n\nlines",
    "Naïve café, größer 🙂 ᚠᛇᚻ 日本語 שלום",
    "def add(a, b):\n    return a + b",
    "antidisestablishmentarianism 1234567890",
)


@pytest.fixture(scope="module")
def vocabulary(embedded: gv.Model) -> Vocabulary:
    return embedded.vocabulary


@pytest.mark.parametrize("text", TEXTS)
def test_the_whole_vocabulary_cuts_as_the_real_tokenizer(embedded: gv.Model, vocabulary: Vocabulary, text: str) -> None:
    assert vocabulary.smaller(vocabulary.n_text).encode(text).tokens == embedded.tokenizer.tokenize(text)


@pytest.mark.parametrize("size", [1_000, 4_000, 32_000])
def test_a_smaller_vocabulary_has_the_bytes_the_first_merges_and_their_characters(
    vocabulary: Vocabulary, size: int
) -> None:
    entries = vocabulary.smaller(size).get_vocab()
    assert size - 10 <= len(entries) <= size
    assert {f"<0x{byte:02X}>" for byte in range(256)} <= entries.keys()
    longer = [piece for piece in entries if len(piece) > 1 and not piece.startswith("<0x")]
    unions = list(dict.fromkeys(left + right for left, right in vocabulary.merges))
    assert set(longer) == set(unions[: len(longer)])


@pytest.mark.parametrize("text", TEXTS)
def test_a_smaller_vocabulary_loses_nothing_and_never_needs_fewer_tokens(vocabulary: Vocabulary, text: str) -> None:
    counts = []
    for size in (1_000, 8_000, 64_000, vocabulary.n_text):
        tokens = vocabulary.smaller(size).encode(text).tokens
        text_bytes = b"".join(
            bytes([int(token[3:5], 16)]) if token.startswith("<0x") else token.replace("▁", " ").encode()
            for token in tokens
        )
        assert text_bytes.decode() == text
        counts.append(len(tokens))
    assert counts == sorted(counts, reverse=True)


def test_kinds_and_scripts(vocabulary: Vocabulary) -> None:
    def kind(piece: str) -> str:
        return vocabulary.kinds[vocabulary.ids[piece]]

    assert (kind("<bos>"), kind("<0x41>"), kind("<unused7>"), kind("▁move")) == ("special", "byte", "unused", "text")
    scripts = {piece: vocabulary.scripts[vocabulary.ids[piece]] for piece in ("▁move", "日本", "▁и", "▁", "<bos>")}
    assert scripts == {"▁move": "LATIN", "日本": "CJK", "▁и": "CYRILLIC", "▁": "", "<bos>": ""}
    assert len(vocabulary) == 262_144
    assert vocabulary.pieces[vocabulary.ids["▁move"]] == "▁move"


def test_a_vocabulary_of_another_family_is_read_too(tiny: gv.Model) -> None:
    vocabulary = tiny.vocabulary
    assert len(vocabulary) == tiny.spec.vocab_size
    whole = vocabulary.smaller(vocabulary.n_text)
    assert whole.encode("the red cat moving").tokens == tiny.tokenizer.tokenize("the red cat moving")
