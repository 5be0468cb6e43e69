"""What requests are made of: names for models and captures that say how to make them, and nothing of their values."""

from dataclasses import dataclass
from typing import Any

from gemma_viz.edits import UNCHANGED, Edits
from gemma_viz.patching import PatchKind


@dataclass(frozen=True)
class ModelKey:
    """A model, by the name that `gemma_viz.load` takes."""

    name: str


@dataclass(frozen=True)
class PatchKey:
    """A `gemma_viz.patching.Patch`, with the name of its source in place of the source."""

    source: "CaptureKey"
    kind: PatchKind
    layer: int
    position: int
    head: int | None = None


@dataclass(frozen=True)
class CaptureKey:
    """A run of a model over a text, or over token ids where its tokenizer would cut the text otherwise.

    model: str, the model's name; text: str, empty with ids; ids: tuple of int, or None
    """

    model: str
    text: str
    ids: tuple[int, ...] | None = None
    edits: Edits = UNCHANGED
    patch: PatchKey | None = None


@dataclass(frozen=True)
class Request:
    """Calls of one function of `gemma_viz.stages` or `gemma_viz.report`, each with its own arguments.

    function: str, "module:name"
    calls: tuple of argument tuples, in which keys stand for models and captures
    """

    function: str
    calls: tuple[tuple[Any, ...], ...]
