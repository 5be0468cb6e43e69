"""Any text a person can paste becomes tokens, or an error that says what to do."""

import pytest

import gemma_viz as gv
from gemma_viz.errors import GemmaVizError, NoTokens, NotUnicode, TextError, TooManyTokens
from gemma_viz.tokens import Token, tokenize, visible
from tests.conftest import tiny_tokenizer

ODD_TEXTS = [
    " ",
    "\n\n\t ",
    "   leading, and trailing   ",
    "🙂",
    "👩‍👩‍👧 🇩🇪 👍🏽",
    "שלום עולם, مرحبا",
    "\u202eright to left override\u202c",
    "\x00",
    "a\x00b\x01\x1b[31m\x7f\x9f",
    "line\r\nline\rline\u2028line",
    "e\u0301 é",  # the same letter, composed and not
    "\ufeff\u200b\u00ad",
    "\U0010ffff\ue000",
    "▁ <0x41> ## [UNK]",
    "日本語のテキスト",
    "ﷺ" * 5,
    "a" * 300,
    "<script>alert(1)</script> $x$ **b**",
]


@pytest.fixture(scope="module", params=["embedded", "gemma1"])
def model(request: pytest.FixtureRequest) -> gv.Model:
    """The real tokenizer, whose vocabulary has nearly everything, and a tiny one that falls back to bytes."""
    if request.param == "embedded":
        return request.getfixturevalue("embedded")
    return request.getfixturevalue("tiny_models")["gemma1"]


def tokens_of(model: gv.Model, text: str) -> tuple[Token, ...]:
    return tokenize(model.tokenizer, text, limit=10_000)


@pytest.mark.parametrize("text", ODD_TEXTS, ids=ascii)
def test_ids_are_those_of_transformers_default(model: gv.Model, text: str) -> None:
    tokens = tokens_of(model, text)
    assert [token.id for token in tokens] == model.tokenizer(text)["input_ids"]
    assert [token.position for token in tokens] == list(range(len(tokens)))
    assert [token.piece for token in tokens] == model.tokenizer.convert_ids_to_tokens([token.id for token in tokens])


@pytest.mark.parametrize("text", ODD_TEXTS, ids=ascii)
def test_every_character_is_in_the_span_of_a_token(model: gv.Model, text: str) -> None:
    added, *typed = tokens_of(model, text)
    assert (added.piece, added.span, added.special) == ("<bos>", None, True)
    spans = [token.span for token in typed]
    assert {place for start, end in spans for place in range(start, end)} == set(range(len(text)))
    assert spans == sorted(spans)


@pytest.mark.parametrize("text", ODD_TEXTS, ids=ascii)
def test_the_bytes_of_the_tokens_are_the_bytes_of_the_text(model: gv.Model, text: str) -> None:
    def written(token: Token) -> bytes:
        return token.text.encode() if token.byte is None else bytes([token.byte])

    # A typed ▁ is a space to Gemma, and cannot be told from one afterwards.
    expected = text.replace("▁", " ").encode()
    assert b"".join(written(token) for token in tokens_of(model, text)[1:]) == expected


@pytest.mark.parametrize("text", ODD_TEXTS, ids=ascii)
def test_odd_texts_can_be_captured(embedded: gv.Model, text: str) -> None:
    cap = embedded.capture(text)
    assert len(cap) == len(tokens_of(embedded, text))
    assert cap.text == text
    assert cap.logits([-1]).isfinite().all()


@pytest.mark.parametrize("text", ODD_TEXTS, ids=ascii)
def test_labels_can_be_read(model: gv.Model, text: str) -> None:
    for token in tokens_of(model, text):
        assert token.label
        assert token.label.isprintable() or token.text == "\ufffd"
        assert not any(character.isspace() for character in token.label)


def test_an_empty_text_is_the_added_token_alone(model: gv.Model) -> None:
    (token,) = model.capture("").tokens
    assert token == Token(0, 2, "<bos>", "<bos>", None, True)


def test_an_empty_text_is_refused_where_the_model_adds_no_token(tiny_models_without_bos: dict[str, gv.Model]) -> None:
    for model in tiny_models_without_bos.values():
        with pytest.raises(NoTokens, match="Type at least one character"):
            model.capture("")


