"""Sampling: from the logits of the next token to one token.

The steps and their order are those of transformers' `generate`: repetition penalty, temperature, top-k, top-p, min-p.
Each goes from logits to logits; a token that can no longer be drawn has the logit -inf. Then the tokens are laid side
by side on the line from 0 to 1, each as wide as its probability, the likeliest first, and a random number picks the
one it falls on. The number depends on seed and step only, so the same settings choose the same tokens again.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gemma_viz.errors import SamplingError

LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn; the defaults draw from the model's own distribution.

    repetition_penalty: float above 0; the logits of tokens that are in the text are divided by it where positive and
        multiplied with it where negative; 1 changes nothing (arXiv:1909.05858)
    temperature: float from 0; logits are divided by it; 0 takes the likeliest token and draws nothing
    top_k: int from 0; only the k largest logits stay; 0 for all (arXiv:1805.04833)
    top_p: float from 0 to 1; only the likeliest tokens that together reach this probability stay; 1 for all
        (arXiv:1904.09751)
    min_p: float from 0 to 1; only tokens stay that are at least this many times as likely as the likeliest; 0 for all
        (arXiv:2407.01082)
    seed: int from 0

    Raises SamplingError for any other value.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        _refuse("temperature", self.temperature, "a number from 0", 0 <= self.temperature < math.inf)
        _refuse("top_k", self.top_k, "a whole number from 0", self.top_k >= 0)
        _refuse("top_p", self.top_p, "a number from 0 to 1", 0 <= self.top_p <= 1)
        _refuse("min_p", self.min_p, "a number from 0 to 1", 0 <= self.min_p <= 1)
        penalty = self.repetition_penalty
        _refuse("repetition_penalty", penalty, "a number above 0", 0 < penalty < math.inf)
        _refuse("seed", self.seed, f"a whole number from 0 to {LARGEST_SEED}", 0 <= self.seed <= LARGEST_SEED)


def choose(logits: Tensor, previous_ids: Sequence[int] | Tensor, sampling: Sampling, step: int = 0) -> int:
    """The id of the next token.

    logits: float [vocab_size]; previous_ids: int [position], the text so far
    step: int from 0, how many tokens have been drawn with this seed before
    """
    final = list(processed(logits, previous_ids, sampling).values())[-1]
    return int(pick(final, random_numbers(sampling.seed, step + 1)[step:]))


def processed(logits: Tensor, previous_ids: Sequence[int] | Tensor, sampling: Sampling) -> dict[str, Tensor]:
    """The logits after each step that does something, by its name, in order; the first are those given, as float32.

    logits: float [vocab_size], NaN and +inf are refused with SamplingError; previous_ids: int [position]
    """
    logits = logits.float().cpu()
    _refuse_broken(logits)
    after = {"the model": logits}
    for name, step in _steps(torch.as_tensor(previous_ids, dtype=torch.long), sampling).items():
        after[name] = logits = step(logits)
    return after


def random_numbers(seed: int, n: int) -> Tensor:
    """The first n numbers of a seed's sequence, from 0 to below 1: float64 [n]."""
    return torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pick(logits: Tensor, numbers: Tensor) -> Tensor:
    """The ids that random numbers fall on: int64 [number], from processed logits and float64 [number]."""
    ids, ends = lots(logits)
    return ids[torch.searchsorted(ends, numbers * ends[-1], right=True)]


def lots(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The tokens on the line from 0 to 1: ids [candidate], the likeliest first, and float64 [candidate], their ends."""
    probabilities = logits.double().softmax(-1)
    _refuse_broken(probabilities)
    candidates = probabilities.nonzero()[:, 0]
    widths, order = probabilities[candidates].sort(descending=True, stable=True)
    return candidates[order], widths.cumsum(0)


def _steps(previous_ids: Tensor, sampling: Sampling) -> dict[str, Callable[[Tensor], Tensor]]:
    """What the settings ask for, in the order in which it is done."""
    steps: dict[str, Callable[[Tensor], Tensor]] = {}
    if sampling.repetition_penalty != 1:
        steps["repetition penalty"] = lambda logits: _penalised(logits, previous_ids, sampling.repetition_penalty)
    if sampling.temperature == 0:
        return steps | {"greedy": _likeliest_only}
    if sampling.temperature != 1:
        steps["temperature"] = lambda logits: logits / sampling.temperature
    if sampling.top_k:
        steps["top-k"] = lambda logits: _top_k(logits, sampling.top_k)
    if sampling.top_p < 1:
        steps["top-p"] = lambda logits: _top_p(logits, sampling.top_p)
    if sampling.min_p:
        steps["min-p"] = lambda logits: _min_p(logits, sampling.min_p)
    return steps


def _penalised(logits: Tensor, previous_ids: Tensor, penalty: float) -> Tensor:
    repeated = logits[previous_ids]
    return logits.scatter(0, previous_ids, torch.where(repeated < 0, repeated * penalty, repeated / penalty))


def _likeliest_only(logits: Tensor) -> Tensor:
    return _without(logits, torch.arange(len(logits)) != logits.argmax())


def _top_k(logits: Tensor, k: int) -> Tensor:
    return _without(logits, logits < logits.topk(min(k, len(logits))).values[-1])


def _top_p(logits: Tensor, p: float) -> Tensor:
    ascending, ids = logits.sort()
    cut = ascending.softmax(-1).cumsum(-1) <= 1 - p  # summed from the unlikeliest on
    cut[-1] = False
    return _without(logits, torch.zeros_like(cut).scatter(0, ids, cut))


def _min_p(logits: Tensor, p: float) -> Tensor:
    probabilities = logits.softmax(-1)
    return _without(logits, probabilities < p * probabilities.max())


def _without(logits: Tensor, cut: Tensor) -> Tensor:
    return logits.masked_fill(cut, -math.inf)


def _refuse(name: str, value: float, wanted: str, accepted: bool) -> None:
    if not accepted:
        raise SamplingError(f"The {name} is {value}. It has to be {wanted}.")


def _refuse_broken(values: Tensor) -> None:
    """-inf is a token that cannot be drawn; NaN or +inf, or no number at all, leave nothing to draw from."""
    if values.isnan().any() or not values.max().isfinite():
        raise SamplingError(
            "The logits are not all numbers (NaN or infinite), so no token can be drawn from them. Try another "
            "prompt, or, where a temperature is very near 0, a higher one or 0 itself."
        )
