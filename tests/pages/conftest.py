"""What the tests of pages share."""

from pathlib import Path

import pytest

from gemma_viz.memory import keep_for_good
from tests.pages.opened import FAMILIES


@pytest.fixture(scope="session", autouse=True)
def _spared_from_collection() -> None:
    """As the app's server does; without, runs of pages take half as long again."""
    keep_for_good()


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch, tiny_checkpoints: dict[str, Path]) -> list[str]:
    names = [str(tiny_checkpoints[family]) for family in FAMILIES]
    monkeypatch.setenv("GEMMA_VIZ_MODELS", ",".join(names))
    return names
