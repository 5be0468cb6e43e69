"""Every page on small models, through Streamlit's own AppTest: no browser, all families."""

import json
import re
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
import torch
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Selectbox, Slider, TextArea

from gemma_viz.edits import Edits
from gemma_viz.spec import ModelSpec
from gemma_viz.stages.experiments import switches
from gemma_viz.ui import experiment_panels
from gemma_viz.ui.edit_controls import GROUPS
from gemma_viz.ui.page import PAGES
from gemma_viz.ui.words_presets import presets
from tests.conftest import tiny_config, tiny_model, tiny_tokenizer

ROOT = Path(__file__).parents[2]
FAMILIES = ("gemma1", "gemma2", "gemma3")
NO_CHARTS = ("pages/8_Generation.py", "pages/9_Experiments.py", "pages/10_Patching.py")


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


def said(app: AppTest) -> str:
    return " ".join(element.value for element in app.markdown)


def prompt_of(app: AppTest) -> TextArea:
    return next(area for area in app.text_area if area.label == "Prompt")


def model_of(app: AppTest) -> Selectbox:
    return next(box for box in app.selectbox if box.label == "Model")


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
    assert len(app.get("plotly_chart")) >= 1 or page in NO_CHARTS


@pytest.mark.parametrize("page", PAGES)
def test_every_page_but_the_first_shows_what_if(offered: list[str], page: str) -> None:
    app = open_page(page)
    charts = len(app.get("plotly_chart"))
    if not app.toggle:
        assert page in ("app.py", "pages/11_Compare.py", *NO_CHARTS)
        return
    switch = next(toggle for toggle in app.toggle if toggle.label.startswith(("Leave out", "Stop the merges")))
    switch.set_value(True).run()
    assert not app.exception
    assert len(app.get("plotly_chart")) > charts


def test_norms_are_left_out_by_kind_and_in_one_layer(offered: list[str]) -> None:
    app = open_page("pages/3_Transformer_layer.py", off="1", which="mlp", one="1", layer="2")
    assert not app.exception
    shown = said(app)
    assert "the norms around the MLP of layer 2" in shown


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
    assert app.get("plotly_chart") or not prompt


def test_a_key_outside_of_the_window_is_said_to_be_hidden(offered: list[str]) -> None:
    app = open_page(
        "pages/4_Attention.py", model=offered[2], attention="query", key="1", prompt="the red cat moving it"
    )
    assert not app.exception
    assert "outside of the window" in said(app)


def test_a_part_that_is_not_there_gets_a_sentence(offered: list[str]) -> None:
    app = open_page("pages/4_Attention.py", attention="<b>")
    assert not app.exception
    assert "has no part" in app.info[0].value
    assert len(app.get("plotly_chart")) >= 1


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


def test_a_word_of_several_tokens_gets_a_sentence(offered: list[str]) -> None:
    for page, parameters in {
        "pages/2_Embedding.py": {"near": "zebra", "sum": "zebra + cat"},
        "pages/3_Transformer_layer.py": {"follow": "zebra"},
        "pages/7_Output.py": {"output": "parts", "logit": "zebra"},
    }.items():
        app = open_page(page, **parameters)
        assert not app.exception
        assert any("no row" in info.value for info in app.info)


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
    assert len(app.get("plotly_chart")) == OUTPUT_PARTS[part] + soft_cap


def test_a_long_prompt_has_a_line_of_surprise_too(offered: list[str]) -> None:
    app = open_page("pages/7_Output.py", prompt="the cat " * 40)
    assert not app.exception
    assert len(app.get("plotly_chart")) == OUTPUT_PARTS["next"] + 1


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


def broken_checkpoint(folder: Path) -> Path:
    model = tiny_model("gemma3", len(tiny_tokenizer(bos=True)))
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    model.save_pretrained(folder)
    tiny_tokenizer(bos=True).save_pretrained(folder)
    return folder


def test_a_logit_less_another_is_split(offered: list[str]) -> None:
    app = open_page("pages/7_Output.py", output="parts", compare="1", logit="cat", less="red", model=offered[1])
    assert not app.exception
    assert "the logit of `␣cat` less that of `␣red`" in said(app)
    assert "before the soft-cap" in said(app)


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
    assert model_of(app).value == offered[0]


def test_paths_of_the_server_are_not_shown(offered: list[str]) -> None:
    app = open_page("app.py")
    shown = [element.value for element in (*app.markdown, *app.caption)] + list(model_of(app).options)
    assert not any(str(Path(offered[0]).parent) in text for text in shown)


