"""The Output page."""

from pathlib import Path

import pytest

from tests.pages.opened import FAMILIES, broken_checkpoint, charts_of, open_page, said

OUTPUT_PARTS = {"next": 3, "norm": 1, "choice": 3, "parts": 2}  # and how many charts each has


@pytest.mark.parametrize("part", OUTPUT_PARTS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("text", ["the red cat", ""])
def test_every_part_of_the_output_page_opens(offered: list[str], family: str, part: str, text: str) -> None:
    app = open_page("pages/7_Output.py", output=part, model=offered[FAMILIES.index(family)], prompt=text)
    assert not app.exception
    assert not app.error
    assert not app.warning
    soft_cap = part == "norm" and family == "gemma2"
    unpredicted = part == "next" and not text  # nothing in the prompt can surprise
    assert len(charts_of(app)) == OUTPUT_PARTS[part] + soft_cap - unpredicted


def test_a_long_prompt_has_a_line_of_surprise_too(offered: list[str]) -> None:
    app = open_page("pages/7_Output.py", prompt="the cat " * 40)
    assert not app.exception
    assert len(charts_of(app)) == OUTPUT_PARTS["next"] + 1


def test_the_same_link_draws_the_same_token_and_the_button_another_number(offered: list[str]) -> None:
    parameters = {"output": "choice", "temperature": "1.5", "seed": "4"}
    app = open_page("pages/7_Output.py", **parameters)
    first = said(app)
    assert "With seed 4 the random number is" in first
    assert said(open_page("pages/7_Output.py", **parameters)) == first
    next(button for button in app.button if button.label.startswith("Draw again")).click().run()
    assert app.query_params["seed"] == "5"
    assert "With seed 5" in said(app)
    assert first != said(app)


def test_the_last_seed_is_followed_by_the_first(offered: list[str]) -> None:
    app = open_page("pages/7_Output.py", output="choice", seed="999")
    next(button for button in app.button if button.label.startswith("Draw again")).click().run()
    assert "With seed 0" in said(app)


def test_temperature_zero_is_said_to_be_greedy(offered: list[str]) -> None:
    app = open_page("pages/7_Output.py", output="choice", temperature="0")
    assert not app.exception
    assert "nothing is left to chance" in said(app)


def test_sampling_settings_that_are_not_offered_get_a_note(offered: list[str]) -> None:
    app = open_page("pages/7_Output.py", output="choice", temperature="-1", top_p="nan", top_k="1e9", seed="x")
    assert not app.exception
    assert len(app.info) == 4


@pytest.mark.parametrize("part", OUTPUT_PARTS)
def test_a_model_whose_logits_are_no_numbers_is_still_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, part: str
) -> None:
    monkeypatch.setenv("GEMMA_VIZ_MODELS", str(broken_checkpoint(tmp_path)))
    app = open_page("pages/7_Output.py", output=part)
    assert not app.exception
    assert "not all numbers" in " ".join([said(app), *(warning.value for warning in app.warning)])


def test_a_logit_less_another_is_split(offered: list[str]) -> None:
    app = open_page("pages/7_Output.py", output="parts", compare="1", logit="cat", less="red", model=offered[1])
    assert not app.exception
    assert "the logit of `␣cat` less that of `␣red`" in said(app)
    assert "before the soft-cap" in said(app)
