"""The engine of one machine: models in memory, one worker, a line of visitors, and what was made before.

One worker, because a pass uses the whole machine: two at a time would each take twice as long. It works for each
visitor for a moment in turn, so that who asks for much does not keep the others waiting.
"""

import itertools
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextvars import Context
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from gemma_viz.capture import Capture
from gemma_viz.checkpoints import load
from gemma_viz.edits import UNCHANGED
from gemma_viz.engine import wire
from gemma_viz.engine.cache import Cache
from gemma_viz.engine.keys import CaptureKey, ModelKey, PatchKey, Request
from gemma_viz.engine.ticket import LocalTicket
from gemma_viz.errors import Busy, Cancelled, EngineError, OutOfMemory, TextError, TookTooLong
from gemma_viz.instrument import interrupted_by
from gemma_viz.memory import give_back_memory, is_out_of_memory
from gemma_viz.model import Model
from gemma_viz.patching import Patch
from gemma_viz.progress import Progress, reported_to
from gemma_viz.service.metrics import REQUESTS, WORK_SECONDS, EngineState
from gemma_viz.service.settings import Settings

FUNCTIONS_IN = re.compile(r"gemma_viz\.(stages\.[a-z_]+|report)")
TOGETHER = 8  # texts in one pass, at most
TOKENS_TOGETHER = 128  # of all of them: a longer pass takes as long as several
CHARACTERS_TOGETHER = 8 * TOKENS_TOGETHER  # of one of them, which need not be cut into tokens to see that it is long
EARLIER = 8  # captures that a new one may go on from
IDLE_SECONDS = 600.0  # after which captures leave memory
OWN_TURN_SECONDS = 0.1  # after which it is the others' turn

Loader = Callable[[str, Progress], Model]


@dataclass(frozen=True)
class Limits:
    """What an operator allows.

    line: visitors who wait at the same time; seconds: of one call
    capture_bytes, answer_bytes: what is remembered of each
    """

    line: int = Settings.line
    seconds: float = Settings.seconds
    capture_bytes: int = Settings.capture_mib << 20
    answer_bytes: int = Settings.answer_mib << 20

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """Those of the operator's settings."""
        return cls(
            line=settings.line,
            seconds=settings.seconds,
            capture_bytes=settings.capture_mib << 20,
            answer_bytes=settings.answer_mib << 20,
        )


@dataclass
class Loading:
    """A checkpoint on its way into memory: share from 0 to 1 and what is done now, then the model or the error."""

    share: float = 0.0
    what: str = "Starting"
    model: Model | None = None
    error: Exception | None = None

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return self.model is not None or self.error is not None

    def report(self, share: float, what: str) -> None:
        """Take note of how far it is, for those who wait and for the log."""
        self.share, self.what = share, what
        print(f"[gemma-viz] {share:4.0%}  {what}", flush=True)


