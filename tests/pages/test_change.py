"""Stage pages of a changed model."""

import pytest

from gemma_viz.ui.page import PAGES
from tests.pages.opened import charts_of, open_page, said

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
    assert charts_of(plain)[0]["figure"] != charts_of(changed)[0]["figure"]
