"""A real server on the embedded model, and a real Chromium looking at it."""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.driver import Driver
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
CHROMIUM_FLAGS = (
    "--no-sandbox",  # the tests may run as root
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser" in str(item.path):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.flaky(reruns=1))  # the machine may have been too busy; the report says so


@contextmanager
def running_server(port: int | None = None) -> Iterator[str]:
    """A fresh server of the app, with no session yet; gives its address. port: any that is free if not given."""
    port = port or free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GEMMA_VIZ_M")}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        address = f"http://localhost:{port}"
        _wait_until_healthy(address)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_until_healthy(address: str) -> None:
    for _ in range(300):
        try:
            if urllib.request.urlopen(f"{address}/_stcore/health").status == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"No server at {address} after 30 seconds")


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with running_server() as address:
        yield address


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        message = "Chromium is not installed: apt-get install chromium"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium: Browser) -> Iterator[Page]:
    """A tab of a visitor whom nobody has seen before."""
    context = chromium.new_context(viewport={"width": 1440, "height": 1000})
    yield context.new_page()
    context.close()


@pytest.fixture
def app(tab: Page, server: str) -> Iterator[Driver]:
    """The app in a fresh tab. Errors in the browser's console fail the test that caused them."""
    driver = Driver(tab, server)
    yield driver
    assert driver.console_errors == []
