"""A person experiments with the real model in a real browser."""

from playwright.sync_api import expect

from tests.browser.driver import Driver


def test_a_question_is_answered_after_a_guess(app: Driver) -> None:
    app.open("Experiments")
    app.expect_charts(0)
    app.tab.get_by_role("button", name="The same token stays the likeliest").click()
    expect(app.tab.get_by_text("You expected: “The same token stays the likeliest”")).to_be_visible()
    app.settle()
    app.expect(parameters={"guess": "stays"})
    app.expect_charts(2)
    app.tab.get_by_role("button", name="Next question").click()
    app.settle()
    app.expect(parameters={"why": "residual"})
    app.expect_charts(0)
    app.go_back()
    app.expect(parameters={"guess": "stays"})
    expect(app.tab.get_by_text("You expected: “The same token stays the likeliest”")).to_be_visible()


def test_a_change_is_made_walked_and_undone(app: Driver) -> None:
    app.open("Experiments?experiments=own")
    app.tab.get_by_role("radio", name="RoPE").click()
    app.settle()
    app.tab.get_by_text("Rotate queries and keys").click()
    app.settle()
    app.expect(parameters={"experiments": "own", "group": "rope", "edits": "rope-off"})
    box = app.tab.get_by_label("Positions times", exact=True)
    box.fill("3")
    box.press("Enter")
    app.settle()
    assert app.parameters["edits"] == "rope-off~rope_stretch-3"
    expect(app.tab.get_by_text("With no RoPE, positions times 3")).to_be_visible()
    app.tab.get_by_role("button", name="positions times 3").click()
    app.settle()
    assert app.parameters["edits"] == "rope-off"
    expect(box).to_have_value("1")
    app.follow("Attention")
    expect(app.tab.get_by_text("The model is changed in this view: no RoPE.")).to_be_visible()
    app.tab.get_by_role("button", name="Undo the change").click()
    app.settle()
    assert "edits" not in app.parameters
    expect(app.tab.get_by_text("The model is changed in this view")).to_have_count(0)


def test_a_row_of_the_board_opens_as_one_s_own_change(app: Driver) -> None:
    app.open("Experiments?experiments=board")
    expect(app.tab.get_by_text("leave it the likeliest token")).to_be_visible(timeout=120_000)
    table = app.tab.get_by_test_id("stDataFrame").first
    table.scroll_into_view_if_needed()
    table.click(position={"x": 16, "y": 52})  # the box before the first row; rows are 35 pixels high
    app.settle()
    app.expect(parameters={"experiments": "own", "edits": "norms-off"})
    expect(app.tab.get_by_text("With no norms around attention and MLP there is no prediction at all")).to_be_visible()
