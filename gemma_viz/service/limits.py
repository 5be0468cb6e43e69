"""How many runs of the model a visitor may ask for in a minute, who the visitor is, and how many pages are drawn."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from math import ceil
from threading import Lock, Thread

from gemma_viz.errors import Busy, TooManyRequests
from gemma_viz.service.settings import Network

Address = IPv4Address | IPv6Address

WINDOW_SECONDS = 60.0


class RateLimit:
    """A moving window over each key's last minute, in memory.

    Keys whose minute has passed are forgotten, so that memory is bounded by what one minute can hold.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic):
        self._now = now
        self._times: dict[str, deque[float]] = {}
        self._lock = Lock()
        self._cleaned = now()

    def __len__(self) -> int:
        return len(self._times)

    def admit(self, limits: Sequence[tuple[str, int]]) -> None:
        """Count one request for every key, or none where one of them has had all of its own.

        limits: keys, and how many requests each may make in a minute; 0 for no limit

        Raises TooManyRequests.
        """
        limits = [(key, most) for key, most in limits if most]
        with self._lock:
            now = self._now()
            self._forget(now)
            waits = [self._wait(key, most, now) for key, most in limits]
            if waits and max(waits) > 0:
                seconds = ceil(max(waits))
                unit = "second" if seconds == 1 else "seconds"
                raise TooManyRequests(f"Too many requests in a minute: try again in {seconds} {unit}.")
            for key, _ in limits:
                self._times.setdefault(key, deque()).append(now)

    def _wait(self, key: str, most: int, now: float) -> float:
        """Seconds until this key may go on."""
        times = self._times.get(key, deque())
        while times and times[0] <= now - WINDOW_SECONDS:
            times.popleft()
        return times[-most] + WINDOW_SECONDS - now if len(times) >= most else 0.0

    def _forget(self, now: float) -> None:
        if now - self._cleaned < WINDOW_SECONDS:
            return
        self._cleaned = now
        oldest = now - WINDOW_SECONDS
        self._times = {key: times for key, times in self._times.items() if times and times[-1] > oldest}


class Places:
    """Pages that may be drawn at the same time, each by a thread of its own, which keeps its place until it ends."""

    def __init__(self, most: int):
        self._most = most
        self._threads: set[Thread] = set()
        self._lock = Lock()

    def take(self, thread: Thread) -> None:
        """Give a thread a place, if it has none. Raises Busy where all are taken."""
        with self._lock:
            self._threads = {thread for thread in self._threads if thread.is_alive()}
            if thread not in self._threads and len(self._threads) >= self._most:
                raise Busy("This server is busy drawing the pages of others. Try again in a moment.")
            self._threads.add(thread)


def origin(peer: str | None, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> Address | None:
    """From where a visitor comes: the peer, or what proxies that are believed say of it; None where that is no address.

    peer: who has connected; None for this machine
    forwarded_for: the values of the X-Forwarded-For headers. Each proxy appends who has connected to it, so the
        entries are read from the end, as long as a trusted proxy vouches for them: what a visitor sends comes before.
    """
    address = _parsed(peer or "127.0.0.1")
    hops = [_parsed(hop.strip()) for value in forwarded_for for hop in value.split(",")]
    for hop in reversed(hops):
        if address is None or hop is None or not any(address in network for network in trusted):
            break
        address = hop
    return address


def household(address: Address | None) -> str:
    """What is counted as one: a household has 2^64 addresses of the sixth version, so there it is the network."""
    return str(ip_network((address, 64), strict=False)) if isinstance(address, IPv6Address) else str(address)


def _parsed(text: str) -> Address | None:
    """A socket that listens for both versions sees 10.0.0.1 as ::ffff:10.0.0.1."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return (isinstance(found, IPv6Address) and found.ipv4_mapped) or found