def test_a_model_that_is_missing_gets_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GEMMA_VIZ_MODELS", str(tmp_path / "nothing_here"))
    app = open_page("app.py")
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


def test_tokens_are_added_to_the_prompt(offered: list[str]) -> None:
    app = open_page("pages/8_Generation.py", prompt="the cat", temperature="0", new="3")
    for label in ("Add one token", "Add 3 tokens"):
        before = prompt_of(app).value
        next(button for button in app.button if button.label == label).click().run()
        assert not app.exception
        assert not app.error
        assert prompt_of(app).value.startswith(before)
        assert len(prompt_of(app).value) > len(before)


def test_a_text_at_the_limit_cannot_grow(offered: list[str]) -> None:
    app = open_page("pages/8_Generation.py", prompt="a" * 511)
    next(button for button in app.button if button.label == "Add one token").click().run()
    assert not app.exception
    assert "reached the limit of 512 tokens" in " ".join(info.value for info in app.info)


def test_what_is_generated_is_kept_as_a_tree(offered: list[str]) -> None:
    app = open_page("pages/8_Generation.py", prompt="the cat", temperature="0")
    next(button for button in app.button if button.label == "Add one token").click().run()
    assert "1 token, one ending" in said(app)


def shown(app: AppTest) -> str:
    return " ".join(element.value for element in (*app.markdown, *app.caption))


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
    for token, other in (("0", 1), ("1", 2), ("2", 1), ("5", 2)):
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


# Every parameter that a link can have but the prompt, by page: what a page shows of them depends on the part.
SAMPLING = ("repetition", "temperature", "top_k", "top_p", "min_p", "seed")
CHOSEN = {
    "app.py": ("model", "token"),
    "pages/1_Tokenization.py": ("merge", "smaller", "script", "kind", "from"),
    "pages/2_Embedding.py": ("around", "off"),
    "pages/3_Transformer_layer.py": ("layer", "norm", "which", "one", "off"),
    "pages/4_Attention.py": ("layer", "head", "attention", "sort", "rank", "off"),
    "pages/4_Attention.py?attention=query": ("heads", "key"),
    "pages/4_Attention.py?attention=moves": ("head",),
    "pages/4_Attention.py?attention=sharing": ("tokens",),
    "pages/4_Attention.py?attention=mask": ("head",),
    "pages/4_Attention.py?sort=first": ("least",),
    "pages/5_RoPE.py": ("pair", "rope"),
    "pages/5_RoPE.py?rope=distance": ("key", "shift"),
    "pages/5_RoPE.py?rope=wavelengths": ("key", "all_lengths"),
    "pages/5_RoPE.py?rope=shift": ("positions", "move"),
    "pages/5_RoPE.py?rope=shift&positions=stretch": ("stretch",),
    "pages/6_MLP.py": ("mlp", "mlp_off", "one"),
    "pages/6_MLP.py?mlp=neuron": ("neuron", "among"),
    "pages/6_MLP.py?mlp=alone": ("beside",),
    "pages/6_MLP.py?mlp=toy": ("toy_kind", "toy_seed", "toy", "toy_cut", "toy_neuron"),
    "pages/7_Output.py": ("output",),
    "pages/7_Output.py?output=choice": SAMPLING,
    "pages/7_Output.py?output=parts": ("compare",),
    "pages/8_Generation.py": (*SAMPLING, "new"),
}
TYPED = ("near", "sum", "words", "follow", "instead", "swap", "row", "logit", "less", "search")


def open_link(link: str, parameters: dict[str, str]) -> AppTest:
    page, _, query = link.partition("?")
    return open_page(page, prompt="the red cat", **parameters | dict(parse_qsl(query)))


@pytest.mark.parametrize("nonsense", ["nan", "-0.0.1", "1e999", "9" * 5000, "<b>x</b>"])
@pytest.mark.parametrize("link", CHOSEN)
def test_a_link_full_of_nonsense_opens_what_it_can_and_names_the_rest(
    offered: list[str], link: str, nonsense: str
) -> None:
    app = open_link(link, dict.fromkeys(CHOSEN[link], nonsense))
    assert not app.exception
    assert not app.error
    assert app.title[0].value == PAGES[link.partition("?")[0]]
    notes = [note.value for note in app.info]
    for name in CHOSEN[link]:
        said_so = any(f" {name} " in note or (name == link_part(link) and "has no part" in note) for note in notes)
        assert said_so, f"nothing is said of {name}: {notes}"
    assert not any("<b>" in note.replace("`<b>x</b>`", "") for note in notes), "it is shown as text"
    assert all(len(note) < 300 for note in notes)


