"""The Attention page."""

import re

from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Slider

from tests.pages.opened import open_page, said


def key_of(app: AppTest) -> Slider:
    return next(slider for slider in app.slider if slider.label.startswith("Key"))


def test_heads_are_ranked_by_what_they_do(offered: list[str]) -> None:
    app = open_page("pages/4_Attention.py", rank="1", prompt="the cat the cat")
    assert not app.exception
    table = app.dataframe[0].value
    assert len(table) == 4 * 6
    assert table["induction"].notna().all()
    assert table["first token"].between(0, 1).all()


def test_heads_are_sorted_and_filtered(offered: list[str]) -> None:
    app = open_page("pages/4_Attention.py", sort="previous", least="50", prompt="the cat the cat")
    assert not app.exception
    assert re.search(r"\*\*\d+ of 24 heads\*\*", said(app))
    without = open_page("pages/4_Attention.py", sort="induction", prompt="the cat")
    assert not without.exception
    assert "**No head**" in said(without), "nothing is repeated"


def test_a_key_outside_of_the_window_is_said_to_be_hidden(offered: list[str]) -> None:
    app = open_page(
        "pages/4_Attention.py", model=offered[2], attention="query", key="1", prompt="the red cat moving it"
    )
    assert not app.exception
    assert "outside of the window" in said(app)


def test_what_a_query_sees_is_what_the_rule_of_the_run_lets_it_see(offered: list[str]) -> None:
    assert "A query of this layer sees itself and all tokens before it." in said(open_page("pages/4_Attention.py"))
    assert "sees itself only." in said(open_page("pages/4_Attention.py", edits="window-1"))
    for part in ("heads", "query", "mask"):
        app = open_page(
            "pages/4_Attention.py", attention=part, edits="causal_mask-off", prompt="the red cat", token="1"
        )
        assert not app.exception
        assert not app.info
        assert "tokens before it." not in said(app)
    assert "a query sees every token of the text, later ones too." in said(app)


def test_whether_heads_rest_on_the_first_token_is_read_off_the_run(offered: list[str]) -> None:
    even = said(open_page("pages/4_Attention.py", edits="pattern-uniform"))
    assert "of the weight lies on the first token, `<bos>`" in even
    assert "is no **attention sink** here" in even
    assert "attention sink" not in said(open_page("pages/4_Attention.py", prompt=""))


def test_heads_whose_lines_are_drawn_are_in_the_address(offered: list[str]) -> None:
    for heads, says in {"0_3": "", "": "", "3_x_99": "Shown: 3."}.items():
        app = open_page("pages/4_Attention.py", attention="query", prompt="the red cat", heads=heads)
        assert not app.exception
        assert says in " ".join(note.value for note in app.info)
        assert bool(app.info) == bool(says)
    app = open_page("pages/4_Attention.py", attention="query", prompt="the red cat", heads="0_3")
    next(slider for slider in app.slider if slider.label == "Head").set_value(2).run()
    assert not app.exception
    assert "heads" not in app.query_params, "another head begins with its own lines"
