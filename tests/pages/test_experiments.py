"""The Experiments page."""

import re
from pathlib import Path

import pytest

from gemma_viz.edits import Edits
from gemma_viz.spec import ModelSpec
from gemma_viz.stages.experiments import switches
from gemma_viz.ui import experiment_panels
from gemma_viz.ui.edit_controls import GROUPS
from gemma_viz.ui.words_presets import presets
from tests.conftest import tiny_config
from tests.pages.opened import FAMILIES, broken_checkpoint, charts_of, open_page, said

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
    assert charts_of(app)
    if part == "board":
        table = app.dataframe[0].value
        assert len(table) >= 30
        assert table["KL"].dropna().is_monotonic_decreasing
        assert (table["likeliest now"] == "no numbers").sum() == table["KL"].isna().sum()


@pytest.mark.parametrize(("family", "name"), PRESETS)
def test_every_question_is_asked_first_and_then_answered(offered: list[str], family: str, name: str) -> None:
    app = open_page(EXPERIMENTS, model=offered[FAMILIES.index(family)], prompt="the red cat", why=name)
    assert not app.exception
    assert not charts_of(app), "the result is not shown before a guess"
    guess = next(button for button in app.button if (button.key or "").startswith("guess:"))
    guess.click().run()
    assert not app.exception
    assert not app.info
    assert app.query_params["guess"] == guess.key.removeprefix("guess:")
    assert "You were right" in said(app) or "You expected" in said(app)
    assert "With " in said(app)
    assert charts_of(app)


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
    assert len(charts_of(app)) == 2


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
