"""Stages: pure functions from a Capture to frozen values of small numpy arrays, ready to draw or to send.

One module for each page, under the same name, or a few where a page has several ideas. `Check` and `check`, which
every stage's code panel uses, are here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Check:
    """A step of `gemma_viz.steps`, run on a capture's values and compared with the model's own result.

    step: the function that ran; parts: functions of `gemma_viz.steps` that it calls
    call: how it was called, in words of the page
    result: what it gave, for example "[4, 5, 256]"
    largest_difference: float, the largest absolute difference to the model's value
    largest_value: float, the largest absolute value there, to compare with
    """

    step: Callable[..., Any]
    call: str
    result: str
    largest_difference: float
    largest_value: float
    parts: tuple[Callable[..., Any], ...] = ()


def check(
    step: Callable[..., Tensor], call: str, mine: Tensor, models: Tensor, parts: tuple[Callable[..., Any], ...] = ()
) -> Check:
    """Compare what a step gave with the model's value, two float tensors of one shape."""
    return Check(
        step=step,
        call=call,
        result=f"{list(mine.shape)}",
        largest_difference=float((mine.float() - models.float()).abs().max()),
        largest_value=float(models.float().abs().max()),
        parts=parts,
    )


def to_numpy(tensor: Tensor) -> Floats:
    """float32, on the CPU."""
    return tensor.detach().float().cpu().numpy()


def rms(x: Tensor) -> Tensor:
    """Root of the mean square over the last axis."""
    return x.float().pow(2).mean(-1).sqrt()


def around(position: int, n: int, width: int) -> range:
    """The `width` positions around one, moved inwards at both ends of n positions."""
    start = max(0, min(position - width // 2, n - width))
    return range(start, min(n, start + width))
