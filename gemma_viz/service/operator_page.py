"""The metrics as a page for people: plain HTML without scripts, made anew at every look."""

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from prometheus_client import CollectorRegistry
from prometheus_client.samples import Sample

REFRESH_SECONDS = 10

Row = tuple[str, ...]

OUTCOMES = {
    "done": "done",
    "busy": "refused as busy",
    "limited": "refused as too many in a minute",
    "cancelled": "cancelled",
    "timed_out": "stopped at the time limit",
    "failed": "failed",
}


def page(registry: CollectorRegistry, is_ready: bool, sentence: str) -> str:
    """The page as HTML.

    registry: `metrics.REGISTRY`; is_ready, sentence: how it stands, as `/ready` says it
    """
    seen = _Samples(registry)
    return _template().render(
        is_ready=is_ready,
        sentence=sentence,
        refresh=REFRESH_SECONDS,
        tables={
            "Now": (("", ""), list(_now(seen))),
            "Requests so far": (("outcome", "requests"), list(_requests(seen))),
            "Times so far": (("what", "times", "mean", "half within", "95% within"), list(_times(seen))),
            "Caches": (("cache", "holds", "entries", "found", "not found", "share found"), list(_caches(seen))),
            "Memory": (("", ""), list(_memory(seen))),
        },
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("gemma_viz.service", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("operator_page.html.jinja")


class _Samples:
    """The values of a registry at one moment, by name and label."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._samples = [sample for metric in registry.collect() for sample in metric.samples]

    def named(self, name: str) -> list[Sample]:
        return [sample for sample in self._samples if sample.name == f"gemma_viz_{name}"]

    def value(self, name: str, **labels: str) -> float:
        """0 where there is none."""
        return sum(sample.value for sample in self.named(name) if labels.items() <= sample.labels.items())

    def labels(self, name: str, label: str) -> list[str]:
        """The values of a label, each once, in alphabetical order."""
        return sorted({sample.labels[label] for sample in self.named(name)})


def _now(seen: _Samples) -> Iterator[Row]:
    yield "requests that wait", f"{seen.value('queue_length'):,.0f}"
    yield "requests in work", f"{seen.value('requests_in_work'):,.0f}"
    yield "tabs connected", f"{seen.value('sessions'):,.0f}"
    yield "models in memory", f"{seen.value('models_loaded'):,.0f}"


def _requests(seen: _Samples) -> Iterator[Row]:
    for outcome, words in OUTCOMES.items():
        yield words, f"{seen.value('requests_total', outcome=outcome):,.0f}"


def _times(seen: _Samples) -> Iterator[Row]:
    yield _time(seen, "waiting", "waiting_seconds")
    for stage in seen.labels("work_seconds_count", "stage"):
        yield _time(seen, f"work: {stage}", "work_seconds", stage=stage)


def _time(seen: _Samples, what: str, name: str, **labels: str) -> Row:
    n = seen.value(f"{name}_count", **labels)
    if not n:
        return what, "0", "", "", ""
    buckets = [
        (float(sample.labels["le"]), sample.value)
        for sample in seen.named(f"{name}_bucket")
        if labels.items() <= sample.labels.items()
    ]
    mean = seen.value(f"{name}_sum", **labels) / n
    return what, f"{n:,.0f}", _seconds(mean), *(_seconds(quantile(buckets, share)) for share in (0.5, 0.95))


def quantile(buckets: Iterable[tuple[float, float]], share: float) -> float:
    """The time within which a share of all came, by a line through the bucket that it lies in.

    buckets: upper edge in seconds (the last is infinite) and how many came up to it, growing, not all 0
    share: 0 to 1. Beyond the last edge that is a number the answer is that edge: it took longer.
    """
    edges = [(0.0, 0.0), *sorted(buckets)]
    wanted = share * edges[-1][1]
    for (low, before), (high, until) in pairwise(edges):
        if until >= wanted and until > before:
            return low if high == float("inf") else low + (high - low) * (wanted - before) / (until - before)
    raise ValueError("Nothing has been counted yet.")


def _caches(seen: _Samples) -> Iterator[Row]:
    for name in seen.labels("cache_entries", "cache"):
        found, missed = (seen.value(f"cache_{kind}_total", cache=name) for kind in ("hits", "misses"))
        share = f"{found / (found + missed):.0%}" if found + missed else ""
        entries = f"{seen.value('cache_entries', cache=name):,.0f}"
        held = _bytes(seen.value("cache_bytes", cache=name))
        yield name, held, entries, f"{found:,.0f}", f"{missed:,.0f}", share


def _memory(seen: _Samples) -> Iterator[Row]:
    yield "this process", _bytes(seen.value("resident_bytes"))
    yield "still available", _bytes(seen.value("available_bytes"))
    for gpu in seen.labels("gpu_allocated_bytes", "gpu"):
        yield f"GPU {gpu}, tensors", _bytes(seen.value("gpu_allocated_bytes", gpu=gpu))
        yield f"GPU {gpu}, free", _bytes(seen.value("gpu_free_bytes", gpu=gpu))


def _seconds(value: float) -> str:
    return f"{value * 1000:,.0f} ms" if value < 1 else f"{value:,.1f} s"


def _bytes(value: float) -> str:
    for size, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if value >= size:
            return f"{value / size:,.1f} {unit}"
    return f"{value:,.0f} B"