def link_part(link: str) -> str:
    return link.partition("?")[0].partition("_")[2].removesuffix(".py").lower()


@pytest.mark.parametrize("text", ["", "9" * 5000, "\x00", "<b> = = -"])
@pytest.mark.parametrize("link", CHOSEN)
def test_boxes_take_any_text_of_a_link(offered: list[str], link: str, text: str) -> None:
    app = open_link(link, dict.fromkeys((*TYPED, *CHOSEN[link]), text))
    assert not app.exception
    assert not app.error


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


@pytest.mark.parametrize("page", PAGES)
def test_every_chart_can_be_taken_away_and_every_page_linked(offered: list[str], page: str) -> None:
    app = open_page(page)
    charts, files = app.get("plotly_chart"), app.get("download_button")
    assert len(files) == 3 * len(charts)
    assert not any(file.proto.url for file in files), "nothing is made before it is asked for"
    for chart in charts:
        options = json.loads(chart.proto.config)["toImageButtonOptions"]
        assert options["filename"]
        assert options["scale"] == 2
    assert len(app.get("bidi_component")) >= 2


OWN_CHANGES = ("pages/9_Experiments.py", "pages/10_Patching.py", "pages/11_Compare.py")
STAGES = [page for page in PAGES if page not in OWN_CHANGES]


@pytest.mark.parametrize("page", STAGES)
@pytest.mark.parametrize(
    "change",
    [
        {"edits": "rope-off~layers-1"},
        {"edits": "causal_mask-off~without_heads-0x1~removal-mean"},
        {"edits": "norms-off~attention_residual-off~unembedding_seed-3"},
        {"patch": "z-1-2-0", "other": "the cat"},
    ],
    ids=lambda change: next(iter(change.values())),
)
def test_every_stage_opens_with_a_changed_model_and_says_so(
    offered: list[str], page: str, change: dict[str, str]
) -> None:
    app = open_page(page, prompt="the red cat", **change)
    assert not app.exception
    assert not app.error
    assert "The model is changed in this view" in said(app)
    undo = next(button for button in app.button if button.label == "Undo the change")
    undo.click().run()
    assert not app.exception
    assert "The model is changed in this view" not in said(app)


@pytest.mark.parametrize(
    "change",
    [
        {"edits": "rope-maybe"},
        {"edits": "<b>-off"},
        {"edits": "layers-99~rope-off"},
        {"edits": "attention_temperature-nan"},
        {"edits": "rope_theta-inf"},
        {"edits": "without_heads-0x99"},
        {"edits": "without_heads-0"},
        {"patch": "z-1-2"},
        {"patch": "nothing"},
        {"patch": "mlp_out-0-77"},
        {"patch": "mlp_out-x-1"},
        {"patch": "mlp_out-0-1-2-3"},
    ],
    ids=lambda change: next(iter(change.values())),
)
def test_a_change_that_cannot_be_is_named_and_left_out(offered: list[str], change: dict[str, str]) -> None:
    app = open_page("pages/7_Output.py", prompt="the red cat", **change)
    assert not app.exception
    assert len(app.info) == 1
    assert "Shown is" in app.info[0].value
    assert "The model is changed in this view" not in said(app)


def test_a_patch_past_the_end_of_the_prompt_is_refused_with_a_sentence(offered: list[str]) -> None:
    app = open_page("pages/7_Output.py", prompt="the", patch="mlp_out-0-4", other="the red cat to move")
    assert not app.exception
    assert "no token 4" in app.error[0].value


def test_the_numbers_of_a_changed_view_are_the_changed_model_s(offered: list[str]) -> None:
    plain, changed = (open_page("pages/7_Output.py", **edits) for edits in ({}, {"edits": "mlp-off"}))
    assert said(plain).replace(said(changed), "") != ""
    assert plain.dataframe[0].value.to_dict() != changed.dataframe[0].value.to_dict()


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
    assert ("Every head" in " ".join(head.value for head in app.subheader)) == (taken == "z")
    assert len(app.get("plotly_chart")) == 3


def test_the_run_in_which_the_answer_moves_furthest_is_one_click_away(offered: list[str]) -> None:
    app = open_page("pages/10_Patching.py", model=offered[2], **PAIR)
    button = next(button for button in app.button if button.label == "Show the run in which it moves furthest")
    layer, place, number = re.search(r"at layer (\d+), token (\d+) `.*?`: (-?\d+\.\d+)", said(app)).groups()  # type: ignore[union-attr]
    button.click().run()
    assert not app.exception
    assert app.query_params.get("layer", "0") == layer
    assert f"Selected: token {place} of" in shown(app)
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
    assert not app.get("plotly_chart")


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
    assert len(app.get("plotly_chart")) == COMPARISON_PARTS[part]


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
    assert len(app.get("plotly_chart")) == {"streams": 1, "heads": 0, "output": 2}[part]
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
    assert len(app.get("plotly_chart")) == 1


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
    assert len(app.get("plotly_chart")) >= 1


