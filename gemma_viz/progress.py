"""How far long work is, said to whoever waits for it: nobody, unless a caller of this thread listens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Progress = Callable[[float, str], None]

_listener: ContextVar[Progress | None] = ContextVar("gemma_viz_progress", default=None)


def report(share: float, what: str) -> None:
    """Say how far it is, from 0 to 1, and what is done now."""
    if listener := _listener.get():
        listener(share, what)


@contextmanager
def reported_to(listener: Progress) -> Iterator[None]:
    """Hand what is reported inside the block to a function."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
