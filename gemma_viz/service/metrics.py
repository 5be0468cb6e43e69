"""What the operator can watch, as Prometheus metrics, all in one place.

The engine and the app set them; `health.py` gives them out. A unit is part of a name, as is usual: seconds, bytes.
Metrics hold numbers and names of our own only, never what a visitor typed.
"""

from collections.abc import Iterator

import psutil
import torch
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

REGISTRY = CollectorRegistry()
"""Of this app alone, so that no library adds to it."""

# From a page out of the cache to the longest work that anybody waits for.
SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)

OUTCOMES = ("done", "busy", "cancelled", "timed_out", "failed")
"""How a request ends: with its values, refused because the queue was full, given up by its visitor, stopped at the
time limit, or with an error."""

QUEUE_LENGTH = Gauge("gemma_viz_queue_length", "Requests that wait for their turn", registry=REGISTRY)
IN_WORK = Gauge("gemma_viz_requests_in_work", "Requests that the model works on", registry=REGISTRY)
WAITING_SECONDS = Histogram(
    "gemma_viz_waiting_seconds", "From a request to the begin of its work", buckets=SECONDS, registry=REGISTRY
)
WORK_SECONDS = Histogram(
    "gemma_viz_work_seconds", "Work on a request, by stage", ("stage",), buckets=SECONDS, registry=REGISTRY
)
REQUESTS = Counter("gemma_viz_requests", "Requests that ended, by outcome", ("outcome",), registry=REGISTRY)
CACHE_BYTES = Gauge("gemma_viz_cache_bytes", "What a cache holds", ("cache",), registry=REGISTRY)
CACHE_ENTRIES = Gauge("gemma_viz_cache_entries", "How many entries a cache holds", ("cache",), registry=REGISTRY)
CACHE_HITS = Counter("gemma_viz_cache_hits", "What was found in a cache", ("cache",), registry=REGISTRY)
CACHE_MISSES = Counter("gemma_viz_cache_misses", "What was not found in a cache", ("cache",), registry=REGISTRY)
MODELS_LOADED = Gauge("gemma_viz_models_loaded", "Models in memory", registry=REGISTRY)
SESSIONS = Gauge("gemma_viz_sessions", "Tabs that are connected", registry=REGISTRY)
READY = Gauge("gemma_viz_ready", "Whether the default model is loaded", registry=REGISTRY)

for _outcome in OUTCOMES:
    REQUESTS.labels(_outcome)  # a rate of something that has not happened yet is 0, not missing


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


REGISTRY.register(_Memory())
