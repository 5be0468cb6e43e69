"""An engine behind HTTP answers as the one in this process does, and outlives its servers."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import requests
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

import gemma_viz as gv
from gemma_viz.engine import Engine, http, remote, wire
from gemma_viz.engine.http import ANSWER, answered, frame, messages, route
from gemma_viz.engine.keys import CaptureKey, ModelKey, Request
from gemma_viz.engine.local import LocalEngine
from gemma_viz.engine.remote import RemoteEngine
from gemma_viz.errors import Busy, Cancelled, EngineError, TooManyTokens
from tests.engine.conftest import NAME, PATIENCE, Gate, answer, asked
from tests.ports import free_port

STAGES = "gemma_viz.stages."
KEY = CaptureKey(NAME, "the red cat moving")


def application(engine: Engine) -> Starlette:
    async def respond(request: HttpRequest) -> Response:
        return await answered(engine, await request.body())

    return Starlette(routes=[Route(ANSWER, respond, methods=["POST"])])


@contextmanager
def serving(what: Engine | Starlette, port: int) -> Iterator[str]:
    app = what if isinstance(what, Starlette) else application(what)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.force_exit = server.should_exit = True
        thread.join()


@pytest.mark.parametrize(
    "request_",
    [
        Request(STAGES + "heads:layer_heads", tuple((KEY, layer) for layer in range(4))),
        Request(STAGES + "output:predictions", ((KEY,),)),
        Request(STAGES + "described:card", ((ModelKey(NAME),),)),
        Request(STAGES + "residual:check_rms_norm", ((KEY, 1),)),
    ],
    ids=lambda request: request.function,
)
def test_it_answers_as_the_engine_of_this_process_does(engine: LocalEngine, request_: Request) -> None:
    expected = answer(engine.submit(request_, "a"))
    with serving(engine, free_port()) as url:
        assert wire.encode(answer(RemoteEngine(url).submit(request_, "b"))) == wire.encode(expected)


def test_errors_come_over_as_what_they_are(engine: LocalEngine) -> None:
    with serving(engine, free_port()) as url:
        too_long = Request(STAGES + "described:described", ((CaptureKey(NAME, "it " * 600),),))
        with pytest.raises(TooManyTokens):
            answer(RemoteEngine(url).submit(too_long, "a"))


def test_an_unexpected_error_says_nothing_of_the_server(engine: LocalEngine, stage: Callable[..., None]) -> None:
    def broken(cap: gv.Capture) -> None:
        raise RuntimeError("/srv/secret/path")

    stage(broken)
    with serving(engine, free_port()) as url, pytest.raises(EngineError, match="Something went wrong") as error:
        answer(RemoteEngine(url).submit(asked("broken", "it"), "a"))
    assert "secret" not in str(error.value)


def test_who_waits_sees_the_place_and_may_stop(gate: Gate) -> None:
    engine = gate.engine()
    with serving(engine, free_port()) as url:
        first, second = (RemoteEngine(url).submit(asked("overview", text), text) for text in "ab")
        start = time.monotonic()
        while {first.ahead, second.ahead} != {0, 1} and time.monotonic() < start + PATIENCE:
            time.sleep(0.01)
        assert {first.ahead, second.ahead} == {0, 1}
        for ticket in (first, second):
            ticket.cancel()
            with pytest.raises(Cancelled):
                answer(ticket)
        gate.opened.set()
        while engine.state.waiting and time.monotonic() < start + PATIENCE:
            time.sleep(0.01)
        assert engine.state.waiting == 0, "the server knows that nobody waits"


def test_a_full_line_is_busy_there_too(gate: Gate) -> None:
    engine = gate.engine(line=1)
    engine.submit(asked("overview", "at work"), "a")
    while engine.state.waiting:
        time.sleep(0.01)
    engine.submit(asked("overview", "waits"), "b")
    with serving(engine, free_port()) as url, pytest.raises(Busy):
        answer(RemoteEngine(url).submit(asked("overview", "c"), "c"))
    gate.opened.set()


def test_a_request_whose_server_died_is_answered_by_the_next_one(gate: Gate, stage: Callable[..., None]) -> None:
    def text_of(cap: gv.Capture) -> str:
        return cap.text

    stage(text_of)
    port = free_port()
    held = gate.engine()
    with serving(held, port) as url:
        ticket = RemoteEngine(url).submit(asked("text_of", "it"), "a")
        start = time.monotonic()
        while not held._at_work and time.monotonic() < start + PATIENCE:
            time.sleep(0.01)
    other = Gate(gate.model)
    other.opened.set()
    with serving(other.engine(), port):
        assert answer(ticket) == ["it"]
    gate.opened.set()


def saying(*responses: Response) -> tuple[Starlette, list[HttpRequest]]:
    """A server that says these one after the other, then the last one for ever, and what it was asked."""
    asked_for: list[HttpRequest] = []

    async def answer(asking: HttpRequest) -> Response:
        asked_for.append(asking)
        return responses[min(len(asked_for), len(responses)) - 1]

    return Starlette(routes=[Route(ANSWER, answer, methods=["POST"])]), asked_for


def test_servers_that_are_not_there_yet_are_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAUSE_SECONDS", 0.01)
    app, asked_for = saying(Response(status_code=404), Response(status_code=503), Response(frame(("answer", [1]))))
    with serving(app, free_port()) as url:
        assert answer(RemoteEngine(url).submit(asked("overview", "it"), "a")) == [1]
    assert len(asked_for) == 3
    assert len({asking.headers[remote.ROUTE_HEADER] for asking in asked_for}) == 1


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [(429, Busy, "busy"), (400, EngineError, "same version"), (413, EngineError, "same version")],
)
def test_a_request_that_is_refused_is_not_asked_again(status: int, error: type[EngineError], says: str) -> None:
    app, asked_for = saying(Response(status_code=status))
    with serving(app, free_port()) as url, pytest.raises(error, match=says):
        answer(RemoteEngine(url).submit(asked("overview", "it"), "a"))
    assert len(asked_for) == 1


def test_a_request_that_ends_its_servers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAUSE_SECONDS", 0.01)
    app, asked_for = saying(Response(frame(("progress", 0.5, "", 0))))
    with serving(app, free_port()) as url, pytest.raises(EngineError, match="ended in the middle"):
        answer(RemoteEngine(url).submit(asked("overview", "it"), "a"))
    assert len(asked_for) == remote.TRIES


def test_servers_that_do_not_come_are_given_up_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PATIENCE_SECONDS", 0.5)
    ticket = RemoteEngine(f"http://127.0.0.1:{free_port()}").submit(asked("overview", "it"), "a")
    with pytest.raises(EngineError, match="cannot be reached"):
        answer(ticket)


def test_a_server_shows_signs_of_life_when_there_is_nothing_new(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "SIGN_OF_LIFE_SECONDS", 0.2)
    body = wire.encode(("a", asked("overview", "it")))
    with (
        serving(gate.engine(), free_port()) as url,
        requests.post(url + ANSWER, body, stream=True, timeout=PATIENCE) as response,
    ):
        said = [message for message, _ in zip(messages(response.iter_content(1 << 16)), range(4), strict=False)]
    assert said[1:] == said[:1] * 3
    gate.opened.set()


@pytest.mark.parametrize("body", [b"", b"junk", wire.encode(("a", 1)), wire.encode((1, asked("overview", "a")))])
def test_what_is_no_request_is_refused(engine: LocalEngine, body: bytes) -> None:
    with serving(engine, free_port()) as url:
        assert requests.post(url + ANSWER, body, timeout=PATIENCE).status_code == 400


def test_messages_come_in_pieces_of_any_size() -> None:
    stream = frame(("progress", 0.5, "é", 2)) + frame(("answer", [1, (2,)]))
    for size in (1, 3, len(stream)):
        pieces = (stream[start : start + size] for start in range(0, len(stream), size))
        assert list(messages(pieces)) == [("progress", 0.5, "é", 2), ("answer", [1, (2,)])]


def test_requests_about_one_prompt_take_one_route() -> None:
    requests_ = [
        Request("a:b", ((KEY, 1),)),
        Request("c:d", ((3, CaptureKey(KEY.model, KEY.text, edits=gv.Edits(rope=False))),)),
    ]
    assert len({route(request) for request in requests_}) == 1
    assert route(Request("a:b", ((CaptureKey(NAME, "other"),),))) != route(requests_[0])
    assert route(Request("a:b", ((ModelKey("m"), 1),))) == route(Request("c:d", ((ModelKey("m"),),)))
