"""Every page, on every family."""

from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from gemma_viz.ui.page import PAGES
from tests.pages.opened import FAMILIES, charts_of, model_of, open_page, prompt_of, said

NO_CHARTS = ("pages/8_Generation.py", "pages/9_Experiments.py", "pages/10_Patching.py", "pages/12_Glossary.py")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_every_family(offered: list[str], page: str, family: str) -> None:
    app = open_page(page, model=offered[FAMILIES.index(family)])
    assert not app.exception
    assert not app.error
    assert not app.info or page == "pages/2_Embedding.py"  # there it names words that are several tokens
    assert app.title[0].value == PAGES[page]
    assert len(charts_of(app)) >= 1 or page in NO_CHARTS


@pytest.mark.parametrize("page", PAGES)
def test_every_page_but_the_first_shows_what_if(offered: list[str], page: str) -> None:
    app = open_page(page)
    charts = len(charts_of(app))
    offer = ("Leave out", "Stop the merges")
    switch = next((toggle for toggle in app.toggle if toggle.label.startswith(offer)), None)
    if switch is None:
        assert page in ("overview.py", "pages/11_Compare.py", *NO_CHARTS)
        return
    switch.set_value(True).run()
    assert not app.exception
    assert len(charts_of(app)) > charts


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("page", "name", "part"),
    [
        *(("pages/4_Attention.py", "attention", part) for part in ("query", "moves", "sharing", "mask")),
        *(("pages/6_MLP.py", "mlp", part) for part in ("neuron", "alone", "toy")),
        *(("pages/7_Output.py", "output", part) for part in ("norm", "choice", "parts")),
        *(("pages/5_RoPE.py", "rope", part) for part in ("distance", "wavelengths", "sensitivity", "shift")),
    ],
)
@pytest.mark.parametrize("prompt", ["the red cat moving the cat", ""])
def test_every_part_of_a_page_opens_on_every_family(
    offered: list[str], page: str, name: str, part: str, family: str, prompt: str
) -> None:
    app = open_page(page, model=offered[FAMILIES.index(family)], prompt=prompt, instead="cat", **{name: part})
    assert not app.exception
    assert not app.error
    assert not app.info or (part == "alone" and not prompt)  # there is no other token then
    assert charts_of(app) or not prompt


def test_a_part_that_is_not_there_gets_a_sentence(offered: list[str]) -> None:
    app = open_page("pages/4_Attention.py", attention="<b>")
    assert not app.exception
    assert "has no part" in app.info[0].value
    assert len(charts_of(app)) >= 1


@pytest.mark.parametrize("page", ["overview.py", "pages/4_Attention.py"])
def test_a_text_that_is_too_long_gets_a_sentence_and_stays(offered: list[str], page: str) -> None:
    app = open_page(page)
    text = "a" * 100_000
    prompt_of(app).set_value(text).run()
    assert not app.exception
    assert "the limit is" in app.error[0].value
    assert prompt_of(app).value == text


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "🙂", "שלום", "\x00\x1b[31m", "<bos><end_of_turn>", "<script>"])
@pytest.mark.parametrize("page", PAGES)
def test_every_page_takes_odd_texts(offered: list[str], page: str, text: str) -> None:
    app = open_page(page, prompt=text)
    assert not app.exception
    assert not app.error
    assert prompt_of(app).value == text


def test_a_model_outside_the_operators_list_cannot_be_asked_for(offered: list[str]) -> None:
    app = open_page("overview.py", model="google/gemma-7b")
    assert not app.exception
    assert "is not offered here" in app.info[0].value
    assert model_of(app).value == offered[0]


def test_paths_of_the_server_are_not_shown(offered: list[str]) -> None:
    app = open_page("overview.py")
    shown = [element.value for element in (*app.markdown, *app.caption)] + list(model_of(app).options)
    assert not any(str(Path(offered[0]).parent) in text for text in shown)


def test_a_model_that_is_missing_gets_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GEMMA_VIZ_MODELS", str(tmp_path / "nothing_here"))
    app = open_page("overview.py")
    assert not app.exception
    assert "nothing_here" in app.error[0].value
    assert str(tmp_path) not in app.error[0].value


def test_choosing_another_model_resets_what_depends_on_it(offered: list[str]) -> None:
    app = open_page("pages/4_Attention.py", layer="3", head="2", prompt="the cat")
    model_of(app).set_value(offered[1]).run()
    assert not app.exception
    assert app.query_params["prompt"] == "the cat"
    assert "layer" not in app.query_params
    assert app.slider[0].value == 0


def test_the_walk_is_written_as_a_document_on_demand(offered: list[str]) -> None:
    app = open_page("overview.py", prompt="the red cat")
    assert all("Save" not in button.proto.label for button in app.get("download_button"))
    next(button for button in app.button if button.label.startswith("Write the whole walk")).click().run()
    assert not app.exception
    assert any(button.proto.label.startswith("Save the document") for button in app.get("download_button"))
    prompt_of(app).set_value("the green cat").run()
    assert not any(button.proto.label.startswith("Save the document") for button in app.get("download_button"))


def test_what_a_page_leaves_out_is_in_place_on_the_next(offered: list[str]) -> None:
    app = open_page("pages/4_Attention.py", off="1", layer="1")
    assert app.query_params["off"] == "1"
    links = [link.proto for link in app.get("page_link")]
    assert links
    assert all("off=" not in link.query_string and "layer=1" in link.query_string for link in links)


@pytest.mark.parametrize(("page", "why"), [("4_Attention", "attention"), ("5_RoPE", "rope"), ("6_MLP", "mlp")])
def test_a_why_leads_to_its_question_with_nothing_guessed(offered: list[str], page: str, why: str) -> None:
    app = open_page(f"pages/{page}.py", prompt="the red cat", off="1", guess="stays")
    link = next(link.proto for link in app.get("page_link") if link.proto.label.startswith("Guess first"))
    asked = dict(parse_qsl(link.query_string))
    assert (asked["why"], asked["prompt"]) == (why, "the red cat")
    assert "guess" not in asked
    assert "off" not in asked


def test_an_empty_prompt_is_said_to_be_one(offered: list[str]) -> None:
    assert "**The prompt is empty**, so only `<bos>` is there" in said(open_page("overview.py", prompt=""))
    assert "is empty" not in said(open_page("overview.py"))
