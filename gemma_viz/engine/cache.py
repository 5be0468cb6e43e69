"""What is remembered, bounded in bytes."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from gemma_viz.service.metrics import CacheState

Value = TypeVar("Value")


class Cache(Generic[Value]):
    """Values by key; those not asked for longest go when the rest would be larger than the limit. For many threads."""

    def __init__(self, limit: int):
        self.limit = limit  # bytes
        self._kept: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._bytes = self._hits = self._misses = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Value | None:
        """The value of a key, or None where it is not, or no longer, there."""
        with self._lock:
            if key not in self._kept:
                self._misses += 1
                return None
            self._hits += 1
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._kept

    def put(self, key: Hashable, value: Value, size: int) -> None:
        """Remember a value of so many bytes; one that is larger than the limit by itself is not."""
        with self._lock:
            self._forget(key)
            if size > self.limit:
                return
            self._make_room(self.limit - size)
            self._kept[key] = value, size
            self._bytes += size

    def shrink(self, to_bytes: int) -> None:
        """Forget what was not asked for longest, until no more than so many bytes are left."""
        with self._lock:
            self._make_room(to_bytes)

    def values(self) -> list[Value]:
        """All that is there, what was asked for last at the end."""
        with self._lock:
            return [value for value, _ in self._kept.values()]

    @property
    def state(self) -> CacheState:
        """What is there now, and how often it was of use."""
        with self._lock:
            return CacheState(len(self._kept), self._bytes, self._hits, self._misses)

    def _make_room(self, to_bytes: int) -> None:
        while self._kept and self._bytes > to_bytes:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: Hashable) -> None:
        if key in self._kept:
            self._bytes -= self._kept.pop(key)[1]
