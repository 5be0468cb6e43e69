"""The room of a picture that wraps, kept free until the browser has drawn it: so nothing below it moves.

`page.css` makes heights of the rows that are expected; the picture's own script gives back what it does not need.
"""

from collections.abc import Sequence
from unicodedata import east_asian_width

WIDE, NARROW = 972, 350  # pixels beside the sidebar on a laptop, and on a phone
MOST_ROWS = 4  # further ones are scrolled to


def room(key: str, widths: Sequence[float], gap: float) -> str:
    """The key of a container with the room of some parts. widths, gap: pixels of the parts, and between two of them"""
    return f"{key}-wide{_n_rows(widths, gap, WIDE)}-narrow{_n_rows(widths, gap, NARROW)}"


def chip(text: str, character: float, narrowest: float, around: float) -> float:
    """The width of a text with something around it, in pixels.

    character: of one in a code font; narrowest: without what is around
    """
    columns = sum(2 if east_asian_width(one) in "WF" else 1 for one in text)
    return max(columns * character, narrowest) + around


def _n_rows(widths: Sequence[float], gap: float, across: float) -> int:
    rows, used = 1, 0.0
    for width in widths:
        if used + width > across and used:
            rows, used = rows + 1, 0.0
        if rows == MOST_ROWS:
            break
        used += width + gap
    return rows
