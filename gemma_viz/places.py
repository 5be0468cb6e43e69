"""Places: layers, heads, positions and the like, by an index that may count from the end."""

from operator import index as whole


def from_start(index: int, n: int, what: str) -> int:
    """An index that may count from the end, counted from the start.

    Raises IndexError where it is none of n, and TypeError where it is no whole number.
    """
    if not -n <= whole(index) < n:
        raise IndexError(f"There is no {what} {index}: the {what}s are 0 to {n - 1}.")
    return whole(index) % n
