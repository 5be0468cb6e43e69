"""A server goes, another comes in its place, and the visitor's tab goes on."""

from playwright.sync_api import Page, expect

from tests.browser.conftest import running_server
from tests.browser.driver import PATIENCE_MS, Driver
from tests.ports import free_port


def test_what_is_typed_after_a_server_was_lost_is_shown(tab: Page) -> None:
    port = free_port()
    with running_server(port) as address:
        app = Driver(tab, address)
        app.open("Tokenization?prompt=hello+you")
        app.type_prompt("hello there")
    app_element = tab.get_by_test_id("stApp")
    with running_server(port):
        expect(app_element).to_have_attribute("data-test-connection-state", "CONNECTED", timeout=2 * PATIENCE_MS)
        app.type_prompt("one")
        app.expect(walked="one", prompt="one", parameters={"prompt": "one"})
        app.follow("Embedding")
        app.expect(walked="one")
