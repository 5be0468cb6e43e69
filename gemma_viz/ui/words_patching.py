"""Sentences of the patching page, made from its numbers."""

import math
from collections.abc import Sequence

import numpy as np

from gemma_viz.numbers import head_label
from gemma_viz.patching import PatchKind
from gemma_viz.stages import Floats
from gemma_viz.stages.patching import Direction, PatchMap, ThreeRuns
from gemma_viz.ui.words import NO_NUMBERS, code, counted, percent

HALF = 0.5
CLEARLY = 0.1  # of the way from one run to the other
HARDLY = 0.05

TAKEN: dict[PatchKind, str] = {
    "resid_pre": "the stream as it enters a layer",
    "attn_out": "what attention adds",
    "mlp_out": "what the MLP adds",
    "z": "what one head reads",
}

DIRECTIONS: dict[Direction, str] = {
    "denoise": "Denoising: a clean value into the corrupted run",
    "noise": "Noising: a corrupted value into the clean run",
}

NO_ANSWERS = (
    "**Two answers that tell the runs apart are not to be found:** their likeliest tokens are the same, or their "
    "logits are not all numbers. Type a word for each of them, or change a prompt."
)

OPENS: dict[Direction, str] = {
    "denoise": (
        "Open this very run on the other pages. The value goes into the corrupted run, so there the prompt is the "
        "corrupted one and the other prompt the clean one; Back brings you here again."
    ),
    "noise": (
        "Open this very run on the other pages. The value goes into the clean run, so there the prompt stays the clean "
        "one, and a banner says what was taken over."
    ),
}

EXPLAINED = """
**Denoising** puts one value of the clean run into the corrupted run. What brings the answer back is *enough* for it,
with all that later layers make of it. **Noising** puts one value of the corrupted run into the clean one. What takes
the answer away is *needed* for it: nothing else stands in for it.

The two need not agree. Where either of two values would do, each brings the answer back and neither is missed; where
both are needed, each is missed and neither is enough. The recovered shares of many cells are no parts of a whole, and
they do not add up to 1.

Everything before the first token in which the prompts differ is the same in both runs, so that nothing comes of
taking it over. The stream as it enters layer 0 is the embedding: to take that over is to replace the word.

Meng et al., *Locating and Editing Factual Associations in GPT* (arXiv:2202.05262), with noise in place of another
prompt; Wang et al., *Interpretability in the Wild* (arXiv:2211.00593), for the logit difference of two prompts;
Heimersheim and Nanda, *How to use and interpret activation patching* (arXiv:2404.15255), for the two directions.
"""


def other_lengths(n_clean: int, n_corrupted: int) -> str:
    """That the prompts cannot be patched place by place, and what to do, in Markdown."""
    more, less = ("clean", "other") if n_clean > n_corrupted else ("other", "clean")
    n_more = abs(n_clean - n_corrupted)
    return (
        f"**The clean prompt has {counted(n_clean, 'token')}, the other one {n_corrupted:,}.** A value is taken over "
        f"at the same place, so that both must have the same number: make the {more} one shorter by "
        f"{counted(n_more, 'token')} or the {less} one longer. Below, the same tokens stand above each other, and ≠ "
        "marks where the two part."
    )


def where_they_differ(positions: Sequence[int], clean: Sequence[str], corrupted: Sequence[str]) -> str:
    """In which tokens two prompts of one length differ, in Markdown. clean, corrupted: all labels."""
    shown = [f"token {i} ({code(clean[i])} or {code(corrupted[i])})" for i in positions[:5]]
    more = f" and {len(positions) - 5:,} more" if len(positions) > 5 else ""
    return f"Both have {counted(len(clean), 'token')}. They differ at {', '.join(shown)}{more}."


def what_is_compared(labels: tuple[str, str], shared: str) -> str:
    """Which two answers are measured, in Markdown. shared: the answer of both runs, where that is why, or ""."""
    compared = f"the logit of {code(labels[0])} less that of {code(labels[1])}, after the last token"
    if not shared:
        return f"Measured is the *logit difference*: {compared}."
    return (
        f"Both runs answer {code(shared)}, which does not tell them apart. Measured is instead the *logit difference* "
        f"of the two tokens whose probability in the one run is furthest above that in the other: {compared}. Type two "
        "words to measure others."
    )


