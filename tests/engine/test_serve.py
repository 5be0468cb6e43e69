"""The engine on Ray Serve, as the command starts it: two replicas, some of which are killed."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests

import gemma_viz as gv
from gemma_viz import cli
from gemma_viz.engine import remote, serve, wire
from gemma_viz.engine.http import ANSWER, route
from gemma_viz.engine.keys import CaptureKey, ModelKey, Request
from gemma_viz.engine.local import LocalEngine
from gemma_viz.engine.remote import ROUTE_HEADER, RemoteEngine, RemoteTicket
from gemma_viz.errors import Busy, Cancelled
from gemma_viz.stages.output import predictions
from tests.ports import free_port

LINE = 16  # places of a replica, and before all of them
PATIENCE = 120.0  # seconds; a machine that does other things too starts Ray in half a minute
LOST = "Looking for another server"
STAGES = "gemma_viz.stages."


class Server:
    """`gemma-viz serve` in a process of its own, and all that belongs to it."""

    def __init__(self, model: Path, folder: str):
        self.model, self.folder, self.port = str(model), folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = Path(folder, "log")
        self._sessions: set[int] = set()

    def start(self) -> None:
        # A short path, because it becomes part of a socket's; and no cluster that somebody else has started.
        ours = {"GEMMA_VIZ_MODELS": self.model, "GEMMA_VIZ_LINE": str(LINE), "RAY_TMPDIR": self.folder}
        environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | ours
        command = [sys.executable, "-m", "gemma_viz", "serve", "--port", str(self.port)]
        command += ["--replicas", "2", "2", "--cpus", "0.5"]
        with self.log.open("w") as log:
            started = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        self.process = psutil.Process(started.pid)
        self._sessions.add(started.pid)
        assert until(lambda: self.url in self.log.read_text() or started.poll() is not None)
        assert started.poll() is None, self.log.read_text()

    def replicas(self) -> list[psutil.Process]:
        """Those that are there: processes name themselves, and what they do."""
        return [process for process in self.family() if process.cmdline()[0].startswith("ray::ServeReplica:")]

    def family(self) -> list[psutil.Process]:
        """All its processes that are still there, whoever started them: sessions have their first process's number."""
        return [process for process in psutil.process_iter() if self._session(process) in self._sessions]

    def kill(self) -> None:
        while family := self.family():
            for process in family:
                process.kill()
            psutil.wait_procs(family, PATIENCE)

    @staticmethod
    def _session(process: psutil.Process) -> int | None:
        try:
            return None if process.status() == psutil.STATUS_ZOMBIE else os.getsid(process.pid)
        except (psutil.NoSuchProcess, ProcessLookupError):
            return None


