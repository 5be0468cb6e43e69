"""The version of this package, for pyproject.toml and for what it writes."""

__version__ = "0.1.0"
