"""The living picture of the Overview, played and read by keyboard."""

import re

from playwright.sync_api import Browser, expect

from tests.browser.driver import Driver


def test_the_pass_is_played_stepped_through_and_opens_a_page(app: Driver) -> None:
    app.open()
    said, place = app.tab.locator(".living .said"), app.tab.get_by_role("slider", name="Place in the pass")
    expect(said).to_contain_text("The likeliest after “␣move” is")
    app.tab.get_by_role("button", name="Play", exact=True).click()
    app.tab.wait_for_timeout(1500)
    expect(said).to_contain_text("The text is cut into 5 tokens.")  # there is time to read it
    expect(said).to_contain_text("Layer 0, attention adds an update of")
    app.tab.get_by_role("button", name="Pause", exact=True).click()
    place.focus()
    app.tab.keyboard.press("Home")
    expect(said).to_contain_text("The text is cut into 5 tokens. Token 4 is “␣move”")
    for _ in range(3):
        app.tab.keyboard.press("ArrowRight")
    expect(said).to_contain_text("Layer 0, MLP works on “␣move” alone")
    expect(place).to_have_attribute("aria-valuetext", "layer 0, MLP")
    app.tab.keyboard.press("Tab")  # the picture is one tab stop, at the selected token
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowLeft"):
        app.tab.keyboard.press(key)
    here = app.tab.locator(".board .cell:focus")
    expect(here).to_have_accessible_name(
        re.compile("Token 3 ␣to, layer 1, attention: an update of .* times the stream")
    )
    app.tab.keyboard.press("Enter")
    app.expect(title="Attention", selected=3, parameters={"layer": "1", "token": "3"})
    app.settle()
    app.go_back()
    app.expect(title="Overview", selected=3, parameters={"layer": "1", "token": "3"})
    app.go_back()
    app.expect(title="Overview", selected=4, parameters={})


def test_with_reduced_motion_it_is_stepped_through_only(chromium: Browser, server: str) -> None:
    context = chromium.new_context(reduced_motion="reduce")
    app = Driver(context.new_page(), server)
    app.open()
    expect(app.tab.get_by_role("button", name="Play", exact=True)).to_have_count(0)
    app.tab.get_by_role("button", name="One step back").click()
    expect(app.tab.locator(".living .said")).to_contain_text("The final norm brings the stream of")
    expect(app.tab.get_by_text("Your device asks for less motion")).to_be_visible()
    on = app.tab.get_by_role("button", name="One step on")
    on.press("Enter")
    expect(on).to_be_focused()  # also where there is no further step
    expect(on).to_be_disabled()
    context.close()


def test_its_numbers_are_a_table_and_a_text(app: Driver) -> None:
    app.open()
    expect(app.tab.get_by_role("img", name=re.compile("The stream of “␣move” goes from an RMS of"))).to_be_visible()
    app.tab.locator("summary", has_text="The numbers of this picture, as a table").press("Enter")
    expect(app.tab.get_by_test_id("stDataFrame")).to_have_count(2)
