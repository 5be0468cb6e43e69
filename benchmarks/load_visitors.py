"""Visitors who type prompts and walk pages, many at once in one process. What they do is drawn from a seed."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from random import Random
from urllib.parse import parse_qs, urlencode

import psutil
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from benchmarks.load_session import Shown, Tab, UnknownReference, whose

# What a teacher hands out. Every text comes back from its tokens as it was, with single spaces.
WORKSHEET = (
    "The capital of France is",
    "The cat sat on the mat. The cat sat on the",
    "one two three four five six",
    "The opposite of hot is",
    "Once upon a time there was a",
    "Water boils at a temperature of",
    "My favourite colour is",
    "Two plus two equals",
    "The president of the United States is",
    "She opened the door and",
    "Monday Tuesday Wednesday",
    "The largest planet in the solar system is",
    "I want to move to another city",
    "When Mary and John went to the store, John gave a drink to",
    "The keys to the cabinet",
    "To be or not to be, that is the",
    "Paris is to France as Berlin is to",
    "The doctor said that she",
    "In the beginning was the",
    "A bird in the hand is worth two in the",
)
WALK = (
    *("", "Tokenization", "Embedding", "Transformer_layer", "Attention", "RoPE"),
    *("MLP", "Output", "Generation", "Experiments", "Patching", "Compare"),
)
OPEN, PAGE, PROMPT, CHOICE, BACK = "open", "page change", "prompt change", "choice", "reconnection"
HABITS = {PAGE: 0.55, PROMPT: 0.2, CHOICE: 0.25}
ACTIONS_OF_A_VISIT = 30  # then the visitor leaves, and another one comes
N_LAYERS, N_HEADS = 18, 4

OK, BUSY, MIXED, FAILED, LOST = "ok", "busy", "mixed up", "failed", "lost"
TOLD_BUSY = re.compile(r"\b(busy|too many)\b", re.IGNORECASE)
BROKEN = (ConnectionClosed, InvalidHandshake, OSError)


@dataclass(frozen=True)
class Plan:
    """What a crowd does.

    server: its address; pid: of its process, if it runs here, for its CPU time; think: mean seconds between actions
    seconds, actions: the end, whichever comes first; own: share of prompts that nobody else types
    habits: how often a visitor does what; steady: share of page changes that go to the next page, not anywhere
    patience: seconds after which a page counts as lost
    """

    server: str
    visitors: int
    seconds: float
    think: float
    actions: int | None = None
    own: float = 0.2
    habits: Mapping[str, float] = field(default_factory=lambda: HABITS)
    steady: float = 0.7
    patience: float = 60.0
    seed: int = 0
    pid: int | None = None


@dataclass(frozen=True)
class Action:
    """One thing that a visitor did, and what came of it.

    begin: seconds after the first visitor came; seconds: until the page was received to its end
    outcome: OK, BUSY, MIXED, FAILED or LOST; said: why, where it is not OK
    server_cpu: seconds of the server's CPU time in between, for whomever
    """

    visitor: str
    kind: str
    page: str
    prompt: str
    begin: float
    seconds: float
    outcome: str
    said: str = ""
    n_bytes: int = 0
    n_messages: int = 0
    server_cpu: float = 0.0


@dataclass
class Record:
    """All that a crowd did.

    answers: by prompt and position the likeliest next tokens that visitors were told, in the page's words
    drops: connections that broke; cpu: seconds of this process
    """

    actions: list[Action] = field(default_factory=list)
    answers: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    drops: int = 0
    seconds: float = 0.0
    cpu: float = 0.0


def simulate(plan: Plan) -> Record:
    """Let a crowd loose, and return what it did. Everything is in one process, which should have nothing else to do."""
    return asyncio.run(Crowd(plan).run())


def judge(shown: Shown, prompt: str, prompts_in_links: list[str]) -> tuple[str, str]:
    """What came of an action, and why."""
    if any(TOLD_BUSY.search(sentence) for sentence in shown.alerts):
        return BUSY, shown.alerts[0]
    if shown.errors:
        return FAILED, shown.errors[0]
    if shown.tokens and (others := whose(shown, prompt, prompts_in_links)):
        return MIXED, others[0]
    if not shown.tokens or not shown.whole:
        return FAILED, "the page ends early: " + (" / ".join(shown.alerts) or "without a sentence")
    return OK, ""


def prompt_in(query: str) -> str:
    """The prompt that an address holds."""
    return parse_qs(query).get("prompt", [""])[0]


class Crowd:
    """Visitors at the same time, and the record of what they do."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.record = Record()
        self._start = time.perf_counter()
        self._begun = 0
        self._server = psutil.Process(plan.pid) if plan.pid else None

    async def run(self) -> Record:
        """Let them walk until the plan's end."""
        cpu = time.process_time()
        async with asyncio.TaskGroup() as group:
            for place in range(self.plan.visitors):
                group.create_task(self._visits(place))
        self.record.cpu = time.process_time() - cpu
        self.record.seconds = self.now()
        return self.record

    def now(self) -> float:
        """Seconds since the first visitor came."""
        return time.perf_counter() - self._start

    def server_cpu(self) -> float:
        """Seconds that the server's process has used so far."""
        if not self._server or not self._server.is_running():
            return 0.0
        times = self._server.cpu_times()
        return times.user + times.system

    def goes_on(self) -> bool:
        """Whether there is time, and an action left, for one more; it is taken."""
        if self.now() >= self.plan.seconds or self._begun == self.plan.actions:
            return False
        self._begun += 1
        return True

    async def _visits(self, place: int) -> None:
        """One seat of the class, on which one visitor follows another."""
        random = Random(f"{self.plan.seed} {place}")
        await asyncio.sleep(random.uniform(0, self.plan.think))
        number = 0
        while self.now() < self.plan.seconds and self._begun != self.plan.actions:
            await Visitor(self, f"{place}.{number}", random).visit()
            number += 1


