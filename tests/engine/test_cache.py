"""What is remembered stays within its bytes."""

from gemma_viz.engine.cache import Cache, CacheState


def test_what_was_not_asked_for_longest_goes_first() -> None:
    cache: Cache[str] = Cache(limit=10)
    for key in "abc":
        cache.put(key, key.upper(), 3)
    assert cache.get("a") == "A"
    cache.put("d", "D", 4)
    assert [key in cache for key in "abcd"] == [True, False, True, True]
    assert cache.state == CacheState(entries=3, bytes=10, hits=1, misses=0)


def test_what_is_larger_than_the_limit_is_not_remembered_and_drives_nothing_out() -> None:
    cache: Cache[str] = Cache(limit=10)
    cache.put("a", "A", 3)
    cache.put("b", "B", 11)
    assert (cache.get("a"), cache.get("b")) == ("A", None)
    assert cache.state.misses == 1


def test_the_same_key_is_remembered_once() -> None:
    cache: Cache[str] = Cache(limit=10)
    cache.put("a", "A", 6)
    cache.put("a", "other", 7)
    assert (cache.get("a"), cache.state.bytes, cache.values()) == ("other", 7, ["other"])


def test_it_shrinks_when_asked() -> None:
    cache: Cache[str] = Cache(limit=10)
    for key in "abc":
        cache.put(key, key, 3)
    cache.shrink(5)
    assert [key in cache for key in "abc"] == [False, False, True]
    cache.shrink(0)
    assert cache.state.bytes == cache.state.entries == 0
