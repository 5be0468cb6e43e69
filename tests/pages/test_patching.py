"""The Patching page."""

import re
from pathlib import Path

import pytest

from tests.pages.opened import FAMILIES, broken_checkpoint, charts_of, open_page, said, shown

PAIR = {"prompt": "the cat want to move", "other": "the red want to move"}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("taken", ["resid_pre", "attn_out", "mlp_out", "z"])
@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_a_pair_of_prompts_is_patched_on_every_family(
    offered: list[str], family: str, taken: str, direction: str
) -> None:
    model = offered[FAMILIES.index(family)]
    app = open_page("pages/10_Patching.py", model=model, taken=taken, direction=direction, figure="1", **PAIR)
    assert not app.exception
    assert not app.error
    assert not app.info
    said_there = said(app)
    assert "(`␣cat` or `␣red`)" in said_there
    assert "The patched run's likeliest next token is" in said_there
    assert ("Every head" in " ".join(head.value for head in app.header)) == (taken == "z")
    assert len(charts_of(app)) == 3


def test_the_run_in_which_the_answer_moves_furthest_is_one_click_away(offered: list[str]) -> None:
    app = open_page("pages/10_Patching.py", model=offered[2], **PAIR)
    button = next(button for button in app.button if button.label == "Show the run in which it moves furthest")
    layer, place, number = re.search(r"at layer (\d+), token (\d+) `.*?`: (-?\d+\.\d+)", said(app)).groups()  # type: ignore[union-attr]
    button.click().run()
    assert not app.exception
    assert app.query_params.get("layer", "0") == layer
    assert f"Selected: token {place}, counted from 0, of" in shown(app)
    assert f"recovered **{number}**" in said(app)


def test_an_example_pair_sets_both_prompts(offered: list[str]) -> None:
    app = open_page("pages/10_Patching.py", answer="cat")
    next(button for button in app.button if button.label == "An opposite").click().run()
    assert not app.exception
    assert app.query_params["prompt"] == "The opposite of hot is"
    assert app.query_params["other"] == "The opposite of big is"
    assert "answer" not in app.query_params


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"prompt": "the cat", "other": ""}, "The other prompt is empty"),
        ({"prompt": "the cat", "other": "the cat"}, "Both prompts are the same tokens"),
        ({"prompt": "the cat", "other": "the red cat"}, "make the other one shorter by 1 token"),
        ({"prompt": "the red cat to", "other": "the red"}, "make the clean one shorter by 2 tokens"),
        ({"prompt": "the cat " * 80, "other": "the cat " * 79 + "the red "}, "Shorten both"),
        ({**PAIR, "answer": "cat", "other_answer": "cat"}, "Both answers are the same token"),
    ],
)
def test_prompts_that_cannot_be_patched_get_a_sentence(
    offered: list[str], parameters: dict[str, str], sentence: str
) -> None:
    app = open_page("pages/10_Patching.py", **parameters)
    assert not app.exception
    assert sentence in said(app)
    assert not charts_of(app)


def test_another_prompt_that_is_too_long_gets_a_sentence(offered: list[str]) -> None:
    app = open_page("pages/10_Patching.py", prompt="the cat", other="a" * 3_000)
    assert not app.exception
    assert "the limit is" in app.error[0].value


def test_a_model_whose_logits_are_no_numbers_is_not_patched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GEMMA_VIZ_MODELS", str(broken_checkpoint(tmp_path)))
    assert "are not to be found" in said(open_page("pages/10_Patching.py", **PAIR))
    app = open_page("pages/10_Patching.py", answer="cat", other_answer="red", **PAIR)
    assert not app.exception
    assert "not all numbers" in said(app)
