"""What the operator reads on the page is what the metrics say."""

import re

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gemma_viz.service.metrics import REGISTRY
from gemma_viz.service.operator_page import page, quantile


def rows(html: str) -> dict[str, list[str]]:
    """The cells of each row, by the row's name."""
    found = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', html)
    return {name: re.findall("<td>(.*?)</td>", cells) for name, cells in found}


def test_an_app_that_has_done_nothing_shows_zeros() -> None:
    shown = rows(page(CollectorRegistry(), True, "Loaded."))
    assert shown["requests that wait"] == ["0"]
    assert shown["waiting"] == ["0", "", "", ""]


def test_the_metrics_of_the_app_are_all_shown() -> None:
    shown = rows(page(REGISTRY, True, "Loaded."))
    assert {"requests in work", "tabs connected", "models in memory", "refused as busy", "this process"} <= shown.keys()
    assert shown["this process"][0].endswith("iB")


def test_work_is_shown_by_stage_and_caches_by_name() -> None:
    registry = CollectorRegistry()
    work = Histogram("gemma_viz_work_seconds", "work", ("stage",), buckets=(0.1, 1, 10), registry=registry)
    for seconds in (0.05, 0.05, 0.5, 6.4):
        work.labels("attention").observe(seconds)
    Gauge("gemma_viz_cache_bytes", "bytes", ("cache",), registry=registry).labels("captures").set(3 << 20)
    Gauge("gemma_viz_cache_entries", "entries", ("cache",), registry=registry).labels("captures").set(8)
    Counter("gemma_viz_cache_hits", "hits", ("cache",), registry=registry).labels("captures").inc(3)
    Counter("gemma_viz_cache_misses", "misses", ("cache",), registry=registry).labels("captures").inc()
    shown = rows(page(registry, True, "Loaded."))
    assert shown["work: attention"] == ["4", "1.8 s", "100 ms", "8.2 s"]
    assert shown["captures"] == ["3.0 MiB", "8", "3", "1", "75%"]


def test_a_name_from_elsewhere_is_text() -> None:
    registry = CollectorRegistry()
    Gauge("gemma_viz_cache_entries", "entries", ("cache",), registry=registry).labels("<script>").set(1)
    assert "&lt;script&gt;" in page(registry, True, "Loaded.")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_quantile_lies_in_the_bucket_of_the_true_one(share: float) -> None:
    seconds = np.random.default_rng(0).exponential(1.0, 10_000)
    edges = [0.1, 0.3, 1, 3, 10, float("inf")]
    buckets = [(edge, float((seconds <= edge).sum())) for edge in edges]
    true, read = np.quantile(seconds, share), quantile(buckets, share)
    assert np.searchsorted(edges, true) == np.searchsorted(edges, read)


def test_a_quantile_of_what_is_spread_evenly_is_exact() -> None:
    assert quantile([(1, 10.0), (3, 30.0), (float("inf"), 30.0)], 0.75) == pytest.approx(2.25)


def test_what_took_longer_than_the_last_edge_is_given_that_edge() -> None:
    assert quantile([(1, 0.0), (3, 0.0), (float("inf"), 5.0)], 0.5) == 3
