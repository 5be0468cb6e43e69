"""How long a person waits for the picture, in a real browser on the embedded model, and whether the page jumps.

    python -m benchmarks.ui [--rounds 5] [--tokens 16 256] [--pages Overview "MLP: neuron"] [--url http://…]

For every page, and every part of the long ones: a fresh visit, a prompt that nobody has asked about before, the change
to this page from another, and choosing a token, a layer and a head. `ui_watch.js` says when a picture is complete.
The server is this machine's too, so that it and the browser share the cores. Given are medians of the rounds.
"""

import argparse
import json
import random
import shutil
import statistics
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Error, Page, WebSocket, expect, sync_playwright
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from benchmarks.load_server import Server
from benchmarks.load_session import FIGURE
from benchmarks.tables import markdown
from tests.browser.conftest import CHROMIUM_FLAGS
from tests.browser.driver import STAGES
from tests.browser.test_looks import PARTS

WATCH = Path(__file__).with_name("ui_watch.js").read_text(encoding="utf-8")
WRITTEN = Path("build/ui.json")
PATIENCE_MS = 300_000

# Each is one token, with a space before it and without.
WORDS = """
time people way day man thing woman life child world school state family student group country problem hand part
place case week company system program question work government number night point home water room mother area
money story fact month lot right study book eye job word business issue side kind head house service friend father
power hour game line end member law car city community name president team minute idea kid body
"""

PAINT, VISIT, PROMPT, TURN = "first paint", "fresh visit", "prompt", "page change"
TOKEN, LAYER, HEAD, MAP = "token", "layer", "head", "head by map"
ON_SCREEN = ", on the screen"
SHIFT = "layout shift"
GOALS = {PAINT: 1500, TURN: 400, TOKEN: 250, LAYER: 250, HEAD: 250}
PROMPT_GOALS = {16: 1000, 256: 2500}
MOST_BYTES = 2_000_000
MOST_SHIFT = 0.01


@dataclass(frozen=True)
class Subject:
    """A page, or a part of it. path, query: its address"""

    path: str
    query: str = ""

    def __str__(self) -> str:
        name = self.path.replace("_", " ") or "Overview"
        return f"{name}: {self.query.rpartition('=')[2]}" if self.query else name

    def address(self, prompt: str) -> str:
        """Its address, without the server's, with a prompt."""
        return f"{self.path}?prompt={urllib.parse.quote_plus(prompt)}&{self.query}".rstrip("&")


@dataclass
class Seen:
    """What was measured of a subject.

    rounds: milliseconds of each round, by what was done, and its layout shift (share of the screen x how far it moved)
    movers: how often what was moved, by its test id; chart_bytes: the largest chart's data
    """

    rounds: dict[str, list[float]] = field(default_factory=dict)
    movers: dict[str, int] = field(default_factory=dict)
    chart_bytes: int = 0

    def note(self, what: str, value: float) -> None:
        """Add what one round gave."""
        self.rounds.setdefault(what, []).append(value)

    def median(self, what: str) -> float | None:
        """The median of the rounds, None of what the page does not have."""
        values = self.rounds.get(what)
        return statistics.median(values) if values else None


def subjects() -> list[Subject]:
    """All pages, each followed by its other parts."""
    found = []
    for stage in STAGES:
        name, parts = PARTS.get(stage, ("", ()))
        found += [Subject(stage), *(Subject(stage, f"{name}={part}") for part in parts)]
    return found


def prompts(n_tokens: int) -> Iterator[str]:
    """Texts of this many tokens, <bos> among them, drawn anew: no server has seen one before."""
    words = WORDS.split()
    while True:
        yield " ".join(random.choices(words, k=n_tokens - 1))


class Visitor:
    """A tab of a person whom nobody has seen before."""

    def __init__(self, chromium: Browser, server: str, seen: Seen):
        self._context = chromium.new_context(viewport={"width": 1440, "height": 1000})
        self.tab: Page = self._context.new_page()
        self.tab.set_default_timeout(PATIENCE_MS)
        self.tab.add_init_script(WATCH)
        self.tab.on("websocket", self._listen)
        self._server, self._seen = server, seen

    def close(self) -> None:
        """Leave."""
        self._context.close()

    def visit(self, subject: Subject, prompt: str) -> None:
        """Open a page at its address, with nothing in the browser's cache."""
        self.tab.goto(f"{self._server}/{subject.address(prompt)}")
        self._note(VISIT)
        self._seen.note(PAINT, self._asked("firstPaint()"))
        shifts = self._asked("shifts()")
        self._seen.note(SHIFT, sum(shift["value"] for shift in shifts))
        for mover in (mover for shift in shifts for mover in shift["movers"]):
            self._seen.movers[mover] = self._seen.movers.get(mover, 0) + 1

    def send(self, prompt: str) -> None:
        """Type a prompt."""
        box = self.tab.get_by_label("Prompt", exact=True)
        box.fill(prompt)
        box.press("Control+Enter")
        self._note(PROMPT)
        expect(self.tab.locator(".strip .chip")).to_have_count(len(prompt.split()) + 1)

    def turn_to(self, subject: Subject) -> None:
        """Go to a page by its link in the sidebar."""
        link = self.tab.get_by_test_id("stSidebar").get_by_role("link", name=str(Subject(subject.path)), exact=True)
        link.click()
        self._note(TURN)

    def choose_token(self, position: int) -> None:
        """Choose a token in the strip."""
        self.tab.locator(".strip .chip").nth(position).click()
        self._note(TOKEN)

    def step(self, label: str, what: str) -> None:
        """Move a slider by one, where the page has it."""
        slider = self.tab.locator(f"[data-testid=stMain] input[type=range][aria-label={label}]")
        if slider.count():
            slider.press("ArrowRight")
            self._note(what)

    def choose_map(self, number: int) -> None:
        """Choose a head by its small map, where the page has them."""
        maps = self.tab.locator(".map")
        if maps.count():
            maps.nth(number).click()
            self._note(MAP)

    def _note(self, what: str) -> None:
        self.wait()
        self._seen.note(what, self._asked("milliseconds()"))
        self._seen.note(what + ON_SCREEN, self._asked("millisecondsOnScreen()"))

    def wait(self) -> None:
        """Until the picture is complete."""
        self.tab.wait_for_function("() => window.watch?.complete()", polling=50)

    def _asked(self, what: str) -> Any:
        return self.tab.evaluate(f"() => window.watch.{what}")

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framereceived", self._weigh)

    def _weigh(self, payload: str | bytes) -> None:
        message = ForwardMsg.FromString(payload) if isinstance(payload, bytes) else ForwardMsg()
        component = message.delta.new_element.bidi_component
        if component.component_name == FIGURE:
            self._seen.chart_bytes = max(self._seen.chart_bytes, len(component.json.encode()))


