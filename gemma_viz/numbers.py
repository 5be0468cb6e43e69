"""How numbers, and heads by theirs, are written in texts and on charts. The minus is “−”, as on plotly's own axes."""

import math

SMALLEST_SHARE = 1e-5


def percent(probability: float) -> str:
    """12.3%, with more digits where it is small.

    >>> percent(0.1234), percent(0.00042), percent(1e-9)
    ('12.3%', '0.042%', 'less than 0.001%')
    """
    if math.isnan(probability):
        return "not a number"
    if 0 < probability < SMALLEST_SHARE:
        return "less than 0.001%"
    return f"{probability * 100:.1f}%" if probability >= 0.001 else f"{probability * 100:.2g}%"


def fixed(number: float, digits: int) -> str:
    """A number with so many digits after the point; one that is smaller than they show is said to be.

    >>> fixed(-1.5, 2), fixed(0.00002, 3), fixed(0, 3)
    ('−1.50', 'less than 0.001', '0.000')
    """
    written = f"{number:,.{digits}f}"
    if number > 0 and float(written.replace(",", "")) == 0:
        return f"less than {10**-digits:.{digits}f}"
    return written.replace("-", "−")


def signed(number: float, digits: int) -> str:
    """A number with its sign and so many digits after the point.

    >>> signed(-1.5, 2), signed(0.25, 1)
    ('−1.50', '+0.2')
    """
    return f"{number:+,.{digits}f}".replace("-", "−")


def head_label(layer: int, head: int) -> str:
    """A head in a list or in a small picture; a sentence says "layer 5, head 3".

    >>> head_label(5, 3)
    'L5 H3'
    """
    return f"L{layer} H{head}"
