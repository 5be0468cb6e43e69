"""What all stages share."""

import pytest

from gemma_viz import stages


@pytest.mark.parametrize(
    ("position", "n", "width", "shown"),
    [(0, 100, 10, range(0, 10)), (99, 100, 10, range(90, 100)), (50, 100, 10, range(45, 55)), (1, 3, 10, range(0, 3))],
)
def test_a_window_is_moved_inwards_at_both_ends(position: int, n: int, width: int, shown: range) -> None:
    assert stages.around(position, n, width) == shown
