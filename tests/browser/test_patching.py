"""A person patches a run, and opens it on another page."""

from playwright.sync_api import expect

from tests.browser.driver import Driver

TOKYO = "The capital of Japan is Tokyo."
FRANCE, ITALY = f"{TOKYO} The capital of France is", f"{TOKYO} The capital of Italy is"
AT = 11  # where the two differ


def test_a_pair_is_taken_a_cell_is_chosen_and_its_run_is_opened_and_left(app: Driver) -> None:
    app.open("Patching")
    expect(app.tab.locator(".cell")).to_have_count(18 * 3)  # "I want" and "I have" differ from token 2 on
    app.tab.get_by_role("button", name="A capital").click()
    app.settle()
    app.expect(parameters={"prompt": FRANCE, "other": ITALY})
    cells = app.tab.locator(".cell")
    expect(cells).to_have_count(18 * 2)  # before France and Italy the two runs are the same
    expect(app.tab.get_by_text("Most comes back at layer")).to_be_visible()
    app.expect_charts(2)

    cells.nth(2 * 3).click()
    app.settle()
    app.expect(parameters={"prompt": FRANCE, "other": ITALY, "layer": "3", "token": str(AT)})
    cells.nth(2 * 3).press("ArrowDown")
    app.tab.keyboard.press("Enter")
    app.settle()
    app.expect(parameters={"prompt": FRANCE, "other": ITALY, "layer": "4", "token": str(AT)}, selected=AT)
    expect(app.tab.get_by_text("the stream that enters layer 4 at token 11 comes from")).to_be_visible()

    app.tab.get_by_role("link", name="Open on Output").click()
    app.tab.wait_for_url("**/Output?**")
    app.settle()
    app.expect(title="Output", prompt=ITALY, selected=AT)
    patch = {"patch": "resid_pre-4-11", "prompt": ITALY, "other": FRANCE, "layer": "4", "token": str(AT)}
    assert patch.items() <= app.parameters.items()
    banner = app.tab.get_by_text("The model is changed in this view")
    expect(banner).to_be_visible()
    app.tab.get_by_role("button", name="Undo the change").click()
    app.settle()
    expect(banner).to_have_count(0)
    app.expect(parameters={"prompt": ITALY, "other": FRANCE, "layer": "4", "token": str(AT)})
    app.go_back()
    expect(banner).to_be_visible()
    app.go_back()
    app.expect(title="Patching", prompt=FRANCE, selected=AT)
    app.expect(parameters={"prompt": FRANCE, "other": ITALY, "layer": "4", "token": str(AT)})

    app.tab.get_by_role("link", name="Open on MLP").click()  # once more, after Back
    app.tab.wait_for_url("**/MLP?**")
    app.settle()
    app.expect(title="MLP", prompt=ITALY, selected=AT)
    expect(banner).to_be_visible()
    app.choose_token(2)
    assert patch.items() - {("token", str(AT))} <= app.parameters.items()
    app.follow("Output")
    app.expect(prompt=ITALY, selected=2)
    expect(banner).to_be_visible()


def test_heads_are_chosen_at_the_selected_token(app: Driver) -> None:
    app.open(f"Patching?prompt={FRANCE.replace(' ', '+')}&other={ITALY.replace(' ', '+')}&taken=z&direction=noise")
    expect(app.tab.get_by_text("Every head at the selected token")).to_be_visible()
    heads = app.tab.locator(".patches").nth(1).locator(".cell")
    expect(heads).to_have_count(18 * 4)
    heads.nth(4 * 12 + 2).click()
    app.settle()
    expect(app.tab.get_by_text("what layer 12, head 2 reads at token 12 comes from")).to_be_visible()
    app.tab.get_by_role("link", name="Open on Attention").click()
    app.tab.wait_for_url("**/Attention?**")
    app.settle()
    app.expect(title="Attention", prompt=FRANCE)
    expect(app.tab.get_by_text("The model is changed in this view")).to_be_visible()
    assert app.parameters["patch"] == "z-12-12-2"
