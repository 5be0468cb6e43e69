"""Functions of our own in the place of stages, and an engine on a tiny model."""

import threading
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

import gemma_viz as gv
from gemma_viz.engine import wire
from gemma_viz.engine.keys import CaptureKey, Request
from gemma_viz.engine.local import Limits, LocalEngine
from gemma_viz.engine.ticket import LocalTicket
from gemma_viz.stages import overview

NAME = "tiny"
PATIENCE = 30.0  # seconds; for what takes milliseconds on a machine that does nothing else


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Put a function where requests find it, as "overview:name"."""

    def put(function: Callable[..., object], module: ModuleType = overview) -> None:
        function.__module__ = module.__name__
        monkeypatch.setattr(module, function.__name__, function, raising=False)
        wire.named.cache_clear()

    yield put
    wire.named.cache_clear()


class Gate:
    """Holds the model back until it is opened, and the engine's worker with it."""

    def __init__(self, model: gv.Model):
        self.model = model
        self.opened = threading.Event()

    def load(self, name: str, progress: object) -> gv.Model:
        assert self.opened.wait(PATIENCE)
        return self.model

    def engine(self, **limits: float) -> LocalEngine:
        return LocalEngine(Limits(**limits), self.load)  # type: ignore[arg-type]


@pytest.fixture
def gate(tiny_models: dict[str, gv.Model], monkeypatch: pytest.MonkeyPatch) -> Gate:
    model = tiny_models["gemma3"]
    monkeypatch.setattr(model, "name", NAME)
    return Gate(model)


@pytest.fixture
def engine(gate: Gate) -> LocalEngine:
    gate.opened.set()
    return gate.engine()


def asked(function: str, *calls: object) -> Request:
    """A request of overview's function, each call with one argument, texts for captures."""
    keys = [CaptureKey(NAME, call) if isinstance(call, str) else call for call in calls]
    return Request(f"gemma_viz.stages.overview:{function}", tuple((key,) for key in keys))


def answer(ticket: LocalTicket) -> list[object]:
    assert ticket.wait(PATIENCE)
    return ticket.result()
