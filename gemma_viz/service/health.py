"""The operator's endpoint: whether the app lives, whether it is ready, how much it does.

A small HTTP server beside the app's, on an address of its own, so that no visitor reaches it by way of the app.

    /live      200 as long as the process answers
    /ready     200 when the default model is loaded, 503 before, with a sentence
    /metrics   `metrics.REGISTRY` in Prometheus' text format
    /          the same for people, as a page without scripts

Off unless `$GEMMA_VIZ_OPERATOR_PORT` is set. `$GEMMA_VIZ_OPERATOR_ADDRESS` is where it listens, by default 127.0.0.1:
the endpoint has no log-in.
"""

import logging
import os
import socket
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from gemma_viz.service import operator_page
from gemma_viz.service.metrics import READY, REGISTRY

PORT = "GEMMA_VIZ_OPERATOR_PORT"
ADDRESS = "GEMMA_VIZ_OPERATOR_ADDRESS"

SECONDS_FOR_A_REQUEST = 10  # who sends more slowly is let go

log = logging.getLogger(__name__)

_started = threading.Lock()  # taken once and never given back: a process has one endpoint


class Readiness:
    """Whether the app can show something to a visitor, and a sentence about it."""

    def __init__(self) -> None:
        self._state = (False, "The default model is not loaded yet.")

    def set(self, is_ready: bool, sentence: str) -> None:
        """Say how it stands."""
        self._state = (is_ready, sentence)
        READY.set(is_ready)

    def get(self) -> tuple[bool, str]:
        """How it stands."""
        return self._state


READINESS = Readiness()


def start() -> ThreadingHTTPServer | None:
    """Start the endpoint if the operator asks for it, and only once in a process, however often this is called.

    Returns the server where this call started one. What is wrong (a port that is taken, a setting) is said in the log,
    and keeps nobody from using the app.
    """
    asked = os.environ.get(PORT)
    if not asked or not _started.acquire(blocking=False):
        return None
    if not (asked.isdecimal() and int(asked) <= 65535):
        log.error("%s is %r. It takes a port, 1 to 65535. The operator's endpoint is off.", PORT, asked)
        return None
    address = os.environ.get(ADDRESS) or "127.0.0.1"
    try:
        server = serve(address, int(asked))
    except OSError as error:
        log.error("The operator's endpoint is off: %s port %s: %s.", address, asked, error.strerror)
        return None
    log.info("The operator's page: http://%s:%s/", address, server.server_port)
    return server


def serve(address: str, port: int) -> ThreadingHTTPServer:
    """A running endpoint, in a thread that ends with the process. Raises OSError where the address cannot be had.

    port: 0 for any that is free; `server_port` says which
    """
    server = _Server((address, port), _Handler)
    threading.Thread(target=server.serve_forever, name="operator", daemon=True).start()
    return server


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # the base class would ask a name server for this machine's name
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """Who asks and leaves before the answer is nothing that a log has to hold; anything else is."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            log.exception("The operator's endpoint could not answer")


class _Handler(BaseHTTPRequestHandler):
    timeout = SECONDS_FOR_A_REQUEST
    server_version, sys_version = "gemma-viz", ""

    def do_GET(self) -> None:
        """Answer one of the four paths."""
        path = self.path.split("?")[0]
        if path == "/live":
            self._answer(HTTPStatus.OK, "The process answers.\n")
        elif path == "/ready":
            is_ready, sentence = READINESS.get()
            self._answer(HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE, f"{sentence}\n")
        elif path == "/metrics":
            self._answer(HTTPStatus.OK, generate_latest(REGISTRY).decode(), CONTENT_TYPE_PLAIN_0_0_4)
        elif path == "/":
            self._answer(HTTPStatus.OK, operator_page.page(REGISTRY, *READINESS.get()), "text/html; charset=utf-8")
        else:
            self._answer(HTTPStatus.NOT_FOUND, "There are /, /live, /ready and /metrics.\n")

    do_HEAD = do_GET  # noqa: N815, likewise

    def _answer(self, status: HTTPStatus, body: str, content_type: str = "text/plain; charset=utf-8") -> None:
        content = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """A look at the metrics every few seconds is nothing that a log has to hold."""
