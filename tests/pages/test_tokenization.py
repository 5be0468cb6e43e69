"""The Tokenization page."""

import pytest

from tests.pages.opened import open_page, said


@pytest.mark.parametrize(("text", "gave"), [("", "gave 0 pieces"), ("7", "gave 1 piece,"), ("77", "gave 2 pieces")])
def test_one_piece_is_said_to_be_one(offered: list[str], text: str, gave: str) -> None:
    app = open_page("pages/1_Tokenization.py", prompt=text, token="0")
    assert not app.exception
    assert gave in said(app)
    assert "1 bytes" not in said(app)
    assert "0 positions" not in said(app)
    assert "It is a special token, added by the tokenizer." in said(app)


def test_a_line_break_that_is_chosen_can_be_seen(offered: list[str]) -> None:
    app = open_page("pages/1_Tokenization.py", prompt="the\n")
    assert "`⏎` is entry" in said(app)
    assert "stands for 1 byte of the text" in said(app)