def test_without_bos_the_first_token_is_the_texts(tiny_models_without_bos: dict[str, gv.Model]) -> None:
    for model in tiny_models_without_bos.values():
        tokens = model.capture("a cat").tokens
        assert [(token.piece, token.span) for token in tokens] == [("a", (0, 1)), ("▁cat", (1, 5))]


@pytest.mark.parametrize("name", ["<bos>", "<eos>", "<pad>", "<unk>", "<start_of_turn>", "<end_of_turn>"])
def test_a_special_token_that_is_typed_is_special_and_has_a_span(model: gv.Model, name: str) -> None:
    added, before, typed, after = model.capture(f"a{name}b").tokens
    assert (added.span, before.special, after.special) == (None, False, False)
    assert typed.special
    assert typed.piece == typed.text == typed.label == name
    assert typed.span == (1, 1 + len(name))


def test_an_unused_added_token_that_is_no_control_token_is_not_special(embedded: gv.Model) -> None:
    _, token = embedded.capture("[multimodal]").tokens
    assert (token.text, token.special) == ("[multimodal]", False)


@pytest.mark.parametrize(("text", "place", "code"), [("\ud800", 1, "D800"), ("ab\udc41c", 3, "DC41")])
def test_half_a_surrogate_pair_is_refused_and_said_where(model: gv.Model, text: str, place: int, code: str) -> None:
    with pytest.raises(NotUnicode, match=rf"Character {place} .*U\+{code}"):
        model.capture(text)


def test_a_text_of_a_hundred_thousand_characters_is_refused_with_count_and_limit(
    embedded: gv.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "token_limit", 1234)
    text = "move " * 20_000
    count = len(embedded.tokenizer(text)["input_ids"])
    with pytest.raises(TooManyTokens) as caught:
        embedded.capture(text)
    assert f"{count:,} tokens" in str(caught.value)
    assert "limit is 1,234" in str(caught.value)
    assert f"at least {count - 1234:,} tokens" in str(caught.value)


def test_the_limit_itself_is_allowed(tiny: gv.Model) -> None:
    assert len(tokenize(tiny.tokenizer, "aaaa", limit=5)) == 5
    with pytest.raises(TooManyTokens, match="has 5 tokens and the limit is 4"):
        tokenize(tiny.tokenizer, "aaaa", limit=4)


@pytest.mark.parametrize("kind", [NotUnicode, NoTokens, TooManyTokens])
def test_every_refusal_is_a_value_error_of_this_package(kind: type) -> None:
    assert issubclass(kind, ValueError)
    assert issubclass(kind, TextError)
    assert issubclass(kind, GemmaVizError)


def test_a_character_outside_the_vocabulary_is_its_bytes(tiny: gv.Model) -> None:
    tokens = tiny.capture("a🙂").tokens[2:]
    assert [token.byte for token in tokens] == list("🙂".encode())
    assert [token.piece for token in tokens] == ["<0xF0>", "<0x9F>", "<0x99>", "<0x82>"]
    assert [token.label for token in tokens] == [token.piece for token in tokens]
    assert {token.span for token in tokens} == {(1, 2)}


def test_a_byte_that_is_a_character_by_itself_gives_its_text(embedded: gv.Model) -> None:
    _, token = embedded.capture("\x00").tokens
    assert (token.byte, token.text, token.label) == (0, "\x00", "<0x00>")


@pytest.mark.parametrize("piece", ["▁red", "<bos>", "<0x4>", "<0x411>", "0x41", "<1x41>", "<0x41"])
def test_other_pieces_are_no_bytes(piece: str) -> None:
    assert Token(0, 0, piece, piece, None, False).byte is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("red", "red"),
        (" to\n", "␣to⏎"),
        ("\t\r\x00\x1b", "⇥␍␀␛"),
        ("\x7f\u200b\u202e", "U+007FU+200BU+202E"),
        ("\u00a0\u3000", "U+00A0U+3000"),
        ("é 日🙂", "é␣日🙂"),
        ("", ""),
        ("\u2764\ufe0f", "\u2764U+FE0F"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468U+200D\U0001f469"),
        ("a\u200bb\u3164", "aU+200BbU+3164"),
        ("e\u0301", "e\u0301"),
    ],
)
def test_visible_shows_what_cannot_be_seen(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_the_tiny_tokenizer_is_the_one_that_was_saved(tiny: gv.Model) -> None:
    assert tiny.tokenizer.get_vocab() == tiny_tokenizer(bos=True).get_vocab()
