"""What the operator can watch, as Prometheus metrics, all in one place.

The engine and the app set them, or are asked when somebody looks; `health.py` gives them out. A unit is part of a name,
as is usual: seconds, bytes.
Metrics hold numbers and names of our own only, never what a visitor typed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import psutil
import torch
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

REGISTRY = CollectorRegistry()
"""Of this app alone, so that no library adds to it."""

# From a page out of the cache to the longest work that anybody waits for.
SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)

OUTCOMES = ("done", "busy", "limited", "cancelled", "timed_out", "failed")
"""How a request ends: with its values, refused because the queue was full, refused because its visitor has had those of
a minute, given up by its visitor, stopped at the time limit, or with an error."""

WAITING_SECONDS = Histogram(
    "gemma_viz_waiting_seconds", "From a request to the begin of its work", buckets=SECONDS, registry=REGISTRY
)
WORK_SECONDS = Histogram(
    "gemma_viz_work_seconds", "Work on a request, by stage", ("stage",), buckets=SECONDS, registry=REGISTRY
)
REQUESTS = Counter("gemma_viz_requests", "Requests that ended, by outcome", ("outcome",), registry=REGISTRY)
SESSIONS = Gauge("gemma_viz_sessions", "Tabs that are connected", registry=REGISTRY)
READY = Gauge("gemma_viz_ready", "Whether the default model is loaded", registry=REGISTRY)

for _outcome in OUTCOMES:
    REQUESTS.labels(_outcome)  # a rate of something that has not happened yet is 0, not missing


@dataclass(frozen=True)
class CacheState:
    """entries, bytes: int, what is there; hits, misses: int, since the start."""

    entries: int
    bytes: int
    hits: int
    misses: int


@dataclass(frozen=True)
class EngineState:
    """waiting, in_work: int, requests; models: names of those in memory; caches: by name."""

    waiting: int
    in_work: int
    models: tuple[str, ...]
    caches: Mapping[str, CacheState]


class _Engine(Collector):
    """The engine of this process, asked when somebody looks; nothing where it is on other machines."""

    def __init__(self) -> None:
        self._state: Callable[[], EngineState] | None = None

    def watch(self, state: Callable[[], EngineState]) -> None:
        """Ask this for the state from now on."""
        self._state = state

    def collect(self) -> Iterator[Metric]:
        if self._state is None:
            return
        state = self._state()
        yield GaugeMetricFamily("gemma_viz_queue_length", "Requests that wait for their turn", state.waiting)
        yield GaugeMetricFamily("gemma_viz_requests_in_work", "Requests that the model works on", state.in_work)
        yield GaugeMetricFamily("gemma_viz_models_loaded", "Models in memory", len(state.models))
        size = GaugeMetricFamily("gemma_viz_cache_bytes", "What a cache holds", labels=["cache"])
        entries = GaugeMetricFamily("gemma_viz_cache_entries", "How many entries a cache holds", labels=["cache"])
        hits = CounterMetricFamily("gemma_viz_cache_hits", "What was found in a cache", labels=["cache"])
        misses = CounterMetricFamily("gemma_viz_cache_misses", "What was not found in a cache", labels=["cache"])
        for name, cache in state.caches.items():
            for metric, value in ((size, cache.bytes), (entries, cache.entries), (hits, cache.hits)):
                metric.add_metric([name], value)
            misses.add_metric([name], cache.misses)
        yield from (size, entries, hits, misses)


class _Memory(Collector):
    """Memory, measured when somebody looks."""

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "gemma_viz_resident_bytes", "Memory of this process", value=psutil.Process().memory_info().rss
        )
        yield GaugeMetricFamily(
            "gemma_viz_available_bytes", "Memory that this machine could still give", psutil.virtual_memory().available
        )
        # Only where a model is there already: to ask would take a few hundred megabytes of it.
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            yield from _gpu_memory()


def _gpu_memory() -> Iterator[Metric]:
    allocated = GaugeMetricFamily("gemma_viz_gpu_allocated_bytes", "Tensors of this process on a GPU", labels=["gpu"])
    free = GaugeMetricFamily("gemma_viz_gpu_free_bytes", "Memory of a GPU that nobody has", labels=["gpu"])
    for gpu in range(torch.cuda.device_count()):
        allocated.add_metric([str(gpu)], torch.cuda.memory_allocated(gpu))
        free.add_metric([str(gpu)], torch.cuda.mem_get_info(gpu)[0])
    yield from (allocated, free)


ENGINE = _Engine()
REGISTRY.register(ENGINE)
REGISTRY.register(_Memory())
