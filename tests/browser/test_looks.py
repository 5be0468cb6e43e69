"""Every page and every part of it, seen in a real browser at two widths and in both themes; leaves screenshots."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.accessibility import findings
from tests.browser.driver import CHARTS, STAGES, Driver

SCREENSHOTS = Path(__file__).parents[2] / "screenshots"

# The other parts of long pages, by the parameter that chooses them.
PARTS = {
    "Embedding": ("embedding", ("near",)),
    "Transformer_layer": ("transformer_layer", ("way", "norm")),
    "MLP": ("mlp", ("output", "neuron", "alone", "toy")),
    "Attention": ("attention", ("query", "moves", "sharing", "mask")),
    "Output": ("output", ("norm", "choice", "parts")),
    "RoPE": ("rope", ("distance", "wavelengths", "sensitivity", "shift")),
    "Compare": ("comparison", ("heads", "output")),
    "Experiments": ("guess=show&edits=rope-off&experiments", ("why", "own", "board")),
}

LOOKS = [("light", 1440), ("light", 390), ("dark", 390), ("dark", 1440)]


@pytest.mark.parametrize("stage", STAGES)
def test_every_page_is_drawn_whole_and_leaves_screenshots(app: Driver, stage: str) -> None:
    app.open(stage)
    app.expect_charts(CHARTS[stage])
    for theme, width in LOOKS:
        look_at(app, stage or "Overview", theme, width)


@pytest.mark.parametrize(("stage", "part"), [(stage, part) for stage, (_, parts) in PARTS.items() for part in parts])
def test_every_part_of_a_long_page_is_drawn_whole(app: Driver, stage: str, part: str) -> None:
    app.open(f"{stage}?{PARTS[stage][0]}={part}")
    expect(app.tab.locator(".figure:has(.main-svg)").first).to_be_visible()
    for theme, width in LOOKS[::2]:
        look_at(app, f"{stage}_{part}", theme, width)


@pytest.mark.parametrize(("theme", "width"), LOOKS[1:])
def test_a_page_opened_at_any_width_and_theme_is_drawn_whole(
    chromium: Browser, server: str, theme: Any, width: int
) -> None:
    context = chromium.new_context(viewport={"width": width, "height": 1000}, color_scheme=theme)
    app = Driver(context.new_page(), server)
    app.open("Attention")
    app.expect_charts(CHARTS["Attention"])
    look_at(app, "Attention", theme, width)
    context.close()


def look_at(app: Driver, name: str, theme: Any, width: int) -> None:
    """Nothing is wrong on the page at this width and in this theme, and nothing is cut; leaves a screenshot of it."""
    app.tab.emulate_media(color_scheme=theme)
    app.tab.set_viewport_size({"width": width, "height": 1000})
    app.settle()
    background = app.tab.get_by_test_id("stApp").evaluate("app => getComputedStyle(app).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (theme == "light"), name
    name = f"{name}_{theme}_{width}"
    assert app.alerts.count() == 0, name
    assert app.console_errors == [], name
    assert app.foreign_requests == [], name
    main = app.tab.get_by_test_id("stMain")
    app.tab.wait_for_timeout(300)  # charts follow the new size
    if (theme, width) in LOOKS[::2]:  # each theme and each width once
        assert findings(app.tab) == [], name
    assert main.evaluate("main => main.scrollWidth - main.clientWidth") <= 0, f"{name} is wider than the screen"
    height = main.evaluate("main => main.scrollHeight")
    app.tab.set_viewport_size({"width": width, "height": height + 40})
    app.tab.wait_for_timeout(500)
    SCREENSHOTS.mkdir(exist_ok=True)
    app.tab.screenshot(path=SCREENSHOTS / f"{name}.png")