class Visitor:
    """Somebody with a tab, a prompt and a page."""

    def __init__(self, crowd: Crowd, name: str, random: Random):
        self._crowd = crowd
        self._name = name
        self._random = random
        self._own_prompts = 0
        self._prompt = self._draw_prompt()
        self._path = "" if random.random() < crowd.plan.steady else random.choice(WALK)
        self._tab = Tab(crowd.plan.server, urlencode({"prompt": self._prompt}))
        self._shown = Shown()

    async def visit(self) -> None:
        """Come, look around, and leave."""
        think = self._crowd.plan.think
        try:
            for n_done in range(ACTIONS_OF_A_VISIT):
                if n_done:
                    await asyncio.sleep(self._random.expovariate(1 / think) if think else 0)
                if not self._crowd.goes_on():
                    return
                await (self._act() if self._shown.box else self._open())
        finally:
            await self._tab.close()

    async def _open(self) -> None:
        await self._timed(OPEN, self._arrive())

    async def _arrive(self) -> Shown:
        """Open the address in a new tab."""
        await self._tab.close()
        self._tab = Tab(self._crowd.plan.server, urlencode({"prompt": self._prompt}))
        await self._tab.connect()
        return await self._tab.run(page="", path=self._path)

    async def _act(self) -> None:
        habits = self._crowd.plan.habits
        kind = self._random.choices(list(habits), list(habits.values()))[0]
        await self._timed(kind, {PAGE: self._turn_page, PROMPT: self._type_prompt, CHOICE: self._choose}[kind]())

    def _turn_page(self) -> Awaitable[Shown]:
        """Follow a link, which holds the address."""
        here = WALK.index(self._path)
        anywhere = self._random.random() >= self._crowd.plan.steady
        self._path = self._random.choice(WALK) if anywhere else WALK[(here + 1) % len(WALK)]
        page = self._tab.pages[self._path]
        return self._tab.run(page=page, query=self._shown.links.get(page, self._tab.query))

    def _type_prompt(self) -> Awaitable[Shown]:
        self._prompt = self._draw_prompt()
        return self._tab.run(widgets=[WidgetState(id=self._shown.box, string_value=self._prompt)])

    def _choose(self) -> Awaitable[Shown]:
        """Go to the same page with another token, layer or head, as Back and Forward do."""
        ranges = {"token": len(self._shown.tokens), "layer": N_LAYERS, "head": N_HEADS}
        name = self._random.choice(list(ranges))
        choice = self._random.randrange(max(1, ranges[name]))
        parameters = {name: texts[0] for name, texts in parse_qs(self._tab.query).items()} | {name: str(choice)}
        return self._tab.run(query=urlencode(parameters), history=True)

    def _draw_prompt(self) -> str:
        if self._random.random() < self._crowd.plan.own:
            self._own_prompts += 1
            return f"Visitor {self._name} asks question {self._own_prompts} and the answer is"
        return self._random.choices(WORKSHEET, [1 / rank for rank in range(1, len(WORKSHEET) + 1)])[0]

    async def _timed(self, kind: str, asked: Awaitable[Shown]) -> None:
        """Wait for a page, judge it and write it down. After a broken connection come back by the address."""
        begin, cpu = self._crowd.now(), self._crowd.server_cpu()
        try:
            async with asyncio.timeout(self._crowd.plan.patience):
                try:
                    self._shown = await asked
                except BROKEN:
                    self._crowd.record.drops += 1
                    kind, self._shown = BACK, await self._come_back()
            outcome, said = self._judged()
        except TimeoutError:
            outcome, said = LOST, f"no page after {self._crowd.plan.patience:g} s"
            self._shown = Shown()  # so the next thing is to open the page again
        except UnknownReference as error:
            outcome, said = FAILED, f"a reference to {error}, which was never sent"
            self._shown = Shown()
        shown, seconds = self._shown, self._crowd.now() - begin
        self._crowd.record.actions.append(
            Action(
                *(self._name, kind, self._path, self._prompt, begin, seconds, outcome, said),
                *(shown.n_bytes, shown.n_messages, self._crowd.server_cpu() - cpu),
            )
        )

    async def _come_back(self) -> Shown:
        """As the browser does: connect again, to the same session if it is still there, and ask for the address."""
        self._prompt = prompt_in(self._tab.query)
        while True:
            try:
                await self._tab.connect()
                return await self._tab.run(page=self._tab.pages.get(self._path, ""), path=self._path)
            except BROKEN:
                await asyncio.sleep(0.5)

    def _judged(self) -> tuple[str, str]:
        prompts_in_links = [prompt_in(query) for query in self._shown.links.values()]
        outcome, said = judge(self._shown, self._prompt, prompts_in_links)
        if outcome == OK and self._shown.answer:
            position, answer = self._shown.answer
            self._crowd.record.answers.setdefault((self._prompt, position), set()).add(answer)
        return outcome, said


def outcomes(actions: list[Action]) -> Counter[str]:
    """How many actions came to what."""
    return Counter(action.outcome for action in actions)
