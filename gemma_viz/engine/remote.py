"""The engine of other machines, for the pages of this one."""

import threading
import time

import requests

from gemma_viz.engine import wire
from gemma_viz.engine.http import ANSWER, BUSY, NO_REQUEST, OK, TOO_LARGE, messages, route
from gemma_viz.engine.keys import Request
from gemma_viz.engine.ticket import Outcome
from gemma_viz.errors import Busy, EngineError

ROUTE_HEADER = "x-session-id"  # Ray Serve's name for what belongs together; a prompt in our case
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 30.0  # of a server, which says something more often, after which it is given up
PATIENCE_SECONDS = 120.0  # with servers that cannot be reached
PAUSE_SECONDS = 0.5
TRIES = 3  # with servers that die while they work on a request: it may be the reason


class RemoteOpening:
    """A model of another machine, which is loaded when it is first asked for."""

    share, what, error, is_over = 1.0, "", None, True


class RemoteTicket(Outcome):
    """A request on its way; see `gemma_viz.engine.Ticket`. What was lost with a server is asked for once more."""

    def __init__(self, url: str, request: Request, visitor: str):
        super().__init__()
        self.share, self.what, self.ahead = 0.0, "", 0
        self._url = url + ANSWER
        self._body = wire.encode((visitor, request))
        self._headers = {ROUTE_HEADER: route(request)}
        self._response: requests.Response | None = None
        self._heard = time.monotonic()  # of a server, the last time
        self._deaths = 0
        threading.Thread(target=self._ask, daemon=True, name="gemma-viz-request").start()

    def cancel(self) -> None:
        """See `gemma_viz.engine.Ticket`."""
        if not self.is_over:
            super().cancel()
            if self._response:
                self._response.close()

    def _ask(self) -> None:
        while not self.is_over:
            try:
                self._ask_once()
            except (requests.RequestException, wire.WireError, _Lost):
                self._look_for_another()
            except Exception as error:  # it belongs to who waits
                self.end(error)

    def _look_for_another(self) -> None:
        """After a moment, where there is any sense in it."""
        if self._deaths == TRIES:
            self.end(EngineError("The servers that worked on this ended in the middle. Try a shorter prompt."))
        elif time.monotonic() - self._heard > PATIENCE_SECONDS:
            self.end(EngineError("The model's server cannot be reached. Try again in a moment."))
        self.what, self.share, self.ahead = "Looking for another server", 0.0, 0
        self.wait(PAUSE_SECONDS)

    def _ask_once(self) -> None:
        timeouts = (CONNECT_SECONDS, SILENCE_SECONDS)
        with requests.post(self._url, self._body, headers=self._headers, stream=True, timeout=timeouts) as response:
            self._response = response
            _check(response.status_code)
            try:
                self._listen(response)
            except (requests.RequestException, wire.WireError, _Lost):
                self._deaths += 1
                raise

    def _listen(self, response: requests.Response) -> None:
        for kind, *what in messages(response.iter_content(1 << 16)):
            self._heard = time.monotonic()
            if self.is_over:  # it was cancelled before there was a response to close
                return
            if kind == "progress":
                self.share, self.what, self.ahead = what
            elif kind == "answer":
                self.answers = what[0]
                return self.end()
            else:
                return self.end(what[0])
        raise _Lost("The stream ended before the answer.")


class RemoteEngine:
    """Asks an engine behind HTTP. url: for example "http://head:8000"."""

    def __init__(self, url: str):
        self.url = url.rstrip("/")

    def open(self, name: str) -> RemoteOpening:
        """See `gemma_viz.engine.Engine`."""
        return RemoteOpening()

    def submit(self, request: Request, visitor: str) -> RemoteTicket:
        """See `gemma_viz.engine.Engine`. That it is busy is said by the ticket."""
        return RemoteTicket(self.url, request, visitor)


class _Lost(Exception):
    """A server ended, or is not there yet."""


def _check(status: int) -> None:
    """Raises Busy, EngineError for what no server will answer, _Lost for what another one may."""
    if status == BUSY:
        raise Busy("The model is busy: too many people are waiting for it. Try again in a moment.")
    if status in (NO_REQUEST, TOO_LARGE):
        raise EngineError("The model's server does not understand this app. They have to be of the same version.")
    if status != OK:  # Ray Serve says 404 before it knows its replicas, and 503 or 500 where one has just died
        raise _Lost(f"The server answered with {status}.")
