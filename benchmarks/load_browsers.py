"""A few real browsers in the crowd: they draw what they get, and what they draw is checked."""

import shutil
import time
from dataclasses import dataclass, field

from playwright.sync_api import Browser, Error, sync_playwright

from tests.browser.conftest import CHROMIUM_FLAGS
from tests.browser.driver import Driver

WALK = ("Tokenization", "Embedding", "Transformer layer", "Attention", "RoPE", "MLP", "Output")


@dataclass
class Seen:
    """What the browsers saw.

    seconds: of each page change, until nothing moves any more
    failures: a sentence for each page that was not as it should be
    """

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def walk(server: str, n_browsers: int, seconds: float) -> Seen:
    """Let browsers walk in turn, each with a prompt of its own."""
    seen, end = Seen(), time.monotonic() + seconds
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        chromium = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        walkers = [Walker(chromium, server, f"Browser number {number} says that the") for number in range(n_browsers)]
        while time.monotonic() < end:
            for walker in walkers:
                walker.step(seen)
    return seen


class Walker:
    """A browser that goes on to the next page, and looks whether prompt and tokens are its own."""

    def __init__(self, chromium: Browser, server: str, prompt: str):
        self._driver = Driver(chromium.new_context().new_page(), server)
        self._prompt = prompt
        self._here = len(WALK)

    def step(self, seen: Seen) -> None:
        """One page further; from the last one to the address of the first."""
        start = time.monotonic()
        try:
            if self._here == len(WALK):
                self._here = 0
                self._driver.open(f"?prompt={self._prompt.replace(' ', '+')}")
            else:
                self._driver.follow(WALK[self._here])
                self._here += 1
            seen.seconds.append(time.monotonic() - start)
            self._driver.expect(prompt=self._prompt, walked=self._prompt)
            seen.failures += self._driver.console_errors
        except (Error, AssertionError) as error:
            seen.failures.append(f"{self._prompt!r}, page {self._here}: {str(error).splitlines()[0]}")
            self._here = len(WALK)  # begin again at the address
        self._driver.console_errors.clear()
