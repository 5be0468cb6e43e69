"""The MLP page."""

import pytest

from tests.pages.opened import open_page, shown


@pytest.mark.parametrize("which", ["mlp", "relu", "gelu_exact", "identity", "gate"])
def test_parts_of_the_mlp_are_left_out_in_all_layers_or_one(offered: list[str], which: str) -> None:
    app = open_page("pages/6_MLP.py", mlp="alone", mlp_off=which, off="1", layer="2")
    assert not app.exception
    assert any(toggle.label.endswith("in all layers and run this prompt again") for toggle in app.toggle)
    everywhere = shown(app)
    assert "KL divergence" in everywhere
    next(toggle for toggle in app.toggle if toggle.label == "Only in layer 2").set_value(True).run()
    assert not app.exception
    assert any("in layer 2 and run this prompt again" in toggle.label for toggle in app.toggle)
    assert "KL divergence" in shown(app)
    assert shown(app) != everywhere


def test_a_neuron_s_strongest_tokens_are_from_the_prompt_or_the_shipped_text(offered: list[str]) -> None:
    app = open_page("pages/6_MLP.py", mlp="neuron", neuron="7", prompt="the red cat")
    assert len(app.dataframe[0].value) == 6
    among = next(box for box in app.selectbox if "the shipped text" in box.options)
    among.set_value("shipped").run()
    assert not app.exception
    table = app.dataframe[0].value
    assert len(table) == 10
    assert table["product"].abs().is_monotonic_decreasing
    assert table["in its context"].str.contains("«").all()
    assert app.query_params["among"] == "shipped"


def test_the_mlp_of_a_prompt_of_one_token_says_that_there_is_no_other(offered: list[str]) -> None:
    app = open_page("pages/6_MLP.py", mlp="alone", prompt="")
    assert not app.exception
    assert "no other token" in app.info[0].value


def test_the_token_to_replace_is_another_one_and_the_word_one_token(offered: list[str]) -> None:
    app = open_page("pages/6_MLP.py", mlp="alone", prompt="the red cat", token="1", beside="1")
    assert "is the selected one" in app.info[0].value
    app = open_page("pages/6_MLP.py", mlp="alone", prompt="the red cat", token="3", swap="zebra")
    assert not app.exception
    assert "tokens (" in app.info[0].value
    app = open_page("pages/6_MLP.py", mlp="alone", prompt="the red cat", token="3", swap="green")
    assert not app.info
    assert "is the same in every bit" in shown(app)


def test_another_token_is_offered_anew_for_another_selected_one(offered: list[str]) -> None:
    for token, other in (("0", 1), ("1", 2), ("2", 1), ("5", 1)):
        app = open_page("pages/6_MLP.py", mlp="alone", prompt="the red cat", token=token)
        assert next(slider for slider in app.slider if slider.label == "Another token").value == other


def test_the_toy_is_in_the_address(offered: list[str]) -> None:
    app = open_page("pages/6_MLP.py", mlp="toy", toy_seed="4", toy_neuron="2")
    weight = next(slider for slider in app.slider if slider.label == "Weight in the output, w")
    before = shown(app)
    gate = next(slider for slider in app.slider if slider.label == "Gate: offset of the line")
    weight.set_value(1.9).run()
    gate.set_value(2.0).run()
    numbers = app.query_params["toy"].split("_")
    assert len(numbers) == 25
    assert (numbers[6], numbers[9]) == ("2", "1.9")
    assert shown(app) != before
    again = open_page("pages/6_MLP.py", mlp="toy", toy_seed="4", toy_neuron="2", toy="_".join(numbers))
    assert next(slider for slider in again.slider if slider.label == "Weight in the output, w").value == 1.9
    assert not again.info
    next(button for button in again.button if button.label == "Draw others").click().run()
    assert not again.exception
    assert again.query_params["toy_seed"] == "5"
    assert "toy" not in again.query_params


@pytest.mark.parametrize(
    "parameters",
    [
        {"toy": "1_2"},
        {"toy": "_".join(["x"] * 25)},
        {"toy": "_".join(["nan"] * 25)},
        {"toy": "_".join(["99999"] * 25)},
        {"toy_cut": "1e999"},
        {"toy_seed": "-3"},
        {"toy_kind": "SwiGLU"},
        {"toy_neuron": "9"},
    ],
)
def test_a_toy_that_cannot_be_gets_a_sentence(offered: list[str], parameters: dict[str, str]) -> None:
    app = open_page("pages/6_MLP.py", mlp="toy", **parameters)
    assert not app.exception
    assert len(app.info) == 1
    assert "Shown is" in app.info[0].value
