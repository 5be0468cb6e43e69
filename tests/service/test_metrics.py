"""Memory is measured when somebody looks; a GPU only where a model is on one."""

import psutil
import pytest
import torch
from prometheus_client import generate_latest

from gemma_viz.service.metrics import OUTCOMES, REGISTRY
from gemma_viz.service.operator_page import OUTCOMES as OUTCOMES_IN_WORDS
from gemma_viz.service.operator_page import page


def test_the_memory_of_this_process_is_measured() -> None:
    shown = REGISTRY.get_sample_value("gemma_viz_resident_bytes")
    assert shown == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)


def test_a_gpu_is_not_touched_for_its_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda gpu: pytest.fail("this would begin to use the GPU"))
    assert "gemma_viz_gpu" not in generate_latest(REGISTRY).decode()


def test_each_gpu_has_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda gpu: (gpu + 5) << 30)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda gpu: ((gpu + 7) << 30, 80 << 30))
    assert REGISTRY.get_sample_value("gemma_viz_gpu_allocated_bytes", {"gpu": "1"}) == 6 << 30
    html = page(REGISTRY, True, "Loaded.")
    assert "GPU 1, free" in html
    assert "8.0 GiB" in html


def test_every_outcome_is_counted_from_the_start_and_has_words() -> None:
    assert set(OUTCOMES_IN_WORDS) == set(OUTCOMES)
    for outcome in OUTCOMES:
        assert REGISTRY.get_sample_value("gemma_viz_requests_total", {"outcome": outcome}) is not None
