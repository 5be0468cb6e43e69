"""The Compare page."""

import re
from pathlib import Path

import pytest

from tests.pages.opened import FAMILIES, charts_of, open_page, said

COMPARE = "pages/11_Compare.py"


COMPARISON_PARTS = {"streams": 3, "heads": 4, "output": 2}  # and how many charts each has of two runs of one model


@pytest.mark.parametrize("part", COMPARISON_PARTS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "against",
    [
        {"other": "the green cat it"},
        {"against": "edits"},
        {"against": "edits", "first_edits": "window-2", "second_edits": "causal_mask-off"},
        {"edits": "pattern-own~layers-1_2"},
    ],
    ids=lambda against: "_".join(against.values()),
)
def test_two_runs_of_one_model_are_compared(
    offered: list[str], family: str, part: str, against: dict[str, str]
) -> None:
    app = open_page(
        COMPARE, model=offered[FAMILIES.index(family)], prompt="the red cat moving", comparison=part, **against
    )
    assert not app.exception
    assert not app.error
    assert not app.info
    assert len(charts_of(app)) == COMPARISON_PARTS[part]


@pytest.mark.parametrize("part", COMPARISON_PARTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_two_models_are_compared_by_text(
    monkeypatch: pytest.MonkeyPatch,
    tiny_checkpoints: dict[str, Path],
    checkpoint_of_other_words: Path,
    family: str,
    part: str,
) -> None:
    monkeypatch.setenv("GEMMA_VIZ_MODELS", f"{tiny_checkpoints[family]},{checkpoint_of_other_words}")
    app = open_page(COMPARE, against="model", prompt="the red cats moving", comparison=part)
    assert not app.exception
    assert not app.error
    assert not app.info
    assert len(charts_of(app)) == {"streams": 1, "heads": 0, "output": 2}[part]
    expected = {"streams": "cannot be compared", "heads": "cannot be paired", "output": "only in that of other\\_words"}
    assert expected[part] in said(app)


def test_one_model_alone_says_how_to_offer_others(
    monkeypatch: pytest.MonkeyPatch, tiny_checkpoints: dict[str, Path]
) -> None:
    monkeypatch.setenv("GEMMA_VIZ_MODELS", str(tiny_checkpoints["gemma1"]))
    app = open_page(COMPARE, against="model")
    assert not app.exception
    assert "GEMMA_VIZ_MODELS" in app.info[0].value


def test_a_change_in_the_address_is_what_is_compared(offered: list[str]) -> None:
    app = open_page(COMPARE, edits="rope_theta-50", comparison="output")
    assert "a RoPE base of 50" in said(app)
    assert "The model is changed in this view" not in said(app)
    kind = next(box for box in app.selectbox if box.label == "Compare this run with")
    kind.set_value("prompt").run()
    assert not app.exception
    assert "the other prompt" in said(app)
    assert app.query_params["against"] == "prompt"
    assert app.query_params["edits"] == "rope_theta-50"


def test_a_prompt_is_the_same_as_itself(offered: list[str]) -> None:
    for part, sentence in {"streams": "At **5 of 5**", "heads": "same pattern in both", "output": "**0 nats**"}.items():
        app = open_page(COMPARE, prompt="the cat", other="the cat", comparison=part)
        assert not app.exception
        assert "all are the same" in said(app)
        assert sentence in said(app)


def test_a_change_that_breaks_the_numbers_is_said_to(offered: list[str]) -> None:
    broken = {"edits": "norms-off~final_norm-off~embedding_factor-1e+06", "prompt": "the cat"}
    for part, sentence in {
        "streams": "a stream is not a number",
        "heads": "The median of all heads is|nothing to compare",
        "output": "not all numbers",
    }.items():
        app = open_page(COMPARE, comparison=part, **broken)
        assert not app.exception
        assert re.search(sentence, said(app))


@pytest.mark.parametrize("other", ["", "   ", "🙂 שלום", "<script>`**", "<bos><end_of_turn>"])
@pytest.mark.parametrize("part", COMPARISON_PARTS)
def test_any_other_prompt_is_compared(offered: list[str], other: str, part: str) -> None:
    app = open_page(COMPARE, prompt="the red cat", other=other, comparison=part)
    assert not app.exception
    assert not app.error
    assert not app.info


def test_another_prompt_that_is_too_long_gets_a_sentence_and_stays(offered: list[str]) -> None:
    app = open_page(COMPARE)
    box = next(box for box in app.text_input if box.label == "Other prompt")
    box.set_value("a" * 1000).run()
    assert not app.exception
    assert "the limit is" in app.error[0].value
    assert next(box for box in app.text_input if box.label == "Other prompt").value == "a" * 1000


def test_a_token_without_a_counterpart_gets_a_sentence(offered: list[str]) -> None:
    app = open_page(COMPARE, prompt="t the red cat", other="t red cat", token="2")
    assert not app.exception
    assert "no token ends where" in app.info[0].value
    assert len(charts_of(app)) == 1


@pytest.mark.parametrize(
    "nonsense",
    [
        {"against": "<b>"},
        {"against": "edits", "second_edits": "rope-maybe"},
        {"against": "edits", "first_edits": "<b>"},
        {"against": "model", "other_model": "/etc/passwd"},
        {"comparison": "nothing"},
        {"edits": "layers-99~rope-off"},
    ],
    ids=lambda nonsense: " ".join(nonsense.values()),
)
def test_a_comparison_that_cannot_be_gets_a_note(offered: list[str], nonsense: dict[str, str]) -> None:
    app = open_page(COMPARE, prompt="the red cat", **nonsense)
    assert not app.exception
    assert len(app.info) == 1
    assert "Shown is" in app.info[0].value
    assert len(charts_of(app)) >= 1


def test_the_head_that_differs_most_is_one_click_away(offered: list[str]) -> None:
    app = open_page(COMPARE, against="edits", comparison="heads", prompt="the red cat")
    button = next(button for button in app.button if button.label.startswith("Show the one that differs most"))
    layer, head = re.findall(r"\d+", button.label)
    button.click().run()
    assert not app.exception
    assert [slider.value for slider in app.slider if slider.label in ("Layer", "Head")] == [int(layer), int(head)]
