"""A server of the app that a benchmark starts, watches, kills and starts again."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType

import psutil

ROOT = Path(__file__).parents[1]
MIB = 1 << 20
START_SECONDS = 60


class Server:
    """A server with a port of its own, which it keeps when it is started again.

    address: where it is; log: file with what it printed
    """

    def __init__(self, log: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.address = f"http://localhost:{self._port}"
        self.log = log
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.kill()

    @property
    def pid(self) -> int:
        """The process, another one after each start."""
        assert self._process
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(self._port)]
        environment = os.environ | {"GEMMA_VIZ_REQUESTS_PER_ADDRESS": "0"}  # all visitors come from this machine
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
        end = time.monotonic() + START_SECONDS
        while not self.healthy():
            if time.monotonic() > end:
                raise TimeoutError(f"No server at {self.address} after {START_SECONDS} seconds; see {self.log}")
            time.sleep(0.1)

    def kill(self) -> None:
        """End it as when the machine runs out of memory: at once, with nothing said to anybody."""
        assert self._process
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def running(self) -> bool:
        """Whether there is a process, whatever it does."""
        return self._process is not None and self._process.poll() is None

    def healthy(self) -> bool:
        """Whether it answers at all."""
        try:
            with urllib.request.urlopen(f"{self.address}/_stcore/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def memory_mib(self) -> float:
        """Resident memory of the server and what it started."""
        return sum(process.memory_info().rss for process in self._processes()) / MIB

    def cpu_seconds(self) -> float:
        """CPU time of the server and what it started."""
        return sum(sum(process.cpu_times()[:2]) for process in self._processes())

    def _processes(self) -> list[psutil.Process]:
        try:
            own = psutil.Process(self.pid)
            return [own, *own.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []
