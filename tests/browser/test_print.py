"""A page on paper."""

from playwright.sync_api import Browser, expect

from tests.browser.driver import Driver


def test_the_whole_page_is_printed_dark_on_white_from_the_dark_theme(chromium: Browser, server: str) -> None:
    context = chromium.new_context(viewport={"width": 1440, "height": 1000}, color_scheme="dark")
    app = Driver(context.new_page(), server)
    app.open("Attention")
    app.tab.emulate_media(media="print")
    expect(app.tab.get_by_test_id("stSidebar")).to_be_hidden()
    expect(app.tab.get_by_role("link", name="RoPE")).to_have_count(0)
    expect(app.tab.locator("h1")).to_have_css("color", "rgb(0, 0, 0)")
    expect(app.tab.locator("body")).to_have_css("background-color", "rgb(255, 255, 255)")
    foot = app.tab.get_by_text("every number is from").bounding_box()
    assert foot is not None
    assert foot["y"] > 1000
    assert app.tab.evaluate("document.documentElement.scrollHeight") > foot["y"], "nothing scrolls in itself"
    context.close()
