"""Scripts and style sheets of our own components."""

from pathlib import Path


def joined(*names: str) -> str:
    """Files of this folder in one text, in this order: what several components share stands before their own."""
    return "".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in names)
