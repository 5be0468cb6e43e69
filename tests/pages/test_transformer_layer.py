"""The Transformer layer page."""

import pytest

from tests.pages.opened import open_page, said


@pytest.mark.parametrize(
    ("page", "choice"), [("3_Transformer_layer", "Which norms to leave out"), ("6_MLP", "What to leave out")]
)
def test_what_is_left_out_is_chosen_under_why(offered: list[str], page: str, choice: str) -> None:
    drawn = [
        getattr(part, "label", None) or getattr(part, "value", None) for part in open_page(f"pages/{page}.py").main
    ]
    assert drawn.index("Why") < drawn.index(choice)


def test_norms_are_left_out_by_kind_and_in_one_layer(offered: list[str]) -> None:
    app = open_page("pages/3_Transformer_layer.py", off="1", which="mlp", one="1", layer="2")
    assert not app.exception
    shown = said(app)
    assert "the norms around the MLP of layer 2" in shown


def test_the_final_norm_belongs_to_no_layer(offered: list[str]) -> None:
    app = open_page("pages/3_Transformer_layer.py", off="1", which="final", one="1")
    assert not app.exception
    assert not any(toggle.label.startswith("Only in layer") for toggle in app.toggle)
    shown = said(app)
    assert "the final norm" in shown
    assert "of layer 0:" not in shown


def test_a_norm_that_breaks_the_stream_is_said_to(offered: list[str]) -> None:
    app = open_page("pages/3_Transformer_layer.py", off="1")  # the tiny models' weights are large
    assert not app.exception
    assert "no longer a number" in said(app)
