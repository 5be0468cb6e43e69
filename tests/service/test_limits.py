"""Requests per minute, and from where a visitor comes."""

from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from threading import Event, Thread, current_thread

import pytest

from gemma_viz.errors import Busy, TooManyRequests
from gemma_viz.service.limits import Places, RateLimit, household, origin
from gemma_viz.service.settings import Network

PROXIES = (ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def visitor_address(peer: str | None, forwarded_for: list[str], trusted: tuple[Network, ...]) -> str:
    return household(origin(peer, forwarded_for, trusted))


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def refused(limit: RateLimit, *limits: tuple[str, int]) -> str:
    with pytest.raises(TooManyRequests) as raised:
        limit.admit(limits)
    return str(raised.value)


def test_a_key_has_its_requests_in_any_minute_and_is_told_when_it_may_go_on() -> None:
    clock = Clock()
    limit = RateLimit(clock)
    for _ in range(3):
        limit.admit([("a", 3)])
        clock.time += 10
    assert "try again in 30 seconds" in refused(limit, ("a", 3))
    clock.time += 29.5
    assert "try again in 1 second." in refused(limit, ("a", 3))
    clock.time += 0.5
    limit.admit([("a", 3)])
    assert "try again in 10 seconds" in refused(limit, ("a", 3))


def test_who_is_refused_by_one_limit_uses_up_nothing_of_the_others() -> None:
    limit = RateLimit(Clock())
    limit.admit([("session", 1), ("address", 3)])
    for _ in range(5):
        refused(limit, ("session", 1), ("address", 3))
    limit.admit([("second", 1), ("address", 3)])
    limit.admit([("third", 1), ("address", 3)])
    assert "60 seconds" in refused(limit, ("fourth", 1), ("address", 3))


def test_zero_is_no_limit() -> None:
    limit = RateLimit(Clock())
    for _ in range(1000):
        limit.admit([("a", 0)])
    assert len(limit) == 0


def test_addresses_age_out() -> None:
    clock = Clock()
    limit = RateLimit(clock)
    for i in range(5000):
        limit.admit([(str(i), 5)])
    clock.time += 61
    limit.admit([("new", 5)])
    assert len(limit) == 1


def test_a_key_ages_out_though_its_last_request_was_refused() -> None:
    clock = Clock()
    limit = RateLimit(clock)
    for wait, key in ((5, "a"), (25, "b"), (30, "c")):  # the third one is when old keys are looked for
        clock.time += wait
        limit.admit([(key, 1)])
    clock.time += 6
    refused(limit, ("a", 1), ("b", 1))
    clock.time += 60
    limit.admit([("d", 1)])
    assert len(limit) == 1


@pytest.mark.usefixtures("eager_switching")
def test_threads_at_once_get_no_more_than_one_would() -> None:
    limit = RateLimit()

    def ask(_: int) -> bool:
        try:
            limit.admit([("a", 50)])
        except TooManyRequests:
            return False
        return True

    with ThreadPoolExecutor(16) as threads:
        assert sum(threads.map(ask, range(400))) == 50


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        (None, [], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("::ffff:127.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("10.1.1.1", ["203.0.113.7, 10.2.2.2"], "203.0.113.7"),
        ("10.1.1.1", ["203.0.113.7", "10.2.2.2"], "203.0.113.7"),
        ("10.1.1.1", [], "10.1.1.1"),
        ("10.1.1.1", ["10.9.9.9"], "10.9.9.9"),
    ],
)
def test_a_proxy_that_is_trusted_says_from_where_a_visitor_comes(
    peer: str | None, forwarded_for: list[str], address: str
) -> None:
    assert visitor_address(peer, forwarded_for, PROXIES) == address


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        ("10.1.1.1", ["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        ("10.1.1.1", ["127.0.0.1, 203.0.113.7, 10.2.2.2"], "203.0.113.7"),
        ("10.1.1.1", ["198.51.100.1, <script>"], "10.1.1.1"),
        ("10.1.1.1", ["198.51.100.1", ""], "10.1.1.1"),
    ],
)
def test_what_a_visitor_says_of_itself_is_not_believed(peer: str, forwarded_for: list[str], address: str) -> None:
    assert visitor_address(peer, forwarded_for, PROXIES) == address


def test_addresses_of_one_household_are_one() -> None:
    assert visitor_address("2001:db8:1:2:3::4", [], PROXIES) == visitor_address("2001:db8:1:2:ffff::", [], PROXIES)
    assert visitor_address("2001:db8:1:2::", [], PROXIES) != visitor_address("2001:db8:1:3::", [], PROXIES)
    assert visitor_address("fd00::1", ["2001:db8:1:2:3::4"], PROXIES) == "2001:db8:1:2::/64"


def test_a_peer_without_an_address_says_nothing_of_others() -> None:
    assert origin("testclient", ["203.0.113.7"], PROXIES) is None


def test_a_place_is_kept_until_its_thread_ends_and_then_given_to_another() -> None:
    places, end = Places(2), Event()
    threads = [Thread(target=end.wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    first, second, third = threads
    places.take(first)
    places.take(second)
    places.take(first)  # it draws another page
    with pytest.raises(Busy, match="busy drawing"):
        places.take(third)
    end.set()
    for thread in threads:
        thread.join()
    places.take(current_thread())
