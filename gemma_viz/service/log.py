"""The operator's log: one line on stderr for each thing that was done for a visitor.

    2026-11-26T03:20:11Z INFO request=7f3a9c12 session=1b2c3d4e page=Attention what=page seconds=0.142 outcome=ok

A visitor who is told that something went wrong is told the request, by which the operator finds the traceback. What
visitors type is not in it, unless `GEMMA_VIZ_LOG_TEXT` is 1.
"""

import logging
import secrets
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import blake2b
from traceback import format_tb

from gemma_viz.errors import GemmaVizError, ModelError
from gemma_viz.service.settings import settings

LINE = "%(asctime)s %(levelname)s %(message)s"
TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Request:
    """One run of a page for a visitor.

    page: str, its title; session: str, a digest of the session's id; started: seconds of the monotonic clock
    """

    page: str
    session: str
    id: str = field(default_factory=lambda: secrets.token_hex(4))
    started: float = field(default_factory=time.monotonic)


_logger = logging.getLogger("gemma_viz.requests")
_present: ContextVar[Request | None] = ContextVar("request", default=None)
_key = secrets.token_bytes(16)  # of this process, so that the log holds nothing a session could be taken over with


def to_stderr() -> None:
    """Write what this package logs to stderr. Called once, where the app is started."""
    formatter = logging.Formatter(LINE, TIME)
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    package = logging.getLogger("gemma_viz")
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    # Streamlit logs the same traceback, without the request, and with what a visitor may have typed.
    logging.getLogger("streamlit.error_util").addFilter(lambda record: record.msg != "Uncaught app execution")


def begin(page: str, session: str) -> Request:
    """A new request, to which all that this thread logs belongs from now on."""
    request = Request(page, blake2b(session.encode(), key=_key, digest_size=4).hexdigest())
    _present.set(request)
    return request


def done(what: str, *, seconds: float | None = None, text: str = "", **fields: object) -> None:
    """Log what was done for the present request.

    what: str, a word; seconds: how long it took, since the request began if not given
    text: what the visitor typed, logged only where the operator asks for it; fields: names and values
    """
    quoted = {"text": repr(text)} if text and settings().log_text else {}
    _logger.info(_line(_request(), what, "ok", seconds, **fields, **quoted))


def refused(error: GemmaVizError) -> None:
    """Log an error whose sentence the visitor is told; what is behind it, where the operator can mend that."""
    line = _line(_request(), "refused", type(error).__name__)
    if isinstance(error, ModelError):
        _logger.warning("\n".join([line, *_trace(error, with_messages=True)]))
    else:
        _logger.info(line)


def failed(error: BaseException) -> str:
    """Log an error that nobody foresaw, with its traceback; returns the id of the request."""
    request = _request()
    line = _line(request, "failed", type(error).__name__)
    _logger.error("\n".join([line, *_trace(error, with_messages=settings().log_text)]))
    return request.id


def _request() -> Request:
    """The present one; a callback of a widget can fail before its page has begun."""
    return _present.get() or begin("", "")


def _line(request: Request, what: str, outcome: str, seconds: float | None = None, **fields: object) -> str:
    values = {
        "request": request.id,
        "session": request.session,
        "page": request.page.replace(" ", "_") or "-",
        "what": what,
        "seconds": f"{time.monotonic() - request.started if seconds is None else seconds:.3f}",
        **fields,
        "outcome": outcome,
    }
    return " ".join(f"{name}={value}" for name, value in values.items())


def _trace(error: BaseException, with_messages: bool) -> Iterator[str]:
    """The tracebacks of an error and of those behind it, the first one first.

    Messages can quote what a visitor typed; those of the operating system are about files and the network.
    """
    behind = error.__cause__ or error.__context__
    if behind is not None:
        yield from _trace(behind, with_messages)
    yield "".join(format_tb(error.__traceback__)).rstrip("\n")
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    yield f"{name}: {error}" if with_messages or isinstance(error, OSError) else name
