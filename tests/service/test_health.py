"""The operator's endpoint over real HTTP."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from gemma_viz.service import health
from gemma_viz.service.metrics import REQUESTS
from tests.ports import free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture
def port() -> Iterator[int]:
    server = health.serve("127.0.0.1", 0)
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture
def readiness(monkeypatch: pytest.MonkeyPatch) -> health.Readiness:
    """That of a process that has just started."""
    fresh = health.Readiness()
    monkeypatch.setattr(health, "READINESS", fresh)
    return fresh


@pytest.fixture
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_started", threading.Lock())
    monkeypatch.delenv(health.PORT, raising=False)
    monkeypatch.delenv(health.ADDRESS, raising=False)


def ask(port: int, path: str, method: str = "GET") -> tuple[HTTPResponse, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response, body


def test_the_process_lives_before_it_is_ready(port: int, readiness: health.Readiness) -> None:
    assert ask(port, "/live")[0].status == 200
    response, sentence = ask(port, "/ready")
    assert response.status == 503
    assert "not loaded yet" in sentence


def test_it_is_ready_when_the_model_is_loaded_and_no_longer_when_it_is_lost(
    port: int, readiness: health.Readiness
) -> None:
    readiness.set(True, "The model is loaded.")
    response, sentence = ask(port, "/ready?from=proxy")
    assert (response.status, sentence) == (200, "The model is loaded.\n")
    assert "gemma_viz_ready 1.0" in ask(port, "/metrics")[1]
    readiness.set(False, "The model is gone.")
    assert ask(port, "/ready")[0].status == 503


def test_metrics_come_in_the_format_that_prometheus_reads(port: int) -> None:
    before = float(value_of(ask(port, "/metrics")[1], 'gemma_viz_requests_total{outcome="busy"}'))
    REQUESTS.labels("busy").inc()
    response, text = ask(port, "/metrics")
    assert (response.headers["Content-Type"] or "").startswith("text/plain; version=0.0.4")
    assert float(value_of(text, 'gemma_viz_requests_total{outcome="busy"}')) == before + 1
    assert float(value_of(text, "gemma_viz_resident_bytes")) > 1e7


def value_of(text: str, sample: str) -> str:
    (line,) = (line for line in text.splitlines() if line.startswith(f"{sample} "))
    return line.removeprefix(sample)


def test_the_page_for_people_has_no_scripts_and_says_what_is_not_ready(port: int, readiness: health.Readiness) -> None:
    readiness.set(False, "<b>No</b> model.")
    response, html = ask(port, "/")
    assert response.status == 200
    assert "Not ready." in html
    assert "&lt;b&gt;No&lt;/b&gt; model." in html
    assert "<script" not in html
    assert "default-src 'none'" in (response.headers["Content-Security-Policy"] or "")


@pytest.mark.parametrize("path", ["/metrics/", "/../etc/passwd", "/%2e%2e/metrics", "/_stcore/metrics"])
def test_nothing_else_is_there(port: int, path: str) -> None:
    assert ask(port, path)[0].status == 404


def test_it_only_answers_questions(port: int) -> None:
    assert ask(port, "/live", "HEAD")[1] == ""
    assert ask(port, "/live", "POST")[0].status == 501


def test_who_leaves_before_the_answer_leaves_no_trace(port: int, caplog: pytest.LogCaptureFixture, capfd) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port)) as hasty:
            hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset instead of an end
            hasty.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert ask(port, "/live")[0].status == 200
    assert "Traceback" not in caplog.text + capfd.readouterr().err


@pytest.mark.usefixtures("fresh_process")
def test_it_is_off_unless_it_is_asked_for() -> None:
    assert health.start() is None


@pytest.mark.usefixtures("fresh_process")
def test_it_starts_once_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(health.PORT, "0")
    server = health.start()
    assert server is not None
    assert server.server_address[0] == "127.0.0.1"
    assert urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/live").status == 200
    assert health.start() is None
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("fresh_process")
def test_a_port_that_is_taken_is_a_line_in_the_log(
    port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(health.PORT, str(port))
    with caplog.at_level(logging.ERROR):
        assert health.start() is None
    assert f"port {port}: Address already in use" in caplog.text


@pytest.mark.usefixtures("fresh_process")
@pytest.mark.parametrize("asked", ["http", "-1", "70000", "80 80"])
def test_a_port_that_is_none_is_a_line_in_the_log(
    asked: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(health.PORT, asked)
    with caplog.at_level(logging.ERROR):
        assert health.start() is None
    assert f"{health.PORT} is {asked!r}" in caplog.text


def test_a_server_of_the_app_is_ready_before_anybody_visits(tiny_checkpoints: dict[str, Path]) -> None:
    """And tells the operator how many are there."""
    app_port, operator_port = free_port(), free_port()
    environment = os.environ | {"GEMMA_VIZ_MODELS": str(tiny_checkpoints["gemma3"]), health.PORT: str(operator_port)}
    command = [sys.executable, "-m", "gemma_viz", "app", "--port", str(app_port), "--host", "127.0.0.1"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: ask(operator_port, "/ready")[0].status == 200)
        wait_until(lambda: ask(app_port, "/_stcore/health")[0].status == 200)
        assert "gemma_viz_models_loaded 1.0" in ask(operator_port, "/metrics")[1]
        assert "gemma_viz_sessions 0.0" in ask(operator_port, "/metrics")[1]
        with connect(f"ws://127.0.0.1:{app_port}/_stcore/stream", subprotocols=[Subprotocol("streamlit")]):
            wait_until(lambda: "gemma_viz_sessions 1.0" in ask(operator_port, "/metrics")[1])
    finally:
        process.terminate()
        assert process.wait(timeout=30) in (0, -signal.SIGTERM)


def wait_until(is_so: Callable[[], bool], seconds: float = 120) -> None:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        with suppress(OSError):
            if is_so():
                return
        time.sleep(0.1)
    raise TimeoutError
