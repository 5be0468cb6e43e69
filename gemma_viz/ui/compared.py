"""What the Compare page puts side by side, as the visitor chooses it.

Parameters of the address: `against`, the kind of the other run; `other`, its prompt; `first_edits` and `second_edits`,
the changes of the two runs, as `Edits.to_text` writes them; `other_model`, a checkpoint.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from gemma_viz.checkpoints import label, offered_models
from gemma_viz.edits import UNCHANGED, Edits
from gemma_viz.figures.comparison import pair_label
from gemma_viz.stages.comparison import Aligned
from gemma_viz.ui import change, live, words_edits
from gemma_viz.ui.page import Page

KINDS = {"prompt": "another prompt", "edits": "a changed model", "model": "another model"}

# Each is another idea of the model's. What a visitor puts together on the Experiments page comes before them.
READY = (
    Edits(rope=False),
    Edits(causal_mask=False),
    Edits(window=2),
    Edits(pattern="uniform"),
    Edits(attention_norms=False),
    Edits(gate=False),
    Edits(weight_bits=4),
)

NO_OTHER_MODEL = (
    "Only one model is offered here. Whoever runs this app can offer others: set the environment variable "
    "`GEMMA_VIZ_MODELS` to names separated by commas, `embedded,google/gemma-2b` for example. The README says which "
    "models there are."
)


@dataclass(frozen=True)
class Compared:
    """Two runs. left is of the visitor's prompt; names: what they are called, in a few words of plain text"""

    kind: str
    left: live.Run
    right: live.Run
    names: tuple[str, str]

    @property
    def is_one_model(self) -> bool:
        """Whether both runs are by the same weights, changed or not."""
        return self.left.model == self.right.model

    def pair_labels(self, pairs: Sequence[tuple[int | None, int | None]]) -> list[str]:
        """Names of tokens that stand under each other, from their positions; None where there is none."""
        ours, theirs = self.left.tokens, self.right.tokens
        return [
            pair_label(None if left is None else ours[left].label, None if right is None else theirs[right].label)
            for left, right in pairs
        ]

    def column_labels(self, aligned: Aligned) -> list[str]:
        """Names of all columns of the alignment, after their last tokens."""
        return self.pair_labels(
            [
                (column.left[-1] if column.left else None, column.right[-1] if column.right else None)
                for column in aligned.columns
            ]
        )


def choose(page: Page) -> Compared | None:
    """Draw the controls and run what they ask for; None, with a note, where there is nothing to compare with.

    A change that the address holds is what is compared unless it says otherwise.
    """
    asked = change.asked_edits(page.view, page.run.model)
    kinds = list(KINDS) if asked == UNCHANGED else sorted(KINDS, key=lambda kind: kind != "edits")
    left, right = st.columns([1, 2], gap="large")
    with left:
        kind = page.view.choice("against", "Compare this run with", kinds, format_func=KINDS.__getitem__)
    with right:
        if kind == "prompt":
            return _with_other_prompt(page)
        return _with_edits(page, asked) if kind == "edits" else _with_other_model(page)


def _with_other_prompt(page: Page) -> Compared:
    text = page.view.text("other", "Other prompt", change.OTHER_PROMPT)
    other = live.capture(page.run.model, text)
    return Compared("prompt", page.run, other, ("this prompt", "the other prompt"))


def _with_edits(page: Page, asked: Edits) -> Compared:
    changes = {edits.to_text(): edits for edits in (asked, *READY) if edits != UNCHANGED}
    every = {"": UNCHANGED} | changes

    def name(text: str) -> str:
        return words_edits.described(every[text]) or "the model as it was trained"

    second = page.view.choice("second_edits", "Change", list(changes), format_func=name)
    first = page.view.choice("first_edits", "Beside", list(every), format_func=name)
    page.view.page_link("pages/9_Experiments.py", "Put together a change of your own", icon=":material/science:")
    base, changed = (live.edited(page.run, every[text]) if text else page.run for text in (first, second))
    first_name, second_name = (f"“{name(text)}”" if text else name(text) for text in (first, second))
    return Compared("edits", base, changed, (first_name, second_name))


def _with_other_model(page: Page) -> Compared | None:
    own = page.run.model.name
    others = [name for name in offered_models() if name != own]
    if not others:
        st.info(NO_OTHER_MODEL, icon=":material/info:")
        return None
    name = page.view.choice("other_model", "Other model", others, format_func=label)
    other = live.capture(live.model(name), page.run.text)
    return Compared("model", page.run, other, (label(own), label(name)))