def one_round(chromium: Browser, server: str, subject: Subject, texts: Iterator[str], seen: Seen) -> None:
    """Everything once that is measured of a page."""
    before = Subject("Tokenization" if subject.path != "Tokenization" else "")
    person = Visitor(chromium, server, seen)
    try:
        person.visit(subject, next(texts))
        person.send(next(texts))
        person.choose_token(2)
        person.step("Layer", LAYER)
        person.step("Head", HEAD)
        person.choose_map(5)
        if not subject.query:
            person.turn_to(before)
            for what in (TURN, TURN + ON_SCREEN):
                seen.rounds[what].pop()  # the other page's
            person.turn_to(subject)
    except Error as error:
        print(f"{subject}: {str(error).splitlines()[0]}")
    finally:
        person.close()


def report(measured: dict[int, dict[Subject, Seen]]) -> str:
    """Tables in Markdown. Milliseconds; what is above its goal is bold.

    Of what is chosen: until the screen was complete, then until charts beyond it were drawn too.
    """
    return "\n".join(f"{n_tokens} tokens\n\n{_table(n_tokens, found)}" for n_tokens, found in measured.items())


def to_json(measured: dict[int, dict[Subject, Seen]]) -> str:
    """All rounds: {tokens: {subject: {"rounds": …, "movers": …, "chart_bytes": …}}}."""
    named = {n: {str(subject): asdict(seen) for subject, seen in found.items()} for n, found in measured.items()}
    return json.dumps(named)


def _table(n_tokens: int, found: dict[Subject, Seen]) -> str:
    goals = GOALS | {PROMPT: PROMPT_GOALS.get(n_tokens), MAP: GOALS[HEAD]}
    whole, seen_first = (PAINT, VISIT, PROMPT), (TURN, TOKEN, LAYER, HEAD, MAP)
    rows = [
        [
            str(subject),
            *(_cell(seen.median(what), goals.get(what)) for what in whole),
            *(_both(seen, what, goals[what]) for what in seen_first),
            _cell(seen.chart_bytes / 1e3, MOST_BYTES / 1e3),
            _cell(seen.median(SHIFT), MOST_SHIFT, ".3f"),
        ]
        for subject, seen in found.items()
    ]
    return markdown(["", *whole, *seen_first, "largest chart, kB", SHIFT], rows)


def _both(seen: Seen, what: str, goal: float) -> str:
    """Until the screen was complete, and until charts beyond it were too."""
    on_screen, everything = seen.median(what + ON_SCREEN), seen.median(what)
    return "" if on_screen is None else f"{_cell(on_screen, goal)} / {_cell(everything, None)}"


def _cell(value: float | None, goal: float | None, form: str = ",.0f") -> str:
    if value is None:
        return ""
    return f"**{value:{form}}**" if goal and value > goal else f"{value:{form}}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables and write what was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ui", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, nargs="+", default=[16, 256])
    parser.add_argument("--pages", nargs="+", default=[str(subject) for subject in subjects()])
    parser.add_argument("--url", help="of a server that runs already")
    asked = parser.parse_args(arguments)
    chosen = [subject for subject in subjects() if str(subject) in asked.pages]
    measured = {n: {subject: Seen() for subject in chosen} for n in asked.tokens}
    log = Path("build/ui-server.log")
    with nullcontext(asked.url) if asked.url else Server(log) as server, sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        chromium = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        address = asked.url or server.address
        warm_up(chromium, address, chosen)
        for _ in range(asked.rounds):
            for n_tokens, found in measured.items():
                for subject, seen in found.items():
                    one_round(chromium, address, subject, prompts(n_tokens), seen)
    WRITTEN.parent.mkdir(parents=True, exist_ok=True)
    WRITTEN.write_text(to_json(measured))
    print(report(measured))


def warm_up(chromium: Browser, server: str, chosen: Sequence[Subject]) -> None:
    """Everything is drawn once before it counts: the first visitor of a server waits for the model."""
    for subject in chosen:
        person = Visitor(chromium, server, Seen())
        person.tab.goto(f"{server}/{subject.address('I want to move')}")
        person.wait()
        person.close()


if __name__ == "__main__":
    main()
