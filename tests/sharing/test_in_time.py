"""Calls with a deadline take pages of siblings from the page cache, as their own; what changed meanwhile is never taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from lsmkv.testing import FailOp, FaultFileSystem, Hang
from lsmkv.testing.memfs import MemoryFileSystem
from tests.sharing.conftest import FIELDS, Root, keys, page, put
from tests.tensor_runtime.conftest import Call

SIZE = 40_000
SEGMENT = 512 << 10


@pytest.fixture
def root() -> Iterator[Root]:
    found = Root()
    found.fs = FaultFileSystem(MemoryFileSystem(page_cache=True))
    yield found
    found.fs.clear()
    found.close()


def member(root: Root, name: str, **changes: object):
    store = root.open(name, segment_bytes=SEGMENT, capacity_bytes=4 << 20, **changes)
    return store, store.namespace(FIELDS, SIZE)


def get(namespace, ids: Iterable[int], deadline_s: float = 5) -> tuple[set[int], set[int]]:
    """Which came, and which were copied; every byte is compared."""
    ids, copied = list(ids), set()
    out = np.zeros((len(ids), SIZE), np.uint8)
    flags = namespace.get_into(keys(ids), out, deadline_s, copied=copied)
    for at, flag in enumerate(flags):
        if flag:
            assert out[at].tobytes() == page(ids[at], size=SIZE)
    return {i for i, flag in zip(ids, flags, strict=True) if flag}, {ids[at] for at in copied}


def test_pages_of_siblings_are_copied_nowhere(root: Root) -> None:
    (_, a), (_, b), (third, c) = (member(root, name) for name in "abc")
    put(a, range(5))
    put(b, range(5, 8))
    put(c, range(8, 10))
    assert get(c, [*range(10), 50]) == (set(range(10)), set())
    shared = third.stats().sharing
    assert (shared.hits, shared.misses) == (8, 1)
    assert sorted(s.hits for s in shared.siblings) == [3, 5]
    assert (third.stats().hits, third.stats().misses) == (10, 1)
    follower = root.follow()
    assert get(follower.namespace(FIELDS, SIZE), [*range(10), 50]) == (set(range(10)), set())
    assert follower.stats().sharing.hits == 10


def test_a_sibling_whose_disk_hangs_is_late_and_one_that_fails_is_asked_again(root: Root) -> None:
    (_, a), (second, b) = member(root, "a"), member(root, "b")
    put(a, range(4))
    put(b, range(4, 6))
    rule = root.fs.add(Hang("fetch", path="*/a/*"))
    call = Call(lambda: get(b, range(6), 9))
    assert rule.reached.wait(60)
    root.clock.advance(10)
    assert call.result() == (set(), set()), "one part"
    assert second.stats().late_pages == 6
    root.fs.clear()
    rule.event.set()
    root.fs.add(FailOp("fetch", path="*/a/*"))
    assert get(b, range(6)) == (set(range(6)), set(range(4)))


def test_a_segment_that_is_written_anew_between_fetching_and_taking(root: Root) -> None:
    (first, a), (_, b) = member(root, "a"), member(root, "b")
    put(a, range(30))
    there = set(range(30))
    others = iter(range(1000, 2000))

    def churn(op: str, path: str) -> None:
        """The writer overwrites its segments just before they are read."""
        if op == "preadv_cached" and "/a/" in path:
            root.fs.inner.on_op = None
            while first.stats().recycled_segments < 12:
                put(a, [next(others)])

    root.fs.inner.on_op = churn
    got, copied = get(b, range(30))
    assert first.stats().recycled_segments >= 12
    assert got < there
    assert got == set(np.flatnonzero(a.contains(keys(range(30)))).tolist())
    assert copied <= got
