"""What a person does with the app, in the words of a person."""

import re
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import ConsoleMessage, Locator, Page, expect

# Every page by its address, in the order of the walk, and how many charts it shows first.
CHARTS = {
    "": 1,
    "Tokenization": 1,
    "Embedding": 3,
    "Transformer_layer": 3,
    "Attention": 2,
    "RoPE": 2,
    "MLP": 2,
    "Output": 3,
    "Generation": 0,
    "Experiments": 0,
    "Patching": 2,
    "Compare": 3,
    "Glossary": 0,
}
STAGES = tuple(CHARTS)

# A busy machine is slow, and slow is not wrong: what is waited for may take its time.
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)

# On a deep link Streamlit's own frontend looks for the server under the page's path first, and finds it above.
PROBE = re.compile(r"/_stcore/(health|host-config)$")


class Driver:
    def __init__(self, tab: Page, server: str):
        self.tab = tab
        self.server = server
        self.console_errors: list[str] = []
        self.foreign_requests: list[str] = []
        tab.on("console", self._note_console)
        tab.on("pageerror", lambda error: self.console_errors.append(str(error)))
        tab.on("request", self._note_request)
        tab.set_default_timeout(PATIENCE_MS)

    def open(self, path: str = "") -> None:
        self.tab.goto(f"{self.server}/{path}")
        self.settle(timeout=180_000)  # the first visit of all converts the model

    def settle(self, timeout: float = 2 * PATIENCE_MS) -> None:
        """Wait until the page has been drawn to its end and nothing is running."""
        self.tab.wait_for_timeout(400)  # a change takes a moment to reach the server
        self.tab.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=timeout)
        expect(self.tab.get_by_text("every number is from").or_(self.alerts).first).to_be_visible(timeout=timeout)

    @property
    def alerts(self) -> Locator:
        return self.tab.get_by_test_id("stAlert")

    def expect(self, **expected: object) -> None:
        """What is seen (title, prompt, tokens, selected, …) is as expected, at once or after a while.

        The parts of a page appear one by one, so a single look would now and then be too early.
        """
        for _ in range(PATIENCE_MS // 100):
            seen = {name: getattr(self, name) for name in expected}
            if seen == expected:
                return
            self.tab.wait_for_timeout(100)
        assert seen == expected

    @property
    def title(self) -> str:
        return self.tab.locator("h1").inner_text()

    def expect_charts(self, n: int) -> None:
        """Exactly n charts are there, each with its picture; those that are not yet drawn count too."""
        expect(self.tab.locator(".figure")).to_have_count(n)
        expect(self.tab.locator(".figure:has(.main-svg)")).to_have_count(n)

    @property
    def chips(self) -> Locator:
        return self.tab.locator(".strip .chip")

    @property
    def tokens(self) -> list[str]:
        return self.tab.locator(".strip .chip .text").all_inner_texts()

    @property
    def walked(self) -> str:
        """The text that the tokens after <bos> make together."""
        return "".join(self.tokens[1:]).replace("␣", " ")

    @property
    def selected(self) -> int | None:
        positions = self.tab.locator(".strip .chip[aria-selected=true]").evaluate_all(
            "cs => cs.map(c => c.dataset.position)"
        )
        return int(positions[0]) if positions else None

    @property
    def parameters(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.tab.url).query).items()}

    @property
    def prompt(self) -> str:
        boxes = self.tab.get_by_label("Prompt", exact=True)
        return boxes.first.input_value()  # while a page is drawn anew the old box can stand below for a moment

    def type_prompt(self, text: str) -> None:
        box = self.tab.get_by_label("Prompt", exact=True)
        box.fill(text)
        box.press("Control+Enter")
        self.settle()

    def choose_token(self, position: int) -> None:
        self.chips.nth(position).click()
        self.expect(selected=position)
        self.settle()

    def follow(self, name: str) -> None:
        """Follow the link to another stage above the text (not the sidebar's)."""
        self.tab.get_by_test_id("stMain").get_by_role("link", name=name).first.click()
        self.tab.wait_for_function("name => document.querySelector('h1')?.innerText === name", arg=name)
        self.settle()

    def go_back(self) -> None:
        self.tab.go_back()
        self.settle()

    def go_forward(self) -> None:
        self.tab.go_forward()
        self.settle()

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not PROBE.search(message.location.get("url", "")):
            self.console_errors.append(message.text)

    def _note_request(self, request: object) -> None:
        url = request.url  # type: ignore[attr-defined]
        if url.startswith("http") and not url.startswith(self.server):
            self.foreign_requests.append(url)
