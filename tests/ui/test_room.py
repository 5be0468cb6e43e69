"""The room of what wraps."""

import pytest

from gemma_viz.ui.room import NARROW, WIDE, chip, room


@pytest.mark.parametrize(
    ("widths", "wide", "narrow"),
    [
        ([], 1, 1),
        ([100] * 3, 1, 1),
        ([100] * 4, 1, 2),
        ([100] * 100, 4, 4),
        ([WIDE], 1, 1),
        ([NARROW, 1], 1, 2),
        ([2 * WIDE, 2 * WIDE], 2, 2),
    ],
)
def test_rows_are_filled_one_after_the_other(widths: list[float], wide: int, narrow: int) -> None:
    assert room("tokens", widths, gap=5) == f"tokens-wide{wide}-narrow{narrow}"


def test_a_wide_character_takes_the_place_of_two() -> None:
    chips = [chip(text, character=8, narrowest=20, around=10) for text in ("a", "abcd", "日本")]
    assert chips == [30, 42, 42]
