"""Generation: what it saves to keep keys and values, and that it changes nothing."""

import time
from dataclasses import dataclass

from torch import Tensor

from gemma_viz.capture import Capture
from gemma_viz.generation import NewToken, drawn, next_logits
from gemma_viz.sampling import Sampling
from gemma_viz.stages import Check, check
from gemma_viz.steps import greedy

TOKENS_CHECKED = 256
MEASUREMENTS = 3
NEW_TOKENS = 2  # by the written-out code, which runs the whole text again for each


@dataclass(frozen=True)
class Reuse:
    """One token more, by running it alone on kept keys and values, and by running the whole text again.

    n_positions: int, tokens of the whole text; seconds_alone, seconds_whole: float, the shortest of `MEASUREMENTS`
    bytes_kept: int, of the keys and values of all layers
    """

    n_positions: int
    seconds_alone: float
    seconds_whole: float
    bytes_kept: int


def next_token(cap: Capture, n_before: int, sampling: Sampling) -> NewToken:
    """One more token for a run that grew, token by token, from its first `n_before`: as `generation.generate` has it.

    Raises SamplingError where the logits are not numbers.
    """
    ids = cap.token_ids.tolist()
    return drawn(cap.model, cap.logits([-1])[0], ids, ids[n_before:], sampling)


def reuse(cap: Capture) -> Reuse:
    """Run the last token on the keys and values of those before it, and the whole text, and take the times."""
    kept = sum(keys.nbytes + values.nbytes for keys, values in cap.keys_values())
    return Reuse(len(cap), _seconds(cap, len(cap) - 1), _seconds(cap, 0), kept)


def _seconds(cap: Capture, n_kept: int) -> float:
    """How long the tokens after the first ones take on the keys and values of those."""
    times = []
    for _ in range(MEASUREMENTS):
        past, start = cap.past(n_kept), time.perf_counter()
        next_logits(cap, cap.token_ids[n_kept:], past)
        times.append(time.perf_counter() - start)
    return min(times)


def check_generation(cap: Capture) -> Check:
    """`steps.greedy`, which runs the whole text for every token, against going on with kept keys and values."""

    def logits_after(ids: Tensor) -> Tensor:
        return cap.model.capture_ids(ids.tolist(), cap.edits).logits([-1])[0]

    # From a little before its end, so that the text does not outgrow the model.
    start = cap.token_ids[: min(max(1, len(cap) - NEW_TOKENS), TOKENS_CHECKED)]
    longer = greedy(start, NEW_TOKENS, logits_after)
    past = cap.past(len(start))
    for id in longer[len(start) : -1]:
        kept = next_logits(cap, id[None], past)
    call = f"greedy(token_ids[:{len(start)}], {NEW_TOKENS}, logits_after), its last logits"
    return check(greedy, call, logits_after(longer[:-1]), kept)
