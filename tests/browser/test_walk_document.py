"""The walk as a document: opened from disk, in a browser that has no network."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

import gemma_viz as gv
from gemma_viz.report import STAGES, walk
from tests.browser.accessibility import findings
from tests.browser.conftest import ROOT

PROMPT = "I want to move"
# Of writing and of the paper.
SHADES = {"light": ("rgb(31, 36, 48)", "rgb(255, 255, 255)"), "dark": ("rgb(230, 233, 239)", "rgb(14, 17, 23)")}
ColorScheme = Literal["light", "dark"]
SCREENSHOTS = ROOT / "screenshots"


@pytest.fixture(scope="module")
def file(embedded: gv.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("walk") / "walk.html"
    path.write_text(walk(embedded.capture(PROMPT)), encoding="utf-8", newline="\n")
    return path


class Reader:
    """Someone who has been sent the file."""

    def __init__(self, tab: Page, file: Path):
        self.tab = tab
        self.errors: list[str] = []
        self.requests: list[str] = []
        tab.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: self.errors.append(str(error)))
        tab.on("request", lambda request: self.requests.append(request.url))
        tab.goto(file.as_uri())
        expect(tab.locator(".plot:not(:has(.main-svg))")).to_have_count(0)

    def overflow(self) -> float:
        """By how many pixels the page is wider than the screen."""
        return self.tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def expect_shades(self, scheme: str) -> None:
        """Page and charts are written in the colours of a theme."""
        ink, paper = SHADES[scheme]
        expect(self.tab.locator(".plot .xtick text").first).to_have_css("fill", ink)
        expect(self.tab.locator("body")).to_have_css("background-color", paper)


@contextmanager
def reading(chromium: Browser, file: Path, width: int = 1440, scheme: ColorScheme = "light") -> Iterator[Reader]:
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_offline(True)
    yield Reader(context.new_page(), file)
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_it_is_drawn_without_network_errors_or_overflow(
    chromium: Browser, file: Path, width: int, scheme: ColorScheme
) -> None:
    with reading(chromium, file, width, scheme) as reader:
        assert reader.tab.locator(".plot").count() > 40
        assert reader.errors == []
        assert {url for url in reader.requests if not url.startswith(("data:", "blob:"))} == {file.as_uri()}
        assert reader.overflow() <= 0
        reader.expect_shades(scheme)
        if (width, scheme) == (1440, "light"):  # fifty charts take a while to look through
            assert findings(reader.tab) == []
        SCREENSHOTS.mkdir(exist_ok=True)
        reader.tab.screenshot(path=SCREENSHOTS / f"walk_document_{width}_{scheme}.png", full_page=True)


def test_charts_and_page_are_light_on_paper_and_follow_the_theme(chromium: Browser, file: Path) -> None:
    with reading(chromium, file, scheme="dark") as reader:
        reader.tab.emulate_media(media="print")
        reader.expect_shades("light")
        reader.tab.emulate_media(media="screen")
        reader.expect_shades("dark")
        reader.tab.emulate_media(color_scheme="light")
        reader.expect_shades("light")


def test_the_contents_lead_to_every_stage(chromium: Browser, file: Path) -> None:
    with reading(chromium, file, width=390) as reader:
        links = reader.tab.get_by_role("navigation").get_by_role("listitem").get_by_role("link")
        assert [link.get_attribute("href") for link in links.all()] == [f"#{stage}" for stage in STAGES]
        links.last.click()
        expect(reader.tab.get_by_role("heading", name="Generation")).to_be_in_viewport()


def test_no_chart_offers_to_send_itself_away(chromium: Browser, file: Path) -> None:
    with reading(chromium, file) as reader:
        expect(reader.tab.locator(".modebar-btn[data-title='Zoom in']").first).to_be_attached()
        expect(reader.tab.locator(".modebar-btn[data-title*=Share]")).to_have_count(0)


def test_it_prints_with_every_chart_on_the_paper(chromium: Browser, file: Path) -> None:
    with reading(chromium, file) as reader:
        reader.tab.evaluate("dispatchEvent(new Event('beforeprint'))")
        widths = reader.tab.locator(".plot").evaluate_all(
            "plots => plots.map(plot => plot.querySelector('.main-svg').getBoundingClientRect().width)"
        )
        assert set(widths) == {660}
        reader.tab.evaluate("dispatchEvent(new Event('afterprint'))")
        expect(reader.tab.locator(".plot .main-svg").first).not_to_have_css("width", "660px")
