"""An engine behind HTTP: one request in, a stream of frames out, until the last one is the answer or the error.

A frame is four bytes of length and a message of `gemma_viz.engine.wire`: ("progress", share, what, ahead),
("answer", values) or ("error", error). Whoever goes away in the middle cancels what was asked for.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.responses import PlainTextResponse, Response, StreamingResponse

from gemma_viz.engine import Engine, Ticket, wire
from gemma_viz.engine.keys import CaptureKey, ModelKey, Request
from gemma_viz.errors import Busy, EngineError, GemmaVizError
from gemma_viz.service import log

ANSWER = "/answer"
OK, NO_REQUEST, TOO_LARGE, BUSY = 200, 400, 413, 429
LARGEST_REQUEST = 64 << 20  # bytes; values of earlier answers can be arguments
FRAME_SECONDS = 0.1
SIGN_OF_LIFE_SECONDS = 5.0  # after which the same is said again

_waiters = ThreadPoolExecutor(256, "gemma-viz-waiter")  # as many requests are looked after at a time


async def answered(engine: Engine, body: bytes) -> Response:
    """The response to the body of a request: BUSY where the line is full, NO_REQUEST or TOO_LARGE for what is none."""
    if len(body) > LARGEST_REQUEST:
        return PlainTextResponse("Too large.\n", status_code=TOO_LARGE)
    try:
        visitor, request = wire.decode(body)
        if not (isinstance(visitor, str) and isinstance(request, Request)):
            raise wire.WireError("Not a request.")
        ticket = engine.submit(request, visitor)
    except (wire.WireError, ValueError, TypeError):
        return PlainTextResponse("Not a request.\n", status_code=NO_REQUEST)
    except Busy as busy:
        return PlainTextResponse(str(busy), status_code=BUSY)
    return StreamingResponse(_frames(ticket), media_type="application/octet-stream")


async def _frames(ticket: Ticket) -> AsyncIterator[bytes]:
    """What is said of a ticket until it is over: what is new, and after a while that nothing is."""
    said: tuple[Any, ...] = ()
    last = 0.0
    try:
        while not await asyncio.get_running_loop().run_in_executor(_waiters, ticket.wait, FRAME_SECONDS):
            now = ("progress", ticket.share, ticket.what, ticket.ahead)
            if now != said or time.monotonic() - last > SIGN_OF_LIFE_SECONDS:
                said, last = now, time.monotonic()
                yield frame(now)
        yield frame(_outcome(ticket))
    finally:
        ticket.cancel()


def _outcome(ticket: Ticket) -> tuple[str, Any]:
    try:
        return "answer", ticket.result()
    except GemmaVizError as error:
        return "error", error
    except Exception as error:
        return "error", EngineError(
            f"Something went wrong where the model is (request {log.failed(error)}). Try again, or tell whoever runs "
            "this app that number."
        )


def frame(message: tuple[Any, ...]) -> bytes:
    """A message with its length before it."""
    data = wire.encode(message)
    return len(data).to_bytes(4, "little") + data


def messages(chunks: Iterator[bytes]) -> Iterator[tuple[Any, ...]]:
    """The messages of a stream that comes in pieces of any size."""
    held = b""
    for chunk in chunks:
        held += chunk
        while len(held) >= 4 and len(held) >= (end := 4 + int.from_bytes(held[:4], "little")):
            yield wire.decode(held[4:end])
            held = held[end:]


def route(request: Request) -> str:
    """What decides where a request is answered: the same for all requests about one prompt."""
    arguments = request.calls[0] if request.calls else ()
    for argument in arguments:
        if isinstance(argument, CaptureKey):
            return wire.digest((argument.model, argument.text, argument.ids)).hex()[:16]
    return next((f"model-{argument.name}" for argument in arguments if isinstance(argument, ModelKey)), "any")
