"""The walk as a document: opened from disk, in a browser that has no network."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

import gemma_viz as gv
from gemma_viz.report import STAGES, walk
from tests.browser.conftest import ROOT

PROMPT = "I want to move"
WIDTHS = (1440, 390)
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
        expect(tab.locator(".plot:not(:has(.main-svg))")).to_have_count(0, timeout=60_000)

    def overflow(self) -> float:
        """By how many pixels the page is wider than the screen."""
        return self.tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def ink(self) -> str:
        return self.tab.locator(".plot .xtick text").first.evaluate("tick => getComputedStyle(tick).fill")

    def paper(self) -> str:
        return self.tab.evaluate("getComputedStyle(document.body).backgroundColor")


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=WIDTHS)
def reader(request: pytest.FixtureRequest, chromium: Browser, file: Path, scheme: str) -> Iterator[Reader]:
    context = chromium.new_context(viewport={"width": request.param, "height": 900}, color_scheme=scheme)
    context.set_offline(True)
    reader = Reader(context.new_page(), file)
    yield reader
    context.close()


def test_it_is_drawn_without_network_errors_or_overflow(reader: Reader, file: Path, scheme: str) -> None:
    assert reader.tab.locator(".plot").count() > 40
    assert reader.errors == []
    assert {url for url in reader.requests if not url.startswith(("data:", "blob:"))} == {file.as_uri()}
    assert reader.overflow() <= 0
    SCREENSHOTS.mkdir(exist_ok=True)
    width = reader.tab.viewport_size["width"] if reader.tab.viewport_size else 0
    reader.tab.screenshot(path=SCREENSHOTS / f"walk_document_{width}_{scheme}.png", full_page=True)


def test_charts_and_page_change_with_the_theme_and_are_light_on_paper(reader: Reader, scheme: str) -> None:
    shades = {"light": ("rgb(31, 36, 48)", "rgb(255, 255, 255)"), "dark": ("rgb(230, 233, 239)", "rgb(14, 17, 23)")}
    assert (reader.ink(), reader.paper()) == shades[scheme]
    reader.tab.emulate_media(media="print")
    expect(reader.tab.locator(".plot .xtick text").first).to_have_css("fill", shades["light"][0])
    assert reader.paper() == shades["light"][1]
    reader.tab.emulate_media(media="screen", color_scheme="dark")
    expect(reader.tab.locator(".plot .xtick text").first).to_have_css("fill", shades["dark"][0])


def test_the_contents_lead_to_every_stage(reader: Reader) -> None:
    links = reader.tab.get_by_role("navigation").get_by_role("listitem").get_by_role("link")
    assert [link.get_attribute("href") for link in links.all()] == [f"#{stage}" for stage in STAGES]
    links.last.click()
    expect(reader.tab.get_by_role("heading", name="Generation")).to_be_in_viewport()


def test_it_prints_with_every_chart_on_the_paper(chromium: Browser, file: Path) -> None:
    context = chromium.new_context()
    reader = Reader(context.new_page(), file)
    reader.tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    widths = reader.tab.locator(".plot").evaluate_all(
        "plots => plots.map(plot => plot.querySelector('.main-svg').getBoundingClientRect().width)"
    )
    assert set(widths) == {660}
    reader.tab.evaluate("dispatchEvent(new Event('afterprint'))")
    expect(reader.tab.locator(".plot .main-svg").first).not_to_have_css("width", "660px")
    context.close()
