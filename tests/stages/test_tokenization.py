"""The pieces of a text, and byte-pair encoding written out."""

import pytest

import gemma_viz as gv
from gemma_viz.stages import tokenization
from gemma_viz.steps import bpe


@pytest.mark.parametrize(
    "text",
    [
        "I want to move",
        "  two  spaces, tabs\tand\n\n\nlines\r\n",
        "Naïve café, größer 🙂 ᚠᛇᚻ 日本語 שלום",
        "def add(a, b):\n    return a + b",
        "<bos>typed<end_of_turn> and <div>markup</div><unused7>",
        "antidisestablishmentarianism 1234567890",
        "\x00\x07",
    ],
)
def test_merging_by_the_order_of_the_vocabulary_is_the_tokenizer(embedded: gv.Model, text: str) -> None:
    cap = embedded.capture(text)
    check = tokenization.check_bpe(cap)
    assert check.largest_difference == 0
    assert check.largest_value == len(cap) - 1
    assert tokenization.tokenization(cap).round_trip


def test_bpe_takes_the_earliest_union_first() -> None:
    ids = {piece: id for id, piece in enumerate(["a", "b", "c", "bc", "ab"])}
    assert bpe("abc", ids) == ["a", "bc"]
    assert bpe("é", ids) == ["<0xC3>", "<0xA9>"]


def test_pieces_say_what_they_are(embedded: gv.Model) -> None:
    values = tokenization.tokenization(embedded.capture("hi  ᚠ<end_of_turn>"))
    assert [piece.kind for piece in values.pieces] == ["added", "text", "text", "byte", "byte", "byte", "special"]
    assert b"".join(piece.utf8 for piece in values.pieces) == "hi  ᚠ".encode()
    assert values.pieces[2].spaces == 2
    assert (values.n_bytes, values.n_characters, values.n_words) == (20, 18, 2)
    assert values.n_byte_pieces == 256
