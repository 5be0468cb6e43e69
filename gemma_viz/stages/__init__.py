"""Stages: pure functions from a Capture to frozen values of small numpy arrays, ready to draw or to send.

One module for each page, under the same name, or a few where a page has several ideas. `Check` and `check`, which
every stage's code panel uses, are here.
"""

import inspect
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Generic, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from torch import Tensor

from gemma_viz.capture import Capture
from gemma_viz.places import from_start

Floats = npt.NDArray[np.float32]
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

TOGETHER = 16  # neighbouring tokens whose values are made together where that takes hardly longer than for one
LARGEST_REMEMBERED = 64 << 20  # bytes of one thing in a `Last`
CAPTURES_REMEMBERED = 2  # a page looks at a run, and at a changed one

# What an argument of a stage function counts, by its name, and how many of them the first argument has: a capture or,
# for what belongs to no text, a model.
PLACES: dict[str, tuple[str, Callable[[Any], int]]] = {
    "layer": ("layer", lambda of: _model(of).spec.n_layers),
    "head": ("head", lambda of: _model(of).spec.n_heads),
    "neuron": ("neuron", lambda of: _model(of).spec.d_mlp),
    "pair": ("pair", lambda of: _model(of).spec.d_head // 2),
    **dict.fromkeys(("position", "query", "key"), ("position", len)),
}


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

    @property
    def source(self) -> str:
        """The lines that ran, those of the parts first."""
        sources = (inspect.getsource(step).replace("  # fmt: skip", "") for step in (*self.parts, self.step))
        return "\n\n".join(sources)


class Last(Generic[T]):
    """What was made last of a few captures: pages ask for the same of one layer, or of one run, again and again.

    It goes when its capture goes. What is larger than `LARGEST_REMEMBERED` is not remembered.
    """

    def __init__(self) -> None:
        self._of: WeakKeyDictionary[Capture, tuple[Hashable, T]] = WeakKeyDictionary()

    def get(self, cap: Capture, key: Hashable, make: Callable[[], T], nbytes: int) -> T:
        """What `make` gives, or gave when it was last called for this capture, if the key was the same.

        nbytes: how large it is
        """
        known = self._of.get(cap)
        if known is not None and known[0] == key:
            return known[1]
        made = make()
        if nbytes <= LARGEST_REMEMBERED:
            self._of.pop(cap, None)
            if len(self._of) >= CAPTURES_REMEMBERED:
                self._of.clear()
            self._of[cap] = key, made
        return made


def counted(stage: Callable[P, R]) -> Callable[P, R]:
    """A stage function that is given its `PLACES` counted from the start, and raises IndexError for those outside.

    As with captures, negative ones count from the end.
    """
    signature = inspect.signature(stage)
    first, *others = signature.parameters

    @wraps(stage)
    def from_the_start(*args: P.args, **kwargs: P.kwargs) -> R:
        given = signature.bind(*args, **kwargs).arguments
        for name in filter(PLACES.__contains__, others):
            what, n_of = PLACES[name]
            if given.get(name) is not None:
                given[name] = from_start(given[name], n_of(given[first]), what)
        return stage(**given)  # type: ignore[call-arg]

    return from_the_start


def _model(of: Any) -> Any:
    return getattr(of, "model", of)


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


def around(position: int, n: int, width: int, step: int = 1) -> range:
    """The `width` positions around one, moved inwards at both ends of n positions.

    step: so many neighbours have the same positions around them
    """
    start = max(0, min(position - position % step - (width - step + 1) // 2, n - width))
    return range(start, min(n, start + width))


def neighbours(position: int, n: int) -> range:
    """The positions, one of them, that are looked at together, of n: the same for all of them."""
    return around(position, n, TOGETHER, TOGETHER)
