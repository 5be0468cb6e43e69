"""What stands in links, and what appears under the mouse, is text in the browser too."""

from urllib.parse import quote_plus

from playwright.sync_api import expect

from tests.browser.driver import Driver

MARKUP = (
    '<img src=x onerror="window.broken=true"><script>window.broken=true</script>[a](javascript:1)<a href="/x">b</a>'
)

PARAMETERS = (
    "prompt",
    "token",
    "layer",
    "head",
    "model",
    "edits",
    "patch",
    "other",
    "attention",
    "off",
    "sort",
    "link",
)


def expect_no_markup(app: Driver) -> None:
    assert app.tab.evaluate("() => window.broken") is None
    everywhere = app.tab.locator("img[src=x], a[href^=javascript], a[href$='/x'], svg a")
    assert everywhere.count() == 0
    assert app.foreign_requests == []


def test_markup_in_every_parameter_of_a_link_is_shown_as_text(app: Driver) -> None:
    markup = quote_plus(MARKUP)
    app.open("Attention?" + "&".join(f"{name}={markup}" for name in PARAMETERS))
    app.expect(title="Attention", prompt=MARKUP, walked=MARKUP)
    expect(app.tab.get_by_text("This link asks for a model that is not offered here")).to_contain_text("<img␣src=x")
    expect_no_markup(app)


def test_markup_under_the_mouse_is_shown_as_text(app: Driver) -> None:
    app.open(f"Output?prompt={quote_plus(MARKUP)}")
    chart = app.tab.locator(".figure").first
    plot = chart.locator(".nsewdrag").first
    hover, seen = chart.locator(".hoverlayer .hovertext"), ""
    width = plot.evaluate("plot => plot.getBoundingClientRect().width")
    for step in range(1, 12):
        plot.hover(position={"x": width * step / 12, "y": 20})
        expect(hover.first).to_be_visible()
        seen += hover.first.text_content() or ""
    assert "<" in seen, "tokens of the markup were under the mouse"
    app.chips.nth(2).hover()
    expect_no_markup(app)
