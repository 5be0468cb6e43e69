"""A person puts two runs side by side, in a real browser, on the real model."""

from playwright.sync_api import Locator, expect

from tests.browser.driver import Driver

CAPITALS = "Compare?prompt=The+capital+of+France+is&other=The+capital+of+Italy+is"


def column(app: Driver, said: str) -> Locator:
    """The column of the two strips that says this."""
    return app.tab.locator(f".aligned .column[aria-label='{said}']")


def test_two_prompts_stand_under_each_other(app: Driver) -> None:
    app.open(CAPITALS)
    expect(app.tab.locator(".aligned .column.different")).to_have_count(1)
    for said in ("3 ␣of, the same in both", "4 ␣France, below it 4 ␣Italy", "5 ␣is, the same in both"):
        expect(column(app, said)).to_be_visible()
    expect(app.tab.get_by_text("At 4 of 6 tokens the streams are alike")).to_be_visible()
    app.choose_token(4)
    expect(app.tab.locator(".aligned .column.selected")).to_have_text("4␣France4␣Italy")
    app.expect_charts(3)


def test_another_prompt_is_typed_and_stays_in_the_address(app: Driver) -> None:
    app.open(CAPITALS)
    box = app.tab.get_by_label("Other prompt", exact=True)
    box.fill("The old capital of Spain is")
    box.press("Enter")
    app.settle()
    app.expect(parameters={"prompt": "The capital of France is", "other": "The old capital of Spain is"})
    expect(column(app, "no token, below it 2 ␣old")).to_be_visible()
    app.tab.get_by_text("Output", exact=True).last.click()
    app.settle()
    expect(app.tab.get_by_text("The tokens that gain and lose most")).to_be_visible()
    app.tab.reload()
    app.settle()
    expect(app.tab.get_by_text("The tokens that gain and lose most")).to_be_visible()
    expect(column(app, "no token, below it 2 ␣old")).to_be_visible()


def test_a_change_is_compared_and_its_most_different_head_is_opened(app: Driver) -> None:
    app.open("Compare?edits=rope-off&comparison=heads")
    expect(app.tab.get_by_text("all are the same")).to_be_visible()
    app.tab.get_by_role("button", name="Show the one that differs most: layer 2, head 3").click()
    app.settle()
    app.expect(parameters={"edits": "rope-off", "comparison": "heads", "layer": "2", "head": "3"})
    app.expect_charts(4)
    app.go_back()
    app.expect(parameters={"edits": "rope-off", "comparison": "heads"})


def test_a_single_model_says_how_others_are_offered(app: Driver) -> None:
    app.open("Compare?against=model")
    expect(app.alerts.first).to_contain_text("GEMMA_VIZ_MODELS")
