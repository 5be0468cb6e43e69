"""The notice that goes wherever this project goes: its licence, and the Gemma terms for the weights."""

from importlib.metadata import distribution
from pathlib import Path


def notice() -> str:
    """The text of NOTICE: beside the package in a working tree, with the package's metadata once it is installed."""
    beside = Path(__file__).parents[1] / "NOTICE"
    if beside.is_file():
        return beside.read_text(encoding="utf-8")
    return distribution("gemma-viz").read_text("licenses/NOTICE") or ""
