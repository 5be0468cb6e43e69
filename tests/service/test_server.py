"""What a server tells a visitor where something goes wrong: a real one, spoken to over its own protocol."""

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from websockets.exceptions import ConnectionClosed

from tests.ports import free_port
from tests.visitor import Visitor, alerts

ROOT = Path(__file__).parents[2]

TYPED = "a secret that a visitor typed"

# Fails as pages may: in the script, in a callback, and with an error that has a sentence.
OVERVIEW = """
import streamlit as st
from gemma_viz.errors import EmbeddedModelError
from gemma_viz.ui import visitor

visitor.arrive("Overview")
asked = st.query_params.get("fail")
if asked == "stop":
    st.stop()
if asked == "rerun":
    st.query_params["fail"] = "stop"
    st.rerun()
if asked == "admit":
    visitor.admit()
    st.info("admitted")
    st.stop()
if asked == "sentence":
    raise EmbeddedModelError("There is no room.") from OSError(28, "No space left on device", "/srv/cache/model")
if asked:
    raise KeyError(f"/srv/secret/path of {asked}")
st.button("Press", on_click=lambda: {}["/srv/secret/path"])
"""


class Server:
    def __init__(self, address: str, log: Path):
        self.address, self._log = address, log

    @property
    def log(self) -> str:
        return self._log.read_text()

    def says(self, query: str, **headers: str) -> list[str]:
        with Visitor(self.address, headers) as visitor:
            return alerts(visitor.open(query))


@contextmanager
def running(folder: Path, **environment: str) -> Iterator[Server]:
    """The app's own server, on a page that fails on demand."""
    for name in ("app.py", ".streamlit"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    (folder / "overview.py").write_text(OVERVIEW)
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    variables = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(600):
            if process.poll() is not None:
                break
            try:
                urllib.request.urlopen(f"{address}/_stcore/health")
                break
            except OSError:
                time.sleep(0.1)
        yield Server(address, folder / "log")
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("server"), GEMMA_VIZ_REQUESTS_PER_ADDRESS="2") as server:
        yield server


def told(alert: str) -> str:
    """The id of the request in a sentence."""
    form = r"Something went wrong \(request ([0-9a-f]{8})\)\. Try again, or tell whoever runs this app that number\."
    found = re.fullmatch(form, alert)
    assert found, alert
    return found[1]


def test_an_unforeseen_error_is_a_sentence_with_a_number_that_the_log_has_too(server: Server) -> None:
    with Visitor(server.address) as visitor:
        said = visitor.open(f"fail={TYPED}")
    (alert,) = alerts(said)
    whole = b"".join(message.SerializeToString() for message in said)
    assert b"/srv" not in whole
    assert b"Traceback" not in whole
    assert b"KeyError" not in whole
    assert str(ROOT).encode() not in whole
    line = next(line for line in server.log.splitlines() if told(alert) in line)
    assert "ERROR" in line
    assert "outcome=KeyError" in line
    assert "overview.py" in server.log
    assert TYPED not in server.log
    assert "Uncaught" not in server.log, "the traceback is there once"


def test_an_error_in_a_callback_is_one_too(server: Server) -> None:
    with Visitor(server.address) as visitor:
        said = visitor.open()
        (button,) = (
            message.delta.new_element.button
            for message in said
            if message.delta.HasField("new_element") and message.delta.new_element.HasField("button")
        )
        pressed = BackMsg()
        state = pressed.rerun_script.widget_states.widgets.add()
        state.id, state.trigger_value = button.id, True
        (alert,) = alerts(visitor.send(pressed))
    assert f"request={told(alert)}" in server.log


def test_an_error_with_a_sentence_is_that_sentence_and_the_log_has_what_is_behind_it(server: Server) -> None:
    assert server.says("fail=sentence") == ["There is no room."]
    assert "outcome=EmbeddedModelError" in server.log
    assert "No space left on device: '/srv/cache/model'" in server.log


@pytest.mark.parametrize("asked", ["stop", "rerun"])
def test_a_page_that_stops_or_starts_over_is_no_error(server: Server, asked: str) -> None:
    assert server.says(f"fail={asked}") == []


def test_requests_are_counted_by_the_address_that_the_proxy_here_has_seen(server: Server) -> None:
    def ask(forwarded_for: str) -> str:
        (alert,) = server.says("fail=admit", **{"X-Forwarded-For": forwarded_for})
        return alert

    assert [ask("203.0.113.1"), ask("198.51.100.9, 203.0.113.1")] == ["admitted"] * 2
    assert "Too many requests in a minute: try again in" in ask("198.51.100.10, 203.0.113.1")
    assert ask("203.0.113.2") == "admitted"
    assert "outcome=TooManyRequests" in server.log


def test_a_message_that_is_none_ends_its_own_connection_only(server: Server) -> None:
    with Visitor(server.address) as good:
        for nonsense in (b"\xff" * 100, b"x" * (5 << 20), "text"):
            with Visitor(server.address) as hostile:
                hostile.socket.send(nonsense)
                with pytest.raises(ConnectionClosed) as closed:
                    hostile.listen()
            assert "/" not in (closed.value.rcvd.reason if closed.value.rcvd else "")
        assert alerts(good.open()) == []


def test_another_site_cannot_open_a_connection(server: Server) -> None:
    with pytest.raises(Exception, match="403"):
        Visitor(server.address, {"Origin": "https://elsewhere.example"})


def test_an_upload_needs_the_token_of_the_session(server: Server) -> None:
    request = urllib.request.Request(f"{server.address}/_stcore/upload_file/x/y", b"a", method="PUT")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request)


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/app.py",
        "/.streamlit/config.toml",
        "/.streamlit/secrets.toml",
        "/pages/1_Tokenization.py",
        "/app/static/config.toml",
        "/media/../../app.py",
        "/_stcore/agent/interact",
    ],
)
def test_no_file_of_the_server_is_served(server: Server, path: str) -> None:
    status, body = fetch(server.address + path)
    assert status in (400, 403, 404, 405) or b"<title>Streamlit</title>" in body, "every page's empty frame"
    assert not any(word in body for word in (b"root:", b"gemma_viz", b"showErrorDetails"))


def fetch(address: str) -> tuple[int, bytes]:
    try:
        answer = urllib.request.urlopen(address)
    except urllib.error.HTTPError as error:
        answer = error
    return answer.status, answer.read()


def test_a_setting_that_cannot_be_is_said_at_the_start(tmp_path: Path) -> None:
    with running(tmp_path, GEMMA_VIZ_REQUESTS_PER_SESSION="many") as server:
        assert "GEMMA_VIZ_REQUESTS_PER_SESSION is 'many'. It takes" in server.log
        assert "Traceback" not in server.log
