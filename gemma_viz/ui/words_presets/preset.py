"""What a why-question is, as an experiment, and how its result is read off the runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from gemma_viz.edits import Edits
from gemma_viz.spec import ModelSpec
from gemma_viz.stages.experiments import Outcome
from gemma_viz.ui.words import CLEARLY

Measure = Literal["answer", "most", "first"]

ANSWERS = {
    "stays": "The same token stays the likeliest",
    "other": "Another token becomes the likeliest",
    "none": "There is no prediction: the numbers run out of range",
}
NO_EFFECT = {
    "most": "None of them changes the prediction strongly",
    "first": "The likeliest token stays the same with all of them",
}


@dataclass(frozen=True)
class Preset:
    """A why-question of the walk, as an experiment.

    stage: str, where it belongs; question: str; step: str, what the model does there, in Markdown
    ask: str, what is to be foreseen
    changes: by a key, the name of a change (it completes "with …") and the Edits
    said: what a result says, in Markdown, by the key of a guess; only one is ever shown, and "none" often says it all
    measure: "answer": what becomes of the likeliest token, with the only change
        "most": which change does the most damage to the prediction; "none" if none does much
        "first": the first change, in their order, with which the likeliest token is another; "none" if with none
    loss_said: what it says that the loss on the prompt "falls" or "rises"; for a single change, where it says something
    """

    stage: str
    question: str
    step: str
    ask: str
    changes: Mapping[str, tuple[str, Edits]]
    said: Mapping[str, str]
    measure: Measure = "answer"
    loss_said: Mapping[str, str] = field(default_factory=dict)

    @property
    def guesses(self) -> dict[str, str]:
        """What can be foreseen, by key."""
        if self.measure == "answer":
            return ANSWERS
        named = {key: name[:1].upper() + name[1:] for key, (name, _) in self.changes.items()}
        return {**named, "none": NO_EFFECT[self.measure]}

    def result(self, outcomes: Sequence[Outcome]) -> str:
        """The key of the guess that is true. outcomes: of the changes, in their order."""
        keys = list(self.changes)
        if self.measure == "answer":
            return "none" if not outcomes[0].is_finite else "stays" if outcomes[0].keeps_the_answer else "other"
        if self.measure == "first":
            return next((key for key, one in zip(keys, outcomes, strict=True) if not one.keeps_the_answer), "none")
        worst = max(range(len(keys)), key=lambda i: outcomes[i].damage)
        return keys[worst] if outcomes[worst].damage >= CLEARLY else "none"


# By their names in the address; None where a model has nothing to ask about.
Questions = Mapping[str, Callable[[ModelSpec], Preset | None]]
