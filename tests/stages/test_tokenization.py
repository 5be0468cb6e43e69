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
    assert bpe("abc", ids) == [["a", "b", "c"], ["a", "bc"]]
    assert bpe("é", ids) == [["<0xC3>", "<0xA9>"]]


def test_pieces_say_what_they_are(embedded: gv.Model) -> None:
    values = tokenization.tokenization(embedded.capture("hi  ᚠ<end_of_turn>"))
    assert [piece.kind for piece in values.pieces] == ["added", "text", "text", "byte", "byte", "byte", "special"]
    assert b"".join(piece.utf8 for piece in values.pieces) == "hi  ᚠ".encode()
    assert values.pieces[2].spaces == 2
    assert (values.n_bytes, values.n_characters, values.n_words) == (20, 18, 2)
    assert values.n_byte_pieces == 256
    pieces = {id: piece for piece, id in embedded.tokenizer.get_vocab().items()}
    for piece, near in zip(values.pieces, values.neighbours, strict=True):
        assert near == (pieces[piece.token.id - 1], pieces[piece.token.id + 1])


def word(cap: gv.Capture, position: int) -> str:
    return "".join(cap.tokens[i].piece for i in tokenization.word_at(cap, position))


def test_a_word_reaches_from_its_space_to_the_next(embedded: gv.Model) -> None:
    cap = embedded.capture("to antidisestablishmentarianism<end_of_turn>and ᚠ 🙂")
    words = [word(cap, position) for position in range(len(cap))]
    assert words[0] == "<bos>"
    assert words[1] == "to"
    inner = words.count("▁antidisestablishmentarianism")
    assert inner > 2
    assert words[2 : 2 + inner] == ["▁antidisestablishmentarianism"] * inner
    assert words[2 + inner] == "<end_of_turn>"
    assert words[3 + inner] == "and"


def test_a_word_without_end_is_cut_around_the_token(embedded: gv.Model) -> None:
    cap = embedded.capture("x " + "日本語中文漢字" * 30)
    for position in (3, len(cap) // 2, len(cap) - 1):
        shown = tokenization.word_at(cap, position)
        assert len(shown) == tokenization.LONGEST_WORD
        assert position in shown


def test_merging_replays_how_a_word_was_built(embedded: gv.Model) -> None:
    cap = embedded.capture("I want antidisestablishmentarianism")
    ids = embedded.tokenizer.get_vocab()
    built = tokenization.merging(cap, 4)
    assert built.word == "▁antidisestablishmentarianism"
    assert built.states[0] == tuple(built.word)
    assert built.states[-1] == tuple(token.piece for token in cap.tokens[3:])
    assert len(built.merges) == len(built.states) - 1
    for before, after, (piece, rank) in zip(built.states, built.states[1:], built.merges, strict=False):
        assert len(after) == len(before) - 1
        assert after.count(piece) == before.count(piece) + 1
        assert rank == ids[piece]
    assert built.fewest[0] != built.states[-1] or len(built.fewest[0]) == len(built.states[-1])
    assert all("".join(cut) == built.word for cut in built.fewest)
    assert all(piece in ids for cut in built.fewest for piece in cut)
    assert [len(cut) for cut in built.fewest] == sorted(len(cut) for cut in built.fewest)


def test_cuts_are_counted_as_by_trying_all(tiny: gv.Model) -> None:
    ids = tiny.tokenizer.get_vocab()
    cap = tiny.capture("moving")
    built = tokenization.merging(cap, len(cap) - 1)

    def cuts(rest: str) -> list[tuple[str, ...]]:
        if not rest:
            return [()]
        heads = [rest[:n] for n in range(1, len(rest) + 1) if rest[:n] in ids]
        return [(head, *tail) for head in heads for tail in cuts(rest[len(head) :])]

    every = cuts(built.word)
    assert built.n_cuts == len(every)
    assert {len(cut) for cut in built.fewest[:1]} == {min(map(len, every))}
    assert set(built.fewest) <= set(every)


def test_a_control_token_and_a_byte_are_not_put_together(embedded: gv.Model) -> None:
    cap = embedded.capture("ᚠ")
    for position in (0, 2):
        built = tokenization.merging(cap, position)
        assert built.merges == ()
        assert built.states == ((cap.tokens[position].piece,),)


def test_variants_are_other_tokens_that_mean_nearly_the_same(embedded: gv.Model) -> None:
    found = {variant.text: variant for variant in tokenization.variants(embedded.capture("I like The"), 3)}
    assert set(found) == {" The", "The", " the", "the", " THE", "THE"}
    assert found[" The"].similarity == pytest.approx(1, abs=1e-5)
    assert len({variant.ids for variant in found.values()}) == 6
    assert 0.2 < found[" the"].similarity < 1  # type: ignore[operator]
