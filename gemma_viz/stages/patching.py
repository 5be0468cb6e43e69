"""Patching: what of a clean run's answer comes with one value, or goes with it, at every layer and token.

The measure is a logit difference, the clean run's answer less the corrupted one's, placed between the two runs.
Source: Wang et al., Interpretability in the Wild (arXiv:2211.00593), section 3; Heimersheim and Nanda
(arXiv:2404.15255), sections 2 and 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

import numpy as np

from gemma_viz.capture import Capture
from gemma_viz.patching import PatchKind, patched_heads_logits, patched_logits
from gemma_viz.stages import Floats, counted, to_numpy

# "denoise" puts values of the clean run into the corrupted one, "noise" the other way round.
Direction = Literal["denoise", "noise"]

SHOWN = 4  # of each run, side by side
LEAST_DIFFERENCE = 0.1  # logits between the two runs; of less there is nothing to recover


@dataclass(frozen=True)
class Answers:
    """What the two runs answer.

    clean, corrupted: int, ids of one token each
    shared: int or None, the id of the likeliest token of both, where it is the same; the answers are then the tokens
        whose probability in the one run is furthest above that in the other
    """

    clean: int
    corrupted: int
    shared: int | None


@dataclass(frozen=True)
class Pair:
    """Two runs, the answers that tell them apart, and which way values go.

    clean, corrupted: Capture, of the same number of tokens; answer, against: int, ids of the answers of the two
    """

    clean: Capture
    corrupted: Capture
    answer: int
    against: int
    direction: Direction

    @property
    def base(self) -> Capture:
        """The run that a value is put into."""
        return self.corrupted if self.direction == "denoise" else self.clean

    @property
    def source(self) -> Capture:
        """The run that it comes from."""
        return self.clean if self.direction == "denoise" else self.corrupted


@dataclass(frozen=True)
class PatchMap:
    """Logit differences of runs that take over one value, and where they lie between the two runs.

    direction: "denoise" or "noise"
    differences: float32 [layer, place], of the patched runs; a place is a position or a head
    clean, corrupted: float, of the runs as they are
    """

    direction: Direction
    differences: Floats
    clean: float
    corrupted: float

    @property
    def recovered(self) -> Floats:
        """float32 [layer, place]: 1 where the answer is as in the clean run, 0 where it is as in the corrupted one."""
        return (self.differences - self.corrupted) / np.float32(self.clean - self.corrupted)

    @property
    def moved(self) -> Floats:
        """float32 [layer, place]: the share of the way from the run that is patched to the other one."""
        return self.recovered if self.direction == "denoise" else 1 - self.recovered

    @property
    def furthest(self) -> tuple[int, int]:
        """The layer and the place that move it furthest."""
        layer, place = divmod(int(np.nan_to_num(self.moved).argmax()), self.moved.shape[1])
        return layer, place

    def furthest_at(self, place: int) -> int:
        """The layer that moves it furthest at a place."""
        return int(np.nan_to_num(self.moved[:, place]).argmax())


@dataclass(frozen=True)
class ThreeRuns:
    """The next token in the clean, the corrupted and the patched run.

    texts: tuple of str, the tokens that any of them ranks highest
    clean, corrupted, patched: float32 [len(texts)], their probabilities
    difference: float, the logit difference of the patched run
    """

    texts: tuple[str, ...]
    clean: Floats
    corrupted: Floats
    patched: Floats
    difference: float


def answers(clean: Capture, corrupted: Capture) -> Answers | None:
    """The next tokens that tell two runs apart; None where their logits are the same, or not all numbers."""
    ours, theirs = (cap.logits([-1])[0] for cap in (clean, corrupted))
    if not (ours.isfinite().all() and theirs.isfinite().all()):
        return None
    best, other_best = int(ours.argmax()), int(theirs.argmax())
    if best != other_best:
        return Answers(best, other_best, None)
    gained = ours.softmax(-1) - theirs.softmax(-1)
    favoured, other_favoured = int(gained.argmax()), int(gained.argmin())
    return Answers(favoured, other_favoured, best) if favoured != other_favoured else None


def logit_difference(cap: Capture, clean: int, corrupted: int) -> float:
    """The logit of the clean answer less that of the corrupted one, after the last token."""
    of_clean, of_corrupted = cap.logits([-1], [clean, corrupted])[0].tolist()
    return float(of_clean - of_corrupted)


@counted
def patched_differences(
    cap: Capture, layer: int, source: Capture, kind: PatchKind, head: int | None, clean: int, corrupted: int
) -> Floats:
    """Logit differences of `cap` with a value of `source` at each position in turn: float32 [position].

    clean, corrupted: ids of the answers. Raises EditsError for texts of different lengths.
    """
    logits = patched_logits(cap, source, kind, layer, [clean, corrupted], head)
    return to_numpy(logits[:, 0] - logits[:, 1])


@counted
def patched_heads_differences(
    cap: Capture, layer: int, source: Capture, position: int, clean: int, corrupted: int
) -> Floats:
    """The same with what each head reads at one position: float32 [head]."""
    logits = patched_heads_logits(cap, source, layer, position, [clean, corrupted])
    return to_numpy(logits[:, 0] - logits[:, 1])


def patch_map(direction: Direction, by_layer: Sequence[Floats], clean: float, corrupted: float) -> PatchMap:
    """The differences of all layers, put together."""
    return PatchMap(direction, np.stack(by_layer), clean, corrupted)


def can_be_placed(clean: float, corrupted: float) -> bool:
    """Whether two logit differences are far enough apart for others to be placed between them."""
    return bool(abs(clean - corrupted) >= LEAST_DIFFERENCE)  # False for NaN


def three_runs(clean: Capture, corrupted: Capture, patched: Capture, answer: int, against: int) -> ThreeRuns:
    """What is likeliest to come next after the last token, side by side."""
    probabilities = [cap.logits([-1])[0].softmax(-1) for cap in (clean, corrupted, patched)]
    best = [id for run in probabilities for id in run.topk(SHOWN).indices.tolist()]
    ids = list(dict.fromkeys([answer, against, *best]))
    of_clean, of_corrupted, of_patched = (to_numpy(run[ids]) for run in probabilities)
    return ThreeRuns(
        texts=tuple(map(clean.model.token_text, ids)),
        clean=of_clean,
        corrupted=of_corrupted,
        patched=of_patched,
        difference=logit_difference(patched, answer, against),
    )


def aligned(clean: Capture, corrupted: Capture) -> list[tuple[str, str]]:
    """The tokens of two texts, side by side where they are the same; an empty label where one has no counterpart."""
    ours, theirs = ([token.label for token in cap.tokens] for cap in (clean, corrupted))
    pairs: list[tuple[str, str]] = []
    for _, start, stop, their_start, their_stop in SequenceMatcher(None, ours, theirs, False).get_opcodes():
        mine, others = ours[start:stop], theirs[their_start:their_stop]
        n = max(len(mine), len(others))
        pairs += zip(mine + [""] * (n - len(mine)), others + [""] * (n - len(others)), strict=True)
    return pairs


def differing(clean: Capture, corrupted: Capture) -> list[int]:
    """The positions at which two texts of the same length have different tokens."""
    return [int(i) for i in (clean.token_ids != corrupted.token_ids).nonzero()]
