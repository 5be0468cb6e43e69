"""The engine of other machines, for the pages of this one."""

import threading
import time
from typing import Any

import requests

from gemma_viz.engine import wire
from gemma_viz.engine.http import ANSWER, messages, route
from gemma_viz.engine.keys import Request
from gemma_viz.errors import Busy, Cancelled, EngineError

# By this header Ray Serve sends requests of one prompt to the replica that has seen it.
ROUTE_HEADER = "serve_multiplexed_model_id"
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 300.0  # of a stream, after which it is given up
PATIENCE_SECONDS = 60.0  # with servers that cannot be reached, or that died with a request
PAUSE_SECONDS = 0.5


class RemoteOpening:
    """A model of another machine, which is loaded when it is first asked for."""

    share, what, error, is_over = 1.0, "", None, True


class RemoteTicket:
    """A request on its way; see `gemma_viz.engine.Ticket`. What was lost with a server is asked for once more."""

    def __init__(self, url: str, request: Request, visitor: str):
        self.share, self.what, self.ahead = 0.0, "", 0
        self._url = url + ANSWER
        self._body = wire.encode((visitor, request))
        self._headers = {ROUTE_HEADER: route(request)}
        self._over = threading.Event()
        self._values: list[Any] = []
        self._error: Exception | None = None
        self._response: requests.Response | None = None
        threading.Thread(target=self._ask, daemon=True, name="gemma-viz-request").start()

    def wait(self, seconds: float | None = None) -> bool:
        """See `gemma_viz.engine.Ticket`."""
        return self._over.wait(seconds)

    def result(self) -> list[Any]:
        """See `gemma_viz.engine.Ticket`."""
        self._over.wait()
        if self._error:
            raise self._error
        return self._values

    def cancel(self) -> None:
        """See `gemma_viz.engine.Ticket`."""
        if not self._over.is_set():
            self._end(error=Cancelled("This was stopped."))
            if self._response:
                self._response.close()

    def _end(self, values: list[Any] | None = None, error: Exception | None = None) -> None:
        if not self._over.is_set():
            self._values, self._error = values or [], error
            self._over.set()

    def _ask(self) -> None:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not self._over.is_set():
            try:
                self._ask_once()
            except (requests.RequestException, wire.WireError, ConnectionError):
                if time.monotonic() > give_up:
                    self._end(error=EngineError("The model's server cannot be reached. Try again in a moment."))
                self.what, self.share, self.ahead = "Looking for another server", 0.0, 0
                self._over.wait(PAUSE_SECONDS)
            except Exception as error:  # it belongs to who waits
                self._end(error=error)

    def _ask_once(self) -> None:
        timeouts = (CONNECT_SECONDS, SILENCE_SECONDS)
        with requests.post(self._url, self._body, headers=self._headers, stream=True, timeout=timeouts) as response:
            self._response = response
            if response.status_code == 503:
                raise Busy("The model is busy: too many people are waiting for it. Try again in a moment.")
            response.raise_for_status()
            for kind, *what in messages(response.iter_content(1 << 16)):
                if kind == "progress":
                    self.share, self.what, self.ahead = what
                elif kind == "answer":
                    return self._end(values=what[0])
                else:
                    return self._end(error=what[0])
        raise ConnectionError("The stream ended before the answer.")


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
