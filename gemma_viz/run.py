"""One pass through a model, or the replay of one layer, and what it is to do.

A run can keep values (by reference, nothing is copied), can leave steps out or change them (`Edits`), and can have
values of another run put in the place of its own (`Injection`). A ContextVar says which run this thread is in; the
hooks of `gemma_viz.hooks` act for it.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gemma_viz.edits import Edits


class SeenEnough(Exception):
    """Ends a replay once the last value that was asked for is there; never leaves this package."""


@dataclass(frozen=True)
class Injection:
    """Vectors that take the place of what a layer makes, at one position in each row of a batch.

    name: "resid_pre", "attn_out", "mlp_out" or "z"
    positions: int64 [batch]; vectors: float [batch, d_model], of a head's z [batch, d_head]
    heads: int64 [batch], whose z; 0 for the others, which fill the whole width
    """

    name: str
    layer: int
    positions: Tensor
    vectors: Tensor
    heads: Tensor

    def into(self, value: Tensor) -> Tensor:
        """A copy of the value, [batch, position, n], with the vectors in their places."""
        by_head = torch.unflatten(value.clone(), -1, (-1, self.vectors.shape[-1]))  # [batch, position, head, d_head]
        by_head[torch.arange(len(value)), self.positions, self.heads] = self.vectors.to(value)
        return by_head.flatten(-2)


@dataclass
class Run:
    """One pass, or the replay of one layer, and what it is to do.

    keep: names of the values to keep
    edits: the steps to leave out or change
    until: the name of the value after which nothing more is needed; None runs to the end
    injections: what is put in the place of values
    lengths: of the texts that stand one after the other in the one row of the pass, which do not see each other; None
        for one text
    values: what was kept, by (name, layer), each with the batch axis the model gave it
    """

    keep: Collection[str]
    edits: Edits
    until: str | None = None
    injections: tuple[Injection, ...] = ()
    lengths: tuple[int, ...] | None = None
    values: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    def see(self, name: str, layer: int, value: Tensor) -> None:
        """Keep a value that was asked for. Raises SeenEnough where nothing after it was."""
        if name in self.keep:
            self.values[name, layer] = value
        if name == self.until:
            raise SeenEnough


_run: ContextVar[Run | None] = ContextVar("gemma_viz_run", default=None)


def current() -> Run | None:
    """The run that this thread is in; None in a plain forward pass."""
    return _run.get()


@contextmanager
def running(run: Run) -> Iterator[Run]:
    """Let the hooks of every model that this thread calls inside the block act for `run`."""
    token = _run.set(run)
    try:
        with torch.inference_mode(), suppress(SeenEnough):
            yield run
    finally:
        _run.reset(token)