def no_scale(clean: float, corrupted: float) -> str:
    """That patched runs cannot be placed between the two, in Markdown."""
    if not math.isfinite(clean - corrupted):
        return NO_NUMBERS
    return (
        f"**The two runs hardly differ in this:** the logit difference is {clean:.2f} in the clean one and "
        f"{corrupted:.2f} in the corrupted one, so there is nothing to recover. Type other answers, or change a prompt."
    )


def scale(clean: float, corrupted: float) -> str:
    """The two ends of the scale, in Markdown."""
    return (
        f"It is **{clean:.2f}** in the clean run and **{corrupted:.2f}** in the corrupted one. Of a patched run we say "
        "how far it has *recovered*: (its logit difference − corrupted) / (clean − corrupted). **1** is like the clean "
        "run, **0** like the corrupted one, and it can lie outside of the two."
    )


def outcome(values: PatchMap, labels: Sequence[str], differ: Sequence[int], kind: PatchKind) -> str:
    """What the map shows, in Markdown. labels: of the tokens of the run that is patched."""
    moved = np.nan_to_num(values.moved)
    layer, place = values.furthest
    best = float(values.recovered[layer, place])
    where = f"layer {layer}, token {place} {code(labels[place])}"
    if moved.max() < HARDLY:
        what = "brings anything back" if values.direction == "denoise" else "takes anything away"
        return f"**No single value {what}**: the furthest is {best:.2f}, at {where}."
    verb = "comes back" if values.direction == "denoise" else "is lost"
    said = f"**Most {verb} at {where}: {best:.2f}.**"
    if kind == "resid_pre":
        return " ".join([said, *_journey(moved, labels, differ, verb)])
    n_clearly = int((moved >= CLEARLY).sum())
    number = "One place moves" if n_clearly == 1 else f"{n_clearly:,} places move"
    return f"{said} {number} the answer by a tenth of the way or more, of {moved.size:,}."


def _journey(moved: Floats, labels: Sequence[str], differ: Sequence[int], verb: str) -> list[str]:
    """Up to which layer the token that differs carries the answer, and from which one the last token does."""
    said, last = [], len(labels) - 1
    if len(differ) == 1 and differ[0] != last:
        carried = _layers_from_the_start(moved[:, differ[0]] >= HALF)
        until = f"up to layer {carried - 1}" if carried else "at no layer from the start"
        said.append(f"With the stream of {code(labels[differ[0]])}, where they differ, half or more {verb} {until}.")
    arrived = len(moved) - _layers_from_the_start(moved[::-1, last] >= HALF)
    if arrived == len(moved):
        said.append(
            f"With the stream of the last token, {code(labels[last])}, less than half {verb} at the last layer."
        )
    else:
        from_ = "at every layer" if arrived == 0 else f"from layer {arrived} on"
        said.append(f"With the stream of the last token, {code(labels[last])}, half or more {verb} {from_}.")
    return said


def heads_outcome(values: PatchMap, label: str) -> str:
    """Which heads move the answer at one token, in Markdown."""
    moved = np.nan_to_num(values.moved)
    layer, head = values.furthest
    clearly = [head_label(i, j) for i, j in zip(*np.nonzero(moved >= CLEARLY), strict=True)]
    named = f"A tenth or more: {', '.join(clearly[:12])}{' …' if len(clearly) > 12 else ''}."
    return (
        f"At {code(label)} **layer {layer}, head {head}** moves the answer furthest, to "
        f"{values.recovered[layer, head]:.2f}. " + (named if clearly else "No head moves it by a tenth of the way.")
    )


def cell(values: ThreeRuns, labels: Sequence[str], recovered: float) -> str:
    """What the patched run predicts, in Markdown."""
    best = int(values.patched.argmax())
    likeliest = f"{code(labels[best])} ({percent(float(values.patched[best]))})"
    as_in = [
        name for name, run in (("clean", values.clean), ("corrupted", values.corrupted)) if int(run.argmax()) == best
    ]
    same = f", as in the {' and the '.join(as_in)} run" if as_in else ", as in neither of the other runs"
    return (
        f"The patched run's likeliest next token is {likeliest}{same}. Its logit difference is "
        f"**{values.difference:.2f}**, recovered **{recovered:.2f}**."
    )


def _layers_from_the_start(holds: np.ndarray) -> int:
    """How many of the first layers hold without a gap."""
    gaps = np.flatnonzero(~holds)
    return int(gaps[0]) if len(gaps) else len(holds)
