"""What a walk is about: a capture, the token that is followed, and the heads that are shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from gemma_viz.capture import Capture
from gemma_viz.edits import Edits
from gemma_viz.places import from_start
from gemma_viz.spec import ModelSpec
from gemma_viz.ui.words import code


@dataclass(frozen=True)
class Subject:
    """cap: Capture; position: int, from 0, the token that is followed

    places: tuple of (layer, head), the heads that are shown, at least one
    chosen: bool, whether somebody asked for these heads, or nothing speaks for one of them
    """

    cap: Capture
    position: int
    places: tuple[tuple[int, int], ...]
    chosen: bool

    @property
    def spec(self) -> ModelSpec:
        """The model's sizes."""
        return self.cap.model.spec

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The tokens as a person can read them."""
        return tuple(token.label for token in self.cap.tokens)

    @property
    def label(self) -> str:
        """The token that is followed, as a person can read it."""
        return self.labels[self.position]

    @property
    def token(self) -> str:
        """The same as inline code in Markdown."""
        return code(self.label)

    @cached_property
    def layers(self) -> tuple[int, ...]:
        """The layers that are shown, each once."""
        return tuple(dict.fromkeys(layer for layer, _ in self.places))

    @cached_property
    def has_prediction(self) -> bool:
        """Whether the logits after the token are numbers; a change of the model can make them overflow."""
        return bool(self.cap.logits([self.position]).isfinite().all())

    def rerun(self, edits: Edits) -> Capture:
        """The same tokens with more left out or changed. Raises EditsError where both changes cannot be had at once."""
        return self.cap.again(self.cap.edits.also(edits))


def places(cap: Capture, layers: Sequence[int], heads: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Every asked head of every asked layer; negative numbers count from the end. Raises IndexError for others."""
    spec = cap.model.spec
    return tuple(
        (from_start(layer, spec.n_layers, "layer"), from_start(head, spec.n_heads, "head"))
        for layer in layers
        for head in heads
    )