class LocalEngine:
    """Answers requests with the models of this process."""

    def __init__(self, limits: Limits = Limits(), loader: Loader | None = None):
        self.limits = limits
        self._load = loader or (lambda name, progress: load(name, progress=progress))
        self._captures: Cache[Capture] = Cache(limits.capture_bytes)
        self._answers: Cache[bytes] = Cache(limits.answer_bytes)
        self._loadings: dict[str, Loading] = {}
        self._line: OrderedDict[str, LocalTicket] = OrderedDict()  # by visitor
        self._changed = threading.Condition()
        self._at_work: list[LocalTicket] = []  # the last one is called now, for the one before it
        self._worker = threading.Thread(target=self._work, daemon=True, name="gemma-viz-engine")
        self._worker.start()

    # Asked by visitors' threads

    def open(self, name: str) -> Loading:
        """See `gemma_viz.engine.Engine`."""
        with self._changed:
            loading = self._loadings.get(name)
            if loading is None or loading.error:
                loading = self._loadings[name] = Loading()
                threading.Thread(target=self._fetch, args=(name, loading), daemon=True).start()
            return loading

    def submit(self, request: Request, visitor: str) -> LocalTicket:
        """See `gemma_viz.engine.Engine`."""
        ticket = LocalTicket(request, visitor, self._ahead)
        self._answer_from_memory(ticket)
        if ticket.is_over:
            return ticket
        with self._changed:
            for other in [other for other, waiting in self._line.items() if waiting.is_over]:
                del self._line[other]  # who has left keeps nobody out
            older = self._line.get(visitor)
            if older is None and len(self._line) >= self.limits.line:
                REQUESTS.labels("busy").inc()
                raise Busy(f"The model is busy: {len(self._line)} people are waiting for it. Try again in a moment.")
            if older:
                older.end(_replaced())
            self._line[visitor] = ticket
            self._changed.notify()
        return ticket

    def _ahead(self, ticket: LocalTicket) -> int:
        with self._changed:
            if ticket.is_over or ticket in self._at_work:
                return 0
            before = itertools.takewhile(lambda other: other is not ticket, self._line.values())
            return _n_waiting(before) + len(self._at_work)

    @property
    def state(self) -> EngineState:
        """What an operator sees."""
        with self._changed:
            ready = tuple(name for name, loading in self._loadings.items() if loading.model)
            caches = {"captures": self._captures.state, "answers": self._answers.state}
            return EngineState(_n_waiting(self._line.values()), len(self._at_work), ready, caches)

    @property
    def is_alive(self) -> bool:
        """Whether its worker still takes requests."""
        return self._worker.is_alive()

    def model(self, name: str) -> Model:
        """A model, waited for. Raises what keeps it from being loaded."""
        loading = self.open(name)
        while not loading.is_over:
            time.sleep(0.05)
        if loading.error:
            raise loading.error
        assert loading.model is not None
        return loading.model

    # The worker's

    def _fetch(self, name: str, loading: Loading) -> None:
        try:
            loading.model = self._load(name, loading.report)
        except Exception as error:  # whatever it is, it belongs to the visitors who wait, not to this thread
            loading.error = error

    def _answer_from_memory(self, ticket: LocalTicket) -> None:
        """Take all that was answered before."""
        while not ticket.is_over and (known := self._answers.get(_name_of_call(ticket))):
            ticket.take(wire.decode(known))

    def _work(self) -> None:
        while True:
            if ticket := self._next(IDLE_SECONDS):
                self._turn(ticket)
            else:
                self._captures.shrink(0)  # nobody is looking

    def _next(self, seconds: float) -> LocalTicket | None:
        """The ticket whose turn it is; None when nobody comes for so long."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._line, timeout=seconds):
                return None
            _, ticket = self._line.popitem(last=False)
            self._at_work.append(ticket)
            return ticket

    def _turn(self, ticket: LocalTicket) -> None:
        """Some calls of a ticket, as many as a turn has time for; with more to come it goes to the end of the line."""
        end = time.monotonic() + OWN_TURN_SECONDS
        self._answer_from_memory(ticket)
        while not ticket.is_over:
            ticket.begin()
            self._answer(ticket)
            self._answer_from_memory(ticket)
            if time.monotonic() > end:
                break
        with self._changed:
            self._at_work.remove(ticket)
            if ticket.is_over:
                return
            if ticket.visitor in self._line:
                ticket.end(_replaced())
            else:
                self._line[ticket.visitor] = ticket

    def _answer(self, ticket: LocalTicket) -> None:
        name = _name_of_call(ticket)
        watch = _Watch(ticket, self.limits.seconds, self._let_others_in)
        stage = ticket.request.function.partition(":")[0].rpartition(".")[2]
        try:
            with interrupted_by(watch.look), reported_to(ticket.report):
                answer = wire.encode(self._called(ticket.request.function, ticket.next_call))
        except Exception as error:  # it belongs to who asked
            ticket.end(error)
        else:
            WORK_SECONDS.labels(stage).observe(watch.seconds)
            self._answers.put(name, answer, len(answer))
            ticket.take(wire.decode(answer))  # as from memory, or from another machine: nobody can change it for others

    def _let_others_in(self) -> None:
        """One turn for everybody who waits now, in the middle of long work, but not in the middle of theirs."""
        if len(self._at_work) > 1:
            return
        for _ in range(len(self._line)):
            if ticket := self._next(0):
                Context().run(self._turn, ticket)  # which knows nothing of the run under way

    def _called(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """The value of a call; where memory does not suffice, once more without anything else in it."""
        try:
            return self._called_once(name, arguments)
        except OutOfMemory:
            self._captures.shrink(0)
        give_back_memory()  # here, where the error no longer holds on to the tensors of the call
        try:
            return self._called_once(name, arguments)
        finally:
            give_back_memory()

    def _called_once(self, name: str, arguments: tuple[Any, ...]) -> Any:
        try:
            return function_named(name)(*map(self._resolved, arguments))
        except Exception as error:
            if isinstance(error, OutOfMemory) or not is_out_of_memory(error):
                raise
        raise OutOfMemory("The memory of the machine was not enough for this. Try a shorter prompt, or try later.")

    def _resolved(self, argument: Any) -> Any:
        """What a key stands for; other arguments stand for themselves."""
        if isinstance(argument, ModelKey):
            return self.model(argument.name)
        if isinstance(argument, CaptureKey):
            return self._capture(argument)
        return argument

    def _capture(self, key: CaptureKey) -> Capture:
        name = wire.digest(key)
        cap = self._captures.get(name)
        if cap is None:
            model = self.model(key.model)
            self._make_captures_together(model, key)
            cap = self._captures.get(name) or self._made(model, key)
            self._captures.put(name, cap, cap.nbytes)
        return cap

    def _made(self, model: Model, key: CaptureKey) -> Capture:
        patch = self._patch(key.patch) if key.patch else None
        earlier = [cap for cap in self._captures.values() if cap.model is model][-EARLIER:]
        if key.ids is not None:
            return model.capture_ids(key.ids, key.edits, patch, earlier)
        return model.capture(key.text, key.edits, earlier, patch)

    def _patch(self, key: PatchKey) -> Patch:
        return Patch(self._capture(key.source), key.kind, key.layer, key.position, key.head)

    def _make_captures_together(self, model: Model, first: CaptureKey) -> None:
        """Where others wait for short texts of the same model too, make all their captures in one pass."""
        with self._changed:
            waiting = [first, *itertools.chain.from_iterable(map(_next_captures, self._line.values()))]
        chosen, n_tokens = dict[bytes, str](), 0
        for key in waiting:
            name = wire.digest(key)
            if not _goes_together(key, model) or name in chosen or name in self._captures:
                continue
            try:
                n_tokens += len(model.tokens(key.text))
            except TextError:
                continue  # who asked for it is told when it is their turn
            if n_tokens > TOKENS_TOGETHER or len(chosen) == TOGETHER:
                break
            chosen[name] = key.text
        if len(chosen) > 1:
            for name, cap in zip(chosen, model.capture_together(list(chosen.values())), strict=True):
                self._captures.put(name, cap, cap.nbytes)


class _Watch:
    """Looks, between the layers of a call, whether it is still wanted, and how long it has taken."""

    def __init__(self, ticket: LocalTicket, seconds: float, let_others_in: Callable[[], None]):
        self._ticket = ticket
        self._limit = seconds
        self._let_others_in = let_others_in
        self._start = self._last = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long the call has taken so far, without the others' that were let in."""
        return time.monotonic() - self._start

    def look(self) -> None:
        """Raises Cancelled or TookTooLong where the call is not to go on."""
        now = time.monotonic()
        if self._ticket.is_over:
            raise Cancelled("This was stopped.")
        if self.seconds > self._limit:
            raise TookTooLong(
                f"This took longer than the {self._limit:g} seconds that a step may take here. Try a shorter prompt."
            )
        if now - self._last > OWN_TURN_SECONDS:
            self._let_others_in()
            self._last = time.monotonic()
            self._start += self._last - now  # theirs is not counted


def function_named(name: str) -> Callable[..., Any]:
    """The function that a request names. Raises EngineError where there is none to be asked for."""
    module, _, function = name.partition(":")
    try:
        found = wire.named(module, function) if FUNCTIONS_IN.fullmatch(module) else None
    except wire.WireError:
        found = None
    if not isinstance(found, FunctionType) or function.startswith("_"):
        raise EngineError("There is no such value to ask for.")
    return found


def _n_waiting(tickets: Iterable[LocalTicket]) -> int:
    """Without those who have left, whose tickets lie in the line until their turn."""
    return sum(not ticket.is_over for ticket in tickets)


def _replaced() -> Cancelled:
    return Cancelled("A newer request took the place of this one.")


def _name_of_call(ticket: LocalTicket) -> bytes:
    return wire.digest((ticket.request.function, ticket.next_call))


def _next_captures(ticket: LocalTicket) -> list[CaptureKey]:
    return [] if ticket.is_over else [argument for argument in ticket.next_call if isinstance(argument, CaptureKey)]


def _goes_together(key: CaptureKey, model: Model) -> bool:
    unchanged = key.edits == UNCHANGED and key.patch is None and key.ids is None
    return unchanged and key.model == model.name and len(key.text) <= CHARACTERS_TOGETHER
