"""A touch screen, on which nothing hovers: a first tap shows a value, a second one on the same part acts."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.driver import Driver


@pytest.fixture
def phone(chromium: Browser, server: str) -> Iterator[Driver]:
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    driver = Driver(context.new_page(), server)
    yield driver
    assert driver.console_errors == []
    context.close()


def test_what_is_chosen_in_the_sidebar_closes_it(phone: Driver) -> None:
    phone.open()
    opener, sidebar = phone.tab.get_by_test_id("stExpandSidebarButton"), phone.tab.get_by_test_id("stSidebar")
    opener.tap()
    sidebar.get_by_role("link", name="Embedding", exact=True).tap()
    phone.expect(title="Embedding")
    expect(opener).to_be_visible()
    opener.tap()
    phone.tab.get_by_label("Prompt", exact=True).fill("the red cat")
    sidebar.get_by_role("button", name="Run", exact=True).tap()
    phone.expect(parameters={"prompt": "the red cat"})
    expect(opener).to_be_visible()


def test_a_token_says_what_it_is_and_is_then_chosen(phone: Driver) -> None:
    phone.open()
    tip = phone.tab.locator(".strip .tip")
    phone.chips.nth(1).tap()
    expect(tip).to_have_text(re.compile(r"^token 1, id \d+, .*\. Tap again to choose\.$"))
    phone.chips.nth(2).tap()
    expect(tip).to_have_text(re.compile("^token 2, "))
    assert phone.selected == 4
    phone.chips.nth(2).tap()
    phone.expect(selected=2, parameters={"token": "2"})
    expect(tip).to_have_count(0)


def test_a_part_of_the_living_picture_says_its_numbers_and_then_opens_its_page(phone: Driver) -> None:
    phone.open()
    cell = phone.tab.locator('.board [data-row="4"][data-column="1"]')
    cell.tap()
    numbers = re.compile("layer 1, attention: an update of .* times the stream, RMS .* after it; reads most from")
    expect(phone.tab.locator(".living .tip")).to_have_text(numbers)
    expect(phone.tab.locator(".living .said .now")).to_have_text(numbers)
    assert phone.title == "Overview"
    cell.tap()
    phone.expect(title="Attention")


def test_maps_and_arcs_say_their_weights_and_are_then_chosen(phone: Driver) -> None:
    phone.open("Attention")
    head = phone.tab.get_by_role("option", name="layer 1, head 2")
    head.tap()
    expect(phone.tab.locator(".maps .tip")).to_have_text(re.compile("^layer 1, head 2: token before"))
    assert phone.parameters == {}
    head.tap()
    phone.expect(parameters={"layer": "1", "head": "2"})
    phone.open("Attention?attention=query")
    said = phone.tab.locator(".arcs .said")
    phone.tab.locator(".arcs .queries .token").nth(2).tap()
    expect(said).to_contain_text("2 ␣want reads")
    assert phone.selected == 4
    phone.tab.locator(".arcs .keys .token").nth(1).tap()
    expect(said).to_contain_text("1 I is read by")
    for _ in range(2):
        phone.tab.locator(".arcs .queries .token").nth(2).tap()
    phone.expect(selected=2)
