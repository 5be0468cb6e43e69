"""The engine on Ray Serve: replicas of a local engine, each with its own model in memory.

Requests about one prompt go to the replica that has its capture (Ray Serve's multiplexing, with a prompt's name in the
place of a model's). A replica that dies loses nothing: another one makes the capture again.
"""

import argparse
import os

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from ray import serve
from starlette.responses import Response

from gemma_viz.checkpoints import offered_models
from gemma_viz.engine.http import ANSWER, answered
from gemma_viz.engine.local import Limits, LocalEngine

PROMPTS_PER_REPLICA = 256  # whose place is remembered
NAME = "gemma-viz"

_api = FastAPI()


@serve.deployment(max_ongoing_requests=64, max_queued_requests=256, health_check_period_s=5)
@serve.ingress(_api)
class Replica:
    """One local engine, with the first of the offered models in memory before it takes requests."""

    def __init__(self, limits: Limits):
        self.engine = LocalEngine(limits)
        self.engine.open(offered_models()[0])

    @serve.multiplexed(max_num_models_per_replica=PROMPTS_PER_REPLICA)
    async def take(self, route: str) -> str:
        """Take note, for Ray Serve, that a prompt is here."""
        return route

    @_api.post(ANSWER)
    async def answer(self, http: HttpRequest) -> Response:
        """See `gemma_viz.engine.http.answered`."""
        if route := serve.get_multiplexed_model_id():
            await self.take(route)
        return await answered(self.engine, await http.body())


def main(arguments: list[str] | None = None) -> None:
    """Start Ray Serve on this machine, or in the cluster that RAY_ADDRESS names, and stay."""
    parser = argparse.ArgumentParser(prog="gemma-viz serve", description=main.__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--replicas", type=int, nargs=2, default=(1, 4), metavar=("FEWEST", "MOST"))
    parser.add_argument("--gpus", type=float, default=0.0, help="of each replica")
    options = parser.parse_args(arguments)
    fewest, most = options.replicas
    serve.start(http_options={"host": options.host, "port": options.port})
    deployment = Replica.options(  # type: ignore[attr-defined]
        autoscaling_config={"min_replicas": fewest, "max_replicas": most, "target_ongoing_requests": 4},
        ray_actor_options={"num_cpus": 1, "num_gpus": options.gpus, "runtime_env": {"env_vars": _environment()}},
    )
    serve.run(deployment.bind(Limits()), name=NAME, blocking=True)


def _environment() -> dict[str, str]:
    """What replicas are told: our own settings."""
    return {name: value for name, value in os.environ.items() if name.startswith("GEMMA_VIZ_")}
