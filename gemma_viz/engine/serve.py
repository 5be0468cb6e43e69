"""The engine on Ray Serve: replicas of a local engine, each with the default model in memory.

All requests about one prompt go to one replica, which has its captures: Ray Serve's ring of hashes says to which. When
a replica dies, only its prompts go to others, which make the captures again.
"""

import os
import secrets
import signal
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NoReturn

from gemma_viz.errors import EngineError
from gemma_viz.service.settings import settings

NAME = "gemma-viz"
LOCAL = "local"  # Ray's word for a cluster of its own on this machine
SHARED_MEMORY = 256 << 20  # bytes, through which large answers go from a replica to the proxy


def run(
    host: str, port: int, replicas: tuple[int, int], cpus: float, gpus: float, report: Callable[[str], None]
) -> None:
    """Serve the engine until the process is told to stop.

    Starts Ray on this machine, or joins the cluster that `$RAY_ADDRESS` names. Raises EngineError where Ray is not
    installed, the port is taken or the default model cannot be loaded.

    replicas: how many there are at least and at most; cpus, gpus: what each of them takes of its machine
    report: is told when the engine answers
    """
    if find_spec("ray") is None:
        raise EngineError(
            "This needs Ray Serve, which is not installed here. In the project's folder: pip install '.[serve]'."
        )
    settings()  # what is wrong with them is said here, not by replicas
    _start_ray(os.environ.get("RAY_ADDRESS", LOCAL))
    from ray import serve

    from gemma_viz.engine import replica

    try:
        serve.start(http_options={"host": host, "port": port}, logging_config=replica.QUIET)
        serve.run(replica.replicas(*replicas, cpus, gpus), name=NAME)
        report(f"Gemma Viz's engine: http://{host}:{port}")
        while True:
            signal.pause()
    except RuntimeError as error:
        last = str(error).splitlines()[-1]
        raise EngineError(f"The engine could not be started. The lines above say why; the last one: {last}") from error
    finally:
        serve.delete(NAME)
        _stop_ray()


def _start_ray(address: str) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # or it would report to its makers
    options: dict[str, Any] = {}
    if address == LOCAL:
        # Ray listens on all of the machine's addresses, and runs what it is sent: now only by who has the token.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        options = {"include_dashboard": False, "object_store_memory": SHARED_MEMORY}
    import ray  # not before the environment is set, which it reads at once

    ray.init(address, logging_level="warning", **options)
    for told_to_stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told_to_stop, _end)


def _stop_ray() -> None:
    import ray

    ray.shutdown()


def _end(*_: object) -> NoReturn:
    raise SystemExit