def until(is_so: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    end = time.monotonic() + seconds
    while not (found := is_so()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def server(tiny_checkpoints: dict[str, Path]) -> Iterator[Server]:
    pytest.importorskip("ray", reason="Ray is not installed: pip install '.[serve]'")
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        server = Server(tiny_checkpoints["gemma3"], folder)
        try:
            server.start()
            yield server
        finally:
            server.kill()


@pytest.fixture
def engine(server: Server, monkeypatch: pytest.MonkeyPatch) -> RemoteEngine:
    monkeypatch.setattr(remote, "PATIENCE_SECONDS", PATIENCE)
    return RemoteEngine(server.url)


@pytest.fixture(scope="module")
def model(tiny_checkpoints: dict[str, Path]) -> gv.Model:
    return gv.load(tiny_checkpoints["gemma3"])


def described(server: Server, text: str) -> Request:
    return Request(STAGES + "described:described", ((CaptureKey(server.model, text),),))


def much(server: Server, text: str, n_calls: int) -> tuple[Request, list[str]]:
    """A request that takes a while, and its texts."""
    texts = [f"{text} {n} the red cat moving" for n in range(n_calls)]
    return Request(STAGES + "output:predictions", tuple((CaptureKey(server.model, text),) for text in texts)), texts


def assert_right(ticket: RemoteTicket, texts: list[str], model: gv.Model) -> None:
    for found, text in zip(ticket.result(), texts, strict=True):
        expected = predictions(model.capture(text)).logits
        np.testing.assert_allclose(found.logits, expected, rtol=1e-3, atol=1e-3)  # captures begin like earlier ones


def test_it_answers_as_the_engine_of_one_machine_does(server: Server, engine: RemoteEngine) -> None:
    key = CaptureKey(server.model, "the red cat moving")
    local = LocalEngine()
    for request in (
        Request(STAGES + "described:described", ((key,),)),
        Request(STAGES + "heads:layer_heads", tuple((key, layer) for layer in range(4))),
        Request(STAGES + "output:predictions", ((key,),)),
        Request(STAGES + "described:card", ((ModelKey(server.model),),)),
    ):
        expected, found = (asked.submit(request, "a").result() for asked in (local, engine))
        assert wire.encode(found) == wire.encode(expected), request.function


def test_a_prompt_has_one_replica_and_prompts_have_several(server: Server) -> None:
    def replica(request: Request) -> str:
        body, headers = wire.encode(("a", request)), {ROUTE_HEADER: route(request)}
        response = requests.post(server.url + ANSWER, body, headers=headers, timeout=PATIENCE)
        return response.headers["gemma-viz-replica"]

    prompts = [described(server, f"cat {n}") for n in range(20)]
    first = [replica(request) for request in prompts]
    assert len(set(first)) == 2
    assert [replica(request) for request in prompts] == first


def test_a_visitor_sees_progress_and_who_stops_lets_others_in(server: Server, engine: RemoteEngine) -> None:
    request, texts = much(server, "long", 4000)
    ticket = engine.submit(request, "a")
    assert until(lambda: 0 < ticket.share < 0.5)
    ticket.cancel()
    with pytest.raises(Cancelled):
        ticket.result()
    replicas = server.replicas()
    assert len(replicas) == 2
    for process in replicas:
        process.cpu_percent()
    time.sleep(1)
    assert sum(process.cpu_percent() for process in replicas) < 50
    assert engine.submit(described(server, texts[0]), "a").result()


def test_a_full_server_is_busy_and_goes_on(server: Server, engine: RemoteEngine) -> None:
    asked = [much(server, f"full {n}", 300)[0] for n in range(4 * LINE)]
    tickets = [engine.submit(request, f"visitor {n}") for n, request in enumerate(asked)]

    def is_busy(ticket: RemoteTicket) -> bool:
        try:
            return ticket.wait(0) and not ticket.result()
        except Busy:
            return True

    assert until(lambda: sum(map(is_busy, tickets)) >= LINE)
    for ticket in tickets:
        ticket.cancel()
    assert engine.submit(described(server, "after"), "a").result()


def test_a_replica_that_is_killed_loses_nothing(server: Server, engine: RemoteEngine, model: gv.Model) -> None:
    asked = [much(server, f"visitor {n}", 25) for n in range(20)]
    tickets = [engine.submit(request, f"visitor {n}") for n, (request, _) in enumerate(asked)]
    assert until(lambda: any(ticket.share > 0 for ticket in tickets))
    server.replicas()[0].send_signal(signal.SIGKILL)
    assert until(lambda: any(ticket.what == LOST for ticket in tickets))
    for ticket, (_, texts) in zip(tickets, asked, strict=True):
        assert_right(ticket, texts, model)


def test_a_server_that_is_killed_and_started_again_answers_who_waits(
    server: Server, engine: RemoteEngine, model: gv.Model
) -> None:
    asked = [much(server, f"head {n}", 50) for n in range(8)]
    tickets = [engine.submit(request, f"visitor {n}") for n, (request, _) in enumerate(asked)]
    assert until(lambda: any(ticket.share > 0 for ticket in tickets))
    server.process.send_signal(signal.SIGKILL)
    assert until(lambda: any(ticket.what == LOST for ticket in tickets))
    server.kill()  # what Ray leaves for a minute
    server.start()
    for ticket, (_, texts) in zip(tickets, asked, strict=True):
        assert_right(ticket, texts, model)


def test_it_stops_when_told_and_leaves_nothing_behind(server: Server) -> None:
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(PATIENCE) == 0
    assert until(lambda: not server.family())


def test_without_ray_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    assert cli.main(["serve"]) == 1
    assert "pip install '.[serve]'" in capsys.readouterr().err