def test_the_head_that_differs_most_is_one_click_away(offered: list[str]) -> None:
    app = open_page(COMPARE, against="edits", comparison="heads", prompt="the red cat")
    button = next(button for button in app.button if button.label.startswith("Show the one that differs most"))
    layer, head = re.findall(r"\d+", button.label)
    button.click().run()
    assert not app.exception
    assert [slider.value for slider in app.slider if slider.label in ("Layer", "Head")] == [int(layer), int(head)]


EXPERIMENTS = "pages/9_Experiments.py"
GUESSES = {"answer": "stays", "most": "none", "first": "none"}
SPECS = {family: ModelSpec.from_config(tiny_config(family, 400)) for family in FAMILIES}
PRESETS = [(family, name) for family, spec in SPECS.items() for name in presets(spec)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("part", ["why", "own", "board"])
@pytest.mark.parametrize("prompt", ["the red cat", ""])
def test_every_part_of_the_experiments_opens_on_every_family(
    offered: list[str], part: str, family: str, prompt: str
) -> None:
    model = offered[FAMILIES.index(family)]
    app = open_page(EXPERIMENTS, model=model, prompt=prompt, experiments=part, edits="rope-off", guess="show")
    assert not app.exception
    assert not app.error
    assert not app.info
    assert app.get("plotly_chart")
    if part == "board":
        table = app.dataframe[0].value
        assert len(table) >= 30
        assert table["KL"].dropna().is_monotonic_decreasing
        assert (table["likeliest now"] == "no numbers").sum() == table["KL"].isna().sum()


@pytest.mark.parametrize(("family", "name"), PRESETS)
def test_every_question_is_asked_first_and_then_answered(offered: list[str], family: str, name: str) -> None:
    app = open_page(EXPERIMENTS, model=offered[FAMILIES.index(family)], prompt="the red cat", why=name)
    assert not app.exception
    assert not app.get("plotly_chart"), "the result is not shown before a guess"
    guess = next(button for button in app.button if (button.key or "").startswith("guess:"))
    guess.click().run()
    assert not app.exception
    assert not app.info
    assert app.query_params["guess"] == guess.key.removeprefix("guess:")
    assert "You were right" in said(app) or "You expected" in said(app)
    assert "With " in said(app)
    assert app.get("plotly_chart")


def test_another_question_asks_anew(offered: list[str]) -> None:
    app = open_page(EXPERIMENTS, prompt="the red cat", guess="other")
    next(button for button in app.button if button.label.startswith("Next question")).click().run()
    assert app.query_params["why"] == "residual"
    assert "guess" not in app.query_params
    next(box for box in app.selectbox if box.label == "Question").set_value("mask").run()
    next(button for button in app.button if button.label == "Just show me").click().run()
    assert "What happened" in said(app)
    next(button for button in app.button if button.label == "Ask me again").click().run()
    assert "guess" not in app.query_params


def test_a_question_that_is_not_asked_here_and_a_guess_that_is_none_get_a_note(offered: list[str]) -> None:
    app = open_page(EXPERIMENTS, why="softcap", guess="<b>", model=offered[0])
    assert not app.exception
    assert len(app.info) == 2


def test_controls_write_the_change_into_the_address(offered: list[str]) -> None:
    app = open_page(EXPERIMENTS, experiments="own", prompt="the red cat", group="rope")
    next(toggle for toggle in app.toggle if toggle.label == "Rotate queries and keys").set_value(False).run()
    assert app.query_params["edits"] == "rope-off"
    next(box for box in app.number_input if box.label == "Positions plus").set_value(7).run()
    assert app.query_params["edits"] == "rope-off~rope_shift-7"
    app.segmented_control[1].set_value("layers").run()
    next(box for box in app.multiselect if box.label.startswith("Only in")).set_value([1, 3]).run()
    assert app.query_params["edits"] == "rope-off~rope_shift-7~layers-1_3"
    app.segmented_control[1].set_value("mlp").run()
    next(box for box in app.selectbox if box.label == "What the gate goes through").set_value("relu").run()
    assert not app.exception
    assert app.query_params["edits"] == "rope-off~rope_shift-7~activation-relu~layers-1_3"
    assert "no RoPE, positions moved by 7, ReLU in the place of GELU, in layers 1 and 3" in said(app)
    next(button for button in app.button if button.key == "undo:rope_shift").click().run()
    assert app.query_params["edits"] == "rope-off~activation-relu~layers-1_3"
    next(button for button in app.button if button.label == "Undo all").click().run()
    assert "edits" not in app.query_params
    assert "Nothing yet" in said(app)


def test_heads_neurons_and_queries_are_named_and_taken_back(offered: list[str]) -> None:
    app = open_page(EXPERIMENTS, experiments="own", prompt="the red cat", group="parts", layer="2", neuron="5")
    next(button for button in app.button if button.label == "Leave out neuron 2.5").click().run()
    assert app.query_params["edits"] == "without_neurons-2x5"
    next(box for box in app.multiselect if box.label.startswith("Heads left out")).set_value([(1, 3)]).run()
    assert app.query_params["edits"] == "without_heads-1x3~without_neurons-2x5"
    next(box for box in app.multiselect if box.label.startswith("Neurons left out")).set_value([]).run()
    assert app.query_params["edits"] == "without_heads-1x3"
    app = open_page(EXPERIMENTS, experiments="own", prompt="the red cat", group="attention", head="2", source="1")
    next(button for button in app.button if button.label == "Let head 2 use the queries of head 1").click().run()
    assert app.query_params["edits"] == "queries_from-2x1"
    next(button for button in app.button if button.label.startswith("Let all heads")).click().run()
    assert app.query_params["edits"] == "queries_from-0x1_2x1_3x1_4x1_5x1"
    assert not app.exception


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_group_of_controls_shows_what_a_link_asks_for(offered: list[str], family: str, group: str) -> None:
    edits = Edits(
        embedding_factor=1e6,
        window=2,
        attention_temperature=500.0,
        rope_theta=1.001,
        rope_shift=-(2**31 - 1),
        rope_shuffle=3,
        weight_bits=4,
        removal="mean",
        queries_from=((1, 0),),
        layers=frozenset(),
    )
    model = offered[FAMILIES.index(family)]
    app = open_page(EXPERIMENTS, experiments="own", model=model, prompt="the", group=group, edits=edits.to_text())
    assert not app.exception
    assert not app.error
    lacking = {"gemma1": ("norms", "attention", "output"), "gemma2": ("norms",), "gemma3": ("attention", "output")}
    assert any(" has no " in caption.value for caption in app.caption) == (group in lacking[family])
    assert app.query_params["edits"] == edits.to_text(), "looking at it changes nothing"


def test_a_change_that_cannot_be_is_named_on_the_experiments_too(offered: list[str]) -> None:
    for part in ("why", "own", "board"):
        app = open_page(EXPERIMENTS, experiments=part, prompt="the", edits="rope_shift-99999999999999999999")
        assert not app.exception
        assert "Shown is the model as it was trained" in app.info[0].value
    app = open_page(EXPERIMENTS, experiments="own", prompt="the", edits="layers-99", group="mlp")
    next(toggle for toggle in app.toggle if toggle.label == "Gate").set_value(False).run()
    assert app.query_params["edits"] == "gate-off", "what cannot be is dropped"


def test_the_loss_on_the_shipped_text_comes_with_its_error(offered: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(EXPERIMENTS, experiments="own", prompt="the", edits="mlp-off", measured="1")
    assert not app.exception
    assert re.search(r"tokens of the shipped text is \*\*[\d.]+ ± [\d.]+ nats\*\*", said(app))
    monkeypatch.setattr(experiment_panels, "switches", lambda spec: switches(spec)[6:9])
    app = open_page(EXPERIMENTS, experiments="board", prompt="the", measured="1")
    assert not app.exception
    table = app.dataframe[0].value
    assert table["± s.e. of it"].dropna().gt(0).any()
    assert len(app.get("plotly_chart")) == 2


def test_an_experiment_s_change_goes_on_as_one_s_own(offered: list[str]) -> None:
    app = open_page(EXPERIMENTS, prompt="the red cat", why="distance", guess="show")
    next(button for button in app.button if button.label.endswith("every position multiplied by 2")).click().run()
    assert not app.exception
    assert app.query_params["edits"] == "rope_stretch-2"
    assert app.query_params["experiments"] == "own"


def test_a_broken_model_can_be_experimented_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GEMMA_VIZ_MODELS", str(broken_checkpoint(tmp_path)))
    monkeypatch.setattr(experiment_panels, "switches", lambda spec: switches(spec)[:2])
    for part in ("why", "own", "board"):
        app = open_page(EXPERIMENTS, experiments=part, edits="mlp-off", guess="show", measured="1")
        assert not app.exception
