"""What the tests of pages share."""

from pathlib import Path

import pytest

from tests.pages.opened import FAMILIES


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch, tiny_checkpoints: dict[str, Path]) -> list[str]:
    names = [str(tiny_checkpoints[family]) for family in FAMILIES]
    monkeypatch.setenv("GEMMA_VIZ_MODELS", ",".join(names))
    return names


@pytest.fixture(autouse=True)
def _pages_without_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """All tests are one visitor to the app, who on a fast machine opens more pages in a minute than one may."""
    monkeypatch.setenv("GEMMA_VIZ_REQUESTS_PER_SESSION", "0")
    monkeypatch.setenv("GEMMA_VIZ_REQUESTS_PER_ADDRESS", "0")
