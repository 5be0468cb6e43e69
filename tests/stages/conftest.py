"""What the tests of stages share."""

from collections.abc import Callable
from typing import TypeVar

import pytest

import gemma_viz as gv
from tests.conftest import PROMPT


@pytest.fixture
def cap(tiny: gv.Model) -> gv.Capture:
    """The prompt, on each tiny model in turn."""
    return tiny.capture(PROMPT)


T = TypeVar("T")


def by_layer(function: Callable[[gv.Capture, int], T], cap: gv.Capture) -> list[T]:
    """What a stage function gives for each layer."""
    return [function(cap, layer) for layer in range(cap.model.spec.n_layers)]
