"""Every page on small models, through Streamlit's own AppTest: no browser, all families."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Slider, TextArea

from gemma_viz.ui.page import PAGES

ROOT = Path(__file__).parents[2]
FAMILIES = ("gemma1", "gemma2", "gemma3")


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch, tiny_checkpoints: dict[str, Path]) -> list[str]:
    names = [str(tiny_checkpoints[family]) for family in FAMILIES]
    monkeypatch.setenv("GEMMA_VIZ_MODELS", ",".join(names))
    return names


def open_page(page: str, **parameters: str) -> AppTest:
    app = AppTest.from_file(ROOT / "app.py", default_timeout=60)
    for name, value in parameters.items():
        app.query_params[name] = value
    if page != "app.py":
        app.switch_page(page)
    return app.run()


def prompt_of(app: AppTest) -> TextArea:
    return next(area for area in app.text_area if area.label == "Prompt")


def key_of(app: AppTest) -> Slider:
    return next(slider for slider in app.slider if slider.label.startswith("Key"))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_every_family(offered: list[str], page: str, family: str) -> None:
    app = open_page(page, model=offered[FAMILIES.index(family)])
    assert not app.exception
    assert not app.error
    assert not app.info or page == "pages/2_Embedding.py"  # there it names words that are several tokens
    assert app.title[0].value == PAGES[page]
    assert len(app.get("plotly_chart")) >= 1


@pytest.mark.parametrize("page", PAGES)
def test_every_page_but_the_first_shows_what_if(offered: list[str], page: str) -> None:
    app = open_page(page)
    charts = len(app.get("plotly_chart"))
    if not app.toggle:
        assert page == "app.py"
        return
    switch = next(toggle for toggle in app.toggle if toggle.label.startswith(("Leave out", "Stop the merges")))
    switch.set_value(True).run()
    assert not app.exception
    assert len(app.get("plotly_chart")) > charts


def test_norms_are_left_out_by_kind_and_in_one_layer(offered: list[str]) -> None:
    app = open_page("pages/3_Transformer_layer.py", off="1", which="mlp", one="1", layer="2")
    assert not app.exception
    shown = " ".join(element.value for element in app.markdown)
    assert "the norms around the MLP of layer 2" in shown


def test_heads_are_ranked_by_what_they_do(offered: list[str]) -> None:
    app = open_page("pages/4_Attention.py", rank="1", prompt="the cat the cat")
    assert not app.exception
    table = app.dataframe[0].value
    assert len(table) == 4 * 6
    assert table["induction"].notna().all()
    assert table["first token"].between(0, 1).all()


ROPE_PARTS = ("hands", "distance", "wavelengths", "sensitivity", "shift")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("part", ROPE_PARTS)
def test_every_part_of_rope_opens_on_every_family(offered: list[str], part: str, family: str) -> None:
    app = open_page("pages/5_RoPE.py", rope=part, model=offered[FAMILIES.index(family)], layer="2", head="1")
    assert not app.exception
    assert not app.info
    assert len(app.get("plotly_chart")) >= 1
    assert app.subheader[-2].value == "The code"


@pytest.mark.parametrize("part", ROPE_PARTS)
def test_every_part_of_rope_takes_a_prompt_of_one_token(offered: list[str], part: str) -> None:
    app = open_page("pages/5_RoPE.py", rope=part, prompt="", all_lengths="1")
    assert not app.exception
    assert not app.error


def test_a_score_at_its_own_place_and_moved_on_is_said_in_numbers(offered: list[str]) -> None:
    app = open_page("pages/5_RoPE.py", rope="distance", prompt="the cat the cat", token="3", key="1", shift="50")
    said = " ".join(element.value for element in app.markdown)
    assert "At their own places, 3 and 1," in said
    assert "moved on by 50 tokens, to 53 and 51," in said
    assert "The model's own query and key" in said


def test_another_prompt_begins_with_the_key_before_it(offered: list[str]) -> None:
    app = open_page("pages/5_RoPE.py", rope="distance", prompt="the cat the cat", key="1")
    assert key_of(app).value == 1
    prompt_of(app).set_value("the red cat").run()
    assert "key" not in app.query_params
    assert key_of(app).value == key_of(app).max - 1


def test_a_key_outside_the_window_is_said_to_be_hidden(offered: list[str]) -> None:
    app = open_page(
        "pages/5_RoPE.py", rope="distance", model=offered[1], key="0", prompt="the cat the cat the cat the cat"
    )
    assert "this layer hides that key" in " ".join(element.value for element in app.markdown)


def test_heads_are_ranked_by_how_much_they_depend_on_position(offered: list[str]) -> None:
    app = open_page("pages/5_RoPE.py", rope="sensitivity", prompt="the cat the cat")
    table = app.dataframe[0].value
    assert len(table) == 4 * 6
    assert table["distance"].is_monotonic_decreasing
    best = table.iloc[0]
    assert f"Most depend on position on this prompt: layer {best['layer']:.0f} head {best['head']:.0f}" in " ".join(
        element.value for element in app.markdown
    )


def test_a_shift_moves_nothing_and_a_stretch_does(offered: list[str]) -> None:
    shifted = open_page("pages/5_RoPE.py", rope="shift", move="10")
    assert "The patterns do not move" in " ".join(element.value for element in shifted.markdown)
    beyond = open_page("pages/5_RoPE.py", rope="shift", move="1,000")
    assert "beyond the 512 tokens" in " ".join(element.value for element in beyond.caption)
    stretched = open_page("pages/5_RoPE.py", rope="shift", positions="stretch", stretch="4")
    said = " ".join(element.value for element in stretched.markdown)
    assert "With every position multiplied by 4" in said
    assert "The patterns move." in said
    off = open_page("pages/5_RoPE.py", rope="shift", positions="off")
    assert "With no rotation in any layer" in " ".join(element.value for element in off.markdown)


def test_the_final_norm_belongs_to_no_layer(offered: list[str]) -> None:
    app = open_page("pages/3_Transformer_layer.py", off="1", which="final", one="1")
    assert not app.exception
    assert not any(toggle.label.startswith("Only in layer") for toggle in app.toggle)
    shown = " ".join(element.value for element in app.markdown)
    assert "the final norm" in shown
    assert "of layer 0:" not in shown


def test_a_norm_that_breaks_the_stream_is_said_to(offered: list[str]) -> None:
    app = open_page("pages/3_Transformer_layer.py", off="1")  # the tiny models' weights are large
    assert not app.exception
    assert "no longer a number" in " ".join(element.value for element in app.markdown)


def test_a_word_of_several_tokens_gets_a_sentence(offered: list[str]) -> None:
    for page, parameters in {
        "pages/2_Embedding.py": {"near": "zebra", "sum": "zebra + cat"},
        "pages/3_Transformer_layer.py": {"follow": "zebra"},
    }.items():
        app = open_page(page, **parameters)
        assert not app.exception
        assert any("no row" in info.value for info in app.info)


@pytest.mark.parametrize("page", ["app.py", "pages/4_Attention.py"])
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
    app = open_page("app.py", model="google/gemma-7b")
    assert not app.exception
    assert "is not offered here" in app.info[0].value
    assert app.selectbox[0].value == offered[0]


def test_paths_of_the_server_are_not_shown(offered: list[str]) -> None:
    app = open_page("app.py")
    shown = [element.value for element in (*app.markdown, *app.caption)] + list(app.selectbox[0].options)
    assert not any(str(Path(offered[0]).parent) in text for text in shown)


def test_a_model_that_is_missing_gets_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GEMMA_VIZ_MODELS", str(tmp_path / "nothing_here"))
    app = open_page("app.py")
    assert not app.exception
    assert "nothing_here" in app.error[0].value
    assert str(tmp_path) not in app.error[0].value


def test_choosing_another_model_resets_what_depends_on_it(offered: list[str]) -> None:
    app = open_page("pages/4_Attention.py", layer="3", head="2", prompt="the cat")
    app.selectbox[0].set_value(offered[1]).run()
    assert not app.exception
    assert app.query_params["prompt"] == "the cat"
    assert "layer" not in app.query_params
    assert app.slider[0].value == 0
