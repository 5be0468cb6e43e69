"""What the tests of stages share."""

import pytest

import gemma_viz as gv
from tests.conftest import PROMPT


@pytest.fixture
def cap(tiny: gv.Model) -> gv.Capture:
    """The prompt, on each tiny model in turn."""
    return tiny.capture(PROMPT)
