"""A replica of the engine on Ray Serve, and what Ray Serve is told about replicas. Needs Ray."""

import os
from typing import Any

from ray import serve
from ray.serve.config import BackpressureConfig, RequestRouterConfig
from starlette.requests import Request
from starlette.responses import Response

from gemma_viz.checkpoints import offered_models
from gemma_viz.engine.http import BUSY, answered
from gemma_viz.engine.local import Limits, LocalEngine
from gemma_viz.errors import EngineError
from gemma_viz.service import log
from gemma_viz.service.settings import settings

REPLICA_HEADER = "gemma-viz-replica"  # of a response: which one has answered
ROUTER = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
HANDED_ON = ("GEMMA_VIZ_", "OMP_NUM_THREADS")  # what replicas are told of the environment, by the beginning of a name

QUIET = {"log_level": "WARNING", "enable_access_log": False}  # requests are counted in Ray's metrics
REQUESTS_PER_REPLICA = 4.0  # at once, on the average, above which another replica is started
HEALTH_SECONDS = 5.0  # from one look at a replica's health to the next
LAST_SECONDS = 5.0  # of a replica that is stopped, for what it works on


class Replica:
    """One local engine. It takes requests when the default model is loaded; where it cannot be, there is no replica."""

    def __init__(self) -> None:
        log.to_stderr()
        self.name = serve.get_replica_context().replica_id.unique_id
        self.engine = LocalEngine(Limits.of(settings()))
        self.engine.model(offered_models()[0])

    async def __call__(self, http: Request) -> Response:
        """See `gemma_viz.engine.http.answered`."""
        response = await answered(self.engine, await http.body())
        response.headers[REPLICA_HEADER] = self.name
        return response

    def check_health(self) -> None:
        """Asked by Ray Serve, which puts another replica in the place of one that raises here."""
        if not self.engine.is_alive:
            raise EngineError("The engine's worker has ended.")


def replicas(fewest: int, most: int, cpus: float, gpus: float) -> Any:
    """Ray Serve's application of so many replicas, each of which takes so much of its machine."""
    limits = Limits.of(settings())
    deployment = serve.deployment(
        name="Engine",
        autoscaling_config={
            "min_replicas": fewest,
            "max_replicas": most,
            "target_ongoing_requests": REQUESTS_PER_REPLICA,
        },
        max_ongoing_requests=limits.line,  # where a replica has no place left, the next one on the ring is asked
        max_queued_requests=limits.line,
        backpressure_config=BackpressureConfig(status_code=BUSY),
        request_router_config=RequestRouterConfig(request_router_class=ROUTER),
        logging_config=QUIET,
        health_check_period_s=HEALTH_SECONDS,
        graceful_shutdown_timeout_s=LAST_SECONDS,
        ray_actor_options={"num_cpus": cpus, "num_gpus": gpus, "runtime_env": {"env_vars": _environment()}},
    )
    return deployment(Replica).bind()


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(HANDED_ON)}
