"""Sampling: what each step between the logits and a choice does to the likeliest tokens after one position."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gemma_viz.capture import Capture
from gemma_viz.ranking import top_k
from gemma_viz.sampling import Sampling, lots, pick, processed, random_numbers
from gemma_viz.stages import Floats, counted, to_numpy

DRAWS = 1000
LIKELIEST = 16  # before the first step, and as many after the last


@dataclass(frozen=True)
class Choice:
    """The way from the logits after one position to one token.

    ids: tuple of int, the likeliest tokens before and after all steps, and the chosen one; in the order of the model's
        own probability. texts: tuple of str
    steps: tuple of str, "the model" and then the steps that the settings ask for
    probabilities: float32 [step, token], after each step; 0 where the token is cut
    cut: bool [step, token], whether the token can no longer be drawn
    candidates: int [step], how many of the vocabulary can be drawn; others: float32 [step], what they have together
        without `ids`
    lots: float64 [token, 2], where the token begins and ends on the line from 0 to 1 on which a random number falls;
        NaN where it is cut
    number: float, the random number; chosen: int, the index in `ids` of the token it fell on
    drawn: int [token], how often each came in `DRAWS` draws with the following numbers of the same seed, the first of
        them this one
    """

    ids: tuple[int, ...]
    texts: tuple[str, ...]
    steps: tuple[str, ...]
    probabilities: Floats
    cut: npt.NDArray[np.bool_]
    candidates: npt.NDArray[np.int64]
    others: Floats
    lots: npt.NDArray[np.float64]
    number: float
    chosen: int
    drawn: npt.NDArray[np.int64]


@counted
def choice(cap: Capture, position: int, sampling: Sampling) -> Choice:
    """Draw the token after a position, with the seed's number for it, as `gemma_viz.generation` does.

    Raises SamplingError where the logits are not numbers.
    """
    after = processed(cap.logits([position])[0], cap.token_ids[: position + 1], sampling)
    first, last = after["the model"], list(after.values())[-1]
    numbers = random_numbers(sampling.seed, position + DRAWS)[position:]
    drawn = pick(last, numbers)
    line, ends = lots(last)
    best = top_k(first[None], LIKELIEST)[1][0].tolist()
    shown = {*best, *line[:LIKELIEST].tolist(), int(drawn[0])}
    ids = sorted(shown, key=lambda id: (-float(first[id]), id))
    probabilities = np.stack([to_numpy(logits.softmax(-1)[ids]) for logits in after.values()])
    return Choice(
        ids=tuple(ids),
        texts=tuple(map(cap.model.token_text, ids)),
        steps=tuple(after),
        probabilities=probabilities,
        cut=np.stack([logits[ids].isneginf().numpy() for logits in after.values()]),
        candidates=np.array([int((~logits.isneginf()).sum()) for logits in after.values()]),
        others=np.maximum(0, 1 - probabilities.sum(1)),
        lots=_lots(ids, line.tolist(), ends.numpy()),
        number=float(numbers[0]),
        chosen=ids.index(int(drawn[0])),
        drawn=np.array([int((drawn == id).sum()) for id in ids]),
    )


def _lots(ids: list[int], line: list[int], ends: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Where tokens begin and end on the line: [token, 2]. line: the ids on it, in order; ends: [candidate]."""
    starts = np.concatenate([[0.0], ends[:-1]])
    places = {id: place for place, id in enumerate(line)}
    return np.array([(starts[places[id]], ends[places[id]]) if id in places else (np.nan, np.nan) for id in ids])
