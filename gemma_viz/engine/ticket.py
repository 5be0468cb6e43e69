"""What becomes of a request, and a request that an engine of this process works on."""

import threading
import time
from collections.abc import Callable
from typing import Any

from gemma_viz.engine.keys import Request
from gemma_viz.errors import Cancelled, EditsError, SamplingError, TextError, TookTooLong
from gemma_viz.service.metrics import REQUESTS, WAITING_SECONDS


class Outcome:
    """What becomes of a request, for the thread that waits for it: its answers, or what went wrong.

    The waiting half of `gemma_viz.engine.Ticket`; how far it is, the other half, is known by who works on it.
    """

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self._error: Exception | None = None
        self._over = threading.Event()

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return self._over.is_set()

    def wait(self, seconds: float | None = None) -> bool:
        """See `gemma_viz.engine.Ticket`."""
        return self._over.wait(seconds)

    def result(self) -> list[Any]:
        """See `gemma_viz.engine.Ticket`."""
        self._over.wait()
        if self._error:
            raise self._error
        return self.answers

    def cancel(self) -> None:
        """See `gemma_viz.engine.Ticket`."""
        self.end(Cancelled("This was stopped."))

    def end(self, error: Exception | None = None) -> None:
        """Nothing more will come. Of several ends the first one counts."""
        if not self.is_over:
            self._error = error
            self._over.set()


class LocalTicket(Outcome):
    """A request on its way, for the thread that waits for it; see `gemma_viz.engine.Ticket`."""

    def __init__(self, request: Request, visitor: str, place: "Callable[[LocalTicket], int]"):
        super().__init__()
        self.request = request
        self.visitor = visitor
        self.what = ""
        self._place = place
        self._share_of_call = 0.0
        self._submitted: float | None = time.monotonic()

    @property
    def n_calls(self) -> int:
        """Calls of the request."""
        return len(self.request.calls)

    @property
    def next_call(self) -> tuple[Any, ...]:
        """The arguments of the call that is not answered yet."""
        return self.request.calls[len(self.answers)]

    @property
    def share(self) -> float:
        """See `gemma_viz.engine.Ticket`."""
        return (len(self.answers) + self._share_of_call) / max(1, self.n_calls)

    @property
    def ahead(self) -> int:
        """See `gemma_viz.engine.Ticket`."""
        return self._place(self)

    def begin(self) -> None:
        """It is at work, for the first time or again."""
        if self._submitted is not None:
            WAITING_SECONDS.observe(time.monotonic() - self._submitted)
            self._submitted = None

    def report(self, share: float, what: str) -> None:
        """Take note of how far the present call is."""
        self._share_of_call, self.what = share, what

    def take(self, answer: Any) -> None:
        """The answer of the present call; with that of the last one it is over."""
        self.answers.append(answer)
        self._share_of_call, self.what = 0.0, ""
        if len(self.answers) == self.n_calls:
            self.end()

    def end(self, error: Exception | None = None) -> None:
        """See `Outcome.end`; it is counted for the operator."""
        if not self.is_over:
            REQUESTS.labels(_outcome(error)).inc()
        super().end(error)


def _outcome(error: Exception | None) -> str:
    """One of `metrics.OUTCOMES`. That a text cannot be run is an answer too."""
    kinds: dict[str, tuple[type[Exception], ...]] = {
        "cancelled": (Cancelled,),
        "timed_out": (TookTooLong,),
        "done": (TextError, EditsError, SamplingError),
    }
    found = (outcome for outcome, errors in kinds.items() if isinstance(error, errors))
    return next(found, "failed") if error else "done"
