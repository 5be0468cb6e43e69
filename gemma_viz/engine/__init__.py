"""The engine: answers requests for values of stages, wherever the model is.

A request names a stage's function, the captures it looks at and its parameters, and is answered by what the function
gives: small arrays. Nothing else goes between pages and captures, so that an answer can be remembered, made again, or
made on another machine. `gemma_viz.engine.local` is the engine of one machine.
"""

from typing import Any, Protocol

from gemma_viz.engine.keys import Request


class Opening(Protocol):
    """A model on its way into memory."""

    @property
    def share(self) -> float:
        """How much of it is done, from 0 to 1."""

    @property
    def what(self) -> str:
        """What is done now."""

    @property
    def error(self) -> Exception | None:
        """What went wrong."""

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to wait for any more."""


class Ticket(Protocol):
    """A request on its way."""

    @property
    def share(self) -> float:
        """How much of it is done, from 0 to 1."""

    @property
    def what(self) -> str:
        """What is done now, where the work says so."""

    @property
    def ahead(self) -> int:
        """How many visitors come first; 0 when it is at work."""

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is answered, so long at most; whether it is."""

    def result(self) -> list[Any]:
        """The answers of all calls, not to be changed. Raises what went wrong; waits if it must."""

    def cancel(self) -> None:
        """Nobody waits for it any more."""


class Engine(Protocol):
    """What pages ask."""

    def open(self, name: str) -> Opening:
        """A model, or how far it is on its way into memory; one that failed is tried again."""

    def submit(self, request: Request, visitor: str) -> Ticket:
        """Take a request into the line, in the place of an older one of the same visitor. Raises Busy when it is full.

        What was answered before is answered at once.
        """
