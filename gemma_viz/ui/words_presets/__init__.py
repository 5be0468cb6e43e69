"""The why-questions of the walk as experiments: what is asked, what is changed, and what each result says.

A module for each part of the walk. The questions follow Douglas Orr, "A transformer walk-through, with Gemma" (2024).
"""

from gemma_viz.edits import Edits
from gemma_viz.spec import ModelSpec
from gemma_viz.ui.words_presets import attention, layers, mlp, output, rope, stream
from gemma_viz.ui.words_presets.preset import Measure, Preset

__all__ = ["Measure", "Preset", "presets", "question_of"]

PARTS = (stream, attention, rope, mlp, layers, output)


def presets(spec: ModelSpec) -> dict[str, Preset]:
    """The questions that a model can answer, in the order of the walk, by their names in the address."""
    asked = ((name, question(spec)) for part in PARTS for name, question in part.QUESTIONS.items())
    return {name: preset for name, preset in asked if preset}


def question_of(edits: Edits, spec: ModelSpec) -> str | None:
    """The first question whose experiment makes this change, by its name in the address; None where none does."""
    for name, preset in presets(spec).items():
        if edits in [change for _, change in preset.changes.values()]:
            return name
    return None
