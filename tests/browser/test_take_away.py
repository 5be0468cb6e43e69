"""What a person takes away: a chart's values, a chart as a page of its own, a table, and a link to the view."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Download, Locator, expect

from tests.browser.conftest import running_server
from tests.browser.driver import Driver

PROMPT = "prompt=The+cat+sat&layer=5&head=1"

# The browser's own dialog for saving files cannot be answered from here; without it Streamlit downloads.
NO_DIALOG = "delete window.showSaveFilePicker"


def taken_by(app: Driver, act: Callable[[], None]) -> Download:
    with app.tab.expect_download() as started:
        act()
    return started.value


def take(app: Driver, button: Locator) -> Download:
    return taken_by(app, button.click)


def file_button(app: Driver, chart: str, ending: str) -> Locator:
    """The button under a chart that hands over a file, once its switch is on. chart: the key that the page gave it."""
    switch = app.tab.locator(f".st-key-{chart}_table").get_by_role("switch")
    switch.set_checked(True, force=True)
    return app.tab.locator(f".st-key-{chart}_{ending}").get_by_role("button")


def take_table(app: Driver, table: Locator) -> Download:
    """By the keyboard: the mouse must be over the table to see its buttons, and a page that is drawn moves away."""
    return taken_by(app, lambda: table.get_by_role("button", name="Download as CSV").press("Enter"))


def rows_of(download: Download) -> list[dict[str, str]]:
    with open(download.path(), encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("width", [1440, 390])
def test_a_chart_s_values_are_taken_away_as_csv(app: Driver, width: int) -> None:
    app.tab.set_viewport_size({"width": width, "height": 1000})
    app.open(f"Attention?{PROMPT}")
    taken = take(app, file_button(app, "pattern", "csv"))
    assert taken.suggested_filename == "this-head-s-pattern.csv"
    rows = rows_of(taken)
    assert len(rows) == 10, "four tokens, and what each may see"
    assert rows[-1]["query: the token that looks: name"] == "␣sat"
    assert app.foreign_requests == []


def test_the_keyboard_reaches_a_chart_s_files(app: Driver) -> None:
    app.open(f"Attention?{PROMPT}")
    app.tab.locator(".st-key-pattern_table").get_by_label("Table and files").focus()
    app.tab.keyboard.press("Space")
    expect(app.tab.locator(".st-key-pattern_csv")).to_be_visible()
    app.tab.locator(".st-key-pattern_csv").get_by_role("button").focus()
    app.tab.keyboard.press("Tab")
    taken = taken_by(app, lambda: app.tab.keyboard.press("Enter"))
    assert taken.suggested_filename == "this-head-s-pattern.json"


def test_a_chart_is_a_page_that_draws_from_a_disk_without_a_network(
    app: Driver, chromium: Browser, tmp_path: Path
) -> None:
    app.open(f"Attention?{PROMPT}")
    path = tmp_path / "chart.html"
    take(app, file_button(app, "pattern", "html")).save_as(path)
    context = chromium.new_context(offline=True)
    page = context.new_page()
    errors: list[str] = []
    requests: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    expect(page.locator(".main-svg").first).to_be_visible()
    expect(page.locator(".gtitle")).to_have_text("This head's pattern")
    expect(page.locator(".ytick").last).to_have_text("␣sat")
    expect(page.locator(".modebar-btn[data-title*=Share]")).to_have_count(0)
    assert (errors, requests) == ([], [path.as_uri()])
    context.close()


def test_a_chart_s_picture_is_named_after_it(app: Driver) -> None:
    app.open(f"Attention?{PROMPT}")
    chart = app.tab.locator(".st-key-pattern").locator(".figure")
    chart.hover()
    taken = take(app, chart.locator(".modebar-btn[data-title*=PNG]"))
    assert taken.suggested_filename == "this-head-s-pattern.png"


@pytest.mark.parametrize(
    "path",
    [
        "Tokenization",
        "Transformer_layer?transformer_layer=norm",
        "Attention?rank=1",
        "Attention?attention=sharing",
        "Attention?attention=mask",
        "RoPE?rope=sensitivity",
        "MLP?mlp=neuron",
        "Output?output=norm",
    ],
)
def test_every_table_is_taken_away(app: Driver, path: str) -> None:
    app.tab.add_init_script(NO_DIALOG)
    app.open(path)
    for table in app.tab.get_by_test_id("stDataFrame").all():
        rows = rows_of(take_table(app, table))
        assert rows
        assert all(None not in row and None not in row.values() for row in rows), "a cell went astray"
    assert app.foreign_requests == []


def test_a_table_s_texts_are_what_the_page_shows(app: Driver) -> None:
    app.tab.add_init_script(NO_DIALOG)
    app.open("Tokenization?prompt=a%2C+%22b%22+%3Cb%3E+%F0%9F%99%82")
    tables = app.tab.get_by_test_id("stDataFrame")
    expect(tables).to_have_count(3)  # until all are there, the first one could be another
    rows = rows_of(take_table(app, tables.first))
    assert [row["text"] for row in rows][1:] == app.tokens[1:]
    assert "".join(row["text"] for row in rows[1:]).replace("␣", " ").startswith('a, "b" <b>')


def copy_link(app: Driver) -> str:
    app.tab.get_by_role("button", name="Copy link").click()
    expect(app.tab.locator(".copy .said")).to_have_text("Copied")
    copied: str = app.tab.evaluate("() => navigator.clipboard.readText()")
    return copied


def test_a_link_is_copied_right_after_a_change_and_opens_the_same_view(app: Driver, chromium: Browser) -> None:
    app.tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    app.open("Attention?attention=query&prompt=The+cat+sat&layer=5")
    app.tab.get_by_role("button", name="head 3").click()
    app.tab.get_by_role("slider", name="Key").press("ArrowLeft")
    app.tab.get_by_label("Prompt", exact=True).fill("The dog sat")  # is handed over when the focus leaves it
    link = copy_link(app)
    assert link == f"{app.server}/Attention?attention=query&prompt=The+dog+sat&layer=5&heads=0_3&model=embedded"
    context = chromium.new_context()
    other = Driver(context.new_page(), app.server)
    other.open(link.removeprefix(f"{app.server}/"))
    other.expect(prompt="The dog sat", tokens=["<bos>", "The", "␣dog", "␣sat"])
    pressed = other.tab.locator(".arcs .heads button[aria-pressed=true]")
    expect(pressed).to_have_text(["head 0", "head 3"])
    context.close()


@pytest.mark.parametrize("width", [1440, 390])
def test_a_link_that_may_not_be_copied_is_shown_to_be_copied_by_hand(app: Driver, width: int) -> None:
    app.tab.add_init_script(
        "navigator.clipboard.writeText = () => Promise.reject(); document.execCommand = () => false"
    )
    app.tab.set_viewport_size({"width": width, "height": 1000})
    app.open("Output?prompt=one+two&output=choice&seed=3")
    app.tab.get_by_role("button", name="Copy link").press("Enter")
    field = app.tab.get_by_label("Link to this view")
    expect(field).to_have_value(f"{app.server}/Output?prompt=one+two&output=choice&seed=3&model=embedded")
    assert app.tab.evaluate("() => getSelection().toString()") or field.evaluate(
        "field => field.selectionEnd === field.value.length && field.selectionStart === 0"
    )
    expect(app.tab.get_by_text("does not let the page copy")).to_be_visible()


def test_without_a_clipboard_of_its_own_the_browser_s_old_command_copies(app: Driver) -> None:
    app.tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    app.tab.add_init_script("navigator.clipboard.writeText = () => Promise.reject()")
    app.open("Output?prompt=one+two")
    assert copy_link(app) == f"{app.server}/Output?prompt=one+two&model=embedded"
    expect(app.tab.get_by_label("Link to this view")).to_be_hidden()


def test_a_prompt_too_long_for_a_link_is_said_to_be_missing(app: Driver) -> None:
    app.tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    app.open()
    app.type_prompt(" ".join(f"word{i}" for i in range(700)))
    app.tab.get_by_role("button", name="Copy link").click()
    expect(app.tab.locator(".copy .said")).to_have_text("Copied, without the prompt: too long for a link")


def sentences(app: Driver) -> list[str]:
    """All that a page says in its texts and in its charts, once a second look finds nothing new.

    The browser draws the last labels a moment after the server has sent them.
    """
    app.expect_charts(3)
    main = app.tab.get_by_test_id("stMain")
    said: list[str] = []
    for _ in range(20):
        before = said
        texts = main.get_by_test_id("stMarkdownContainer").all_inner_texts()
        charts = main.locator(".figure").locator(".main-svg text").all_inner_texts()
        said = [*texts, *charts]
        if said == before:
            return said
        app.tab.wait_for_timeout(1000)
    raise TimeoutError("The page goes on changing")


def test_another_server_shows_the_same_numbers_for_a_link(chromium: Browser) -> None:
    link = "prompt=Once+upon+a&temperature=1.5&seed=7&layer=3&model=embedded"
    seen = []
    for _ in range(2):
        context = chromium.new_context(viewport={"width": 1440, "height": 1000})
        with running_server() as server:
            app = Driver(context.new_page(), server)
            app.open(f"Output?output=choice&{link}")
            said = sentences(app)
            app.open(f"Generation?new=4&{link}")
            app.tab.get_by_role("button", name="Add 4 tokens").click()
            expect(app.tab.locator(".tree .chip")).to_have_count(5)
            app.settle()
            said += [app.prompt, *app.tab.locator(".tree .chip").all_inner_texts()]
        context.close()
        seen.append(said)
    assert seen[0] == seen[1]
    assert any("With seed 7 the random number is" in text for text in seen[0])
    assert "%" in seen[0][-1]
