"""What the tests of pages share."""

from pathlib import Path

import pytest

from tests.pages.opened import FAMILIES


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch, tiny_checkpoints: dict[str, Path]) -> list[str]:
    names = [str(tiny_checkpoints[family]) for family in FAMILIES]
    monkeypatch.setenv("GEMMA_VIZ_MODELS", ",".join(names))
    return names
