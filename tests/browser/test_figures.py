"""How charts are drawn: in place, in the page's colours, in the room they have."""

from playwright.sync_api import Browser, Locator, expect

from tests.browser.driver import Driver

PROMPT = "prompt=the+cat+sat"


def pattern(app: Driver) -> Locator:
    return app.tab.locator(".st-key-pattern .figure")


def width_of(chart: Locator) -> float:
    expect(chart.locator(".main-svg").first).to_be_attached()
    return float(chart.locator(".main-svg").first.evaluate("svg => svg.getBoundingClientRect().width"))


def test_a_chart_that_is_there_is_changed_in_place(app: Driver) -> None:
    app.open(f"Attention?attention=query&{PROMPT}")
    chart = app.tab.locator(".st-key-scores .figure")
    app.tab.locator(".st-key-weighted_values .figure").scroll_into_view_if_needed()
    bars = chart.locator(".bars .point")
    expect(bars).to_have_count(4)
    chart.locator(".main-svg").first.evaluate("svg => (svg.kept = true)")
    app.choose_token(1)
    expect(bars).to_have_count(2)
    assert chart.locator(".main-svg").first.evaluate("svg => svg.kept")


def test_charts_beyond_the_screen_are_drawn_too(app: Driver) -> None:
    app.open(f"Attention?attention=query&{PROMPT}")
    app.choose_token(2)
    last = app.tab.locator(".st-key-weighted_values .figure")
    expect(last).not_to_be_in_viewport()
    expect(last.locator(".ytick text")).to_have_count(4)
    expect(app.tab.locator(".figure[aria-busy]")).to_have_count(0)


def test_a_chart_follows_the_theme(app: Driver) -> None:
    app.open(f"Attention?{PROMPT}")
    tick = pattern(app).locator(".xtick text").first
    expect(tick).to_have_css("fill", "rgb(104, 98, 85)")
    app.tab.emulate_media(color_scheme="dark")
    expect(tick).to_have_css("fill", "rgb(184, 179, 168)")


def test_a_chart_s_tools_keep_it_here(app: Driver) -> None:
    app.open(f"Attention?{PROMPT}")
    expect(pattern(app).locator(".modebar-btn").first).to_be_attached()
    tools = pattern(app).locator(".modebar-btn").evaluate_all("buttons => buttons.map((b) => b.dataset.title)")
    assert set(tools) == {
        "Zoom",
        "Pan",
        "Zoom in",
        "Zoom out",
        "Autoscale",
        "Reset axes",
        "Download as a PNG",
        "Fullscreen",
    }


def test_a_chart_follows_its_room(app: Driver) -> None:
    app.open(f"Attention?{PROMPT}")
    wide = width_of(pattern(app))
    app.tab.set_viewport_size({"width": 1000, "height": 1000})
    app.tab.wait_for_function(
        "wide => document.querySelector('.st-key-pattern .main-svg').getBoundingClientRect().width < wide", arg=wide
    )
    assert width_of(pattern(app)) == pattern(app).evaluate("chart => chart.clientWidth")


def test_a_chart_can_have_the_whole_screen(app: Driver) -> None:
    app.open(f"Attention?{PROMPT}")
    small = width_of(pattern(app))
    pattern(app).hover()
    pattern(app).locator(".modebar-btn[data-title=Fullscreen]").click()
    app.tab.wait_for_function("document.querySelector('.st-key-pattern .figure').matches(':fullscreen')")
    app.tab.wait_for_function(
        "small => document.querySelector('.st-key-pattern .main-svg').getBoundingClientRect().width > small", arg=small
    )
    pattern(app).hover()
    pattern(app).locator(".modebar-btn[data-title=Fullscreen]").click()
    app.tab.wait_for_function(
        "small => document.querySelector('.st-key-pattern .main-svg').getBoundingClientRect().width === small",
        arg=small,
    )


def test_a_chart_fits_on_paper(app: Driver) -> None:
    app.open(f"Transformer_layer?{PROMPT}")
    chart = app.tab.locator(".figure").first
    wide = width_of(chart)
    app.tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert {width_of(one) for one in app.tab.locator(".figure").all()} == {680}
    app.tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert width_of(chart) == wide


def test_without_the_library_the_page_says_so_until_it_arrives(chromium: Browser, server: str) -> None:
    context = chromium.new_context()
    app = Driver(context.new_page(), server)
    app.tab.route("**/plotly-*.js", lambda route: route.abort())
    app.open(f"Output?{PROMPT}")
    said = app.tab.get_by_text("the library for them did not arrive")
    expect(said.first).to_be_visible()
    app.tab.unroute("**/plotly-*.js")
    app.chips.nth(2).click()
    expect(app.tab.locator(".figure .main-svg").first).to_be_visible()
    expect(said).to_have_count(0)
    context.close()
