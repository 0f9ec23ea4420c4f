"""After an opening the background leaves nothing cold but the pages: the first get of each page reads it and nothing else."""

from __future__ import annotations

import errno

import pytest

from lsmkv.testing import FailOp
from lsmkv_tensor.vlog import ahead
from tests.tensor_runtime.conftest import lent
from tests.tensor_runtime.test_past_reads import SIZE, QueueingWorld

PAGES = range(60)


@pytest.fixture
def world():
    yield from lent(QueueingWorld())


def opened_again(world, **options):
    """A namespace of 60 pages in a store that was opened again, after the background has done what it does by itself."""
    world.filled(PAGES)
    world.store.close()
    store = world.open(**options)
    while store.step():
        pass
    world.let_go()
    return store.namespace({"m": 1}, SIZE)


def asked_of_the_disk(world, call):
    """Operations and kinds of files that a call touches."""
    asked = set()
    world.fs.inner.on_op = lambda op, path: asked.add((op, path.rpartition(".")[2]))
    try:
        call()
    finally:
        world.fs.inner.on_op = None
    return asked


@pytest.mark.parametrize("known", [32_768, 0])
def test_the_first_get_of_a_page_reads_the_page_and_nothing_else(world, known):
    """Whether places are remembered or the index's blocks are."""
    ns = opened_again(world, known_pages=known)
    assert len({s.number for s in world.store._space.segments.values() if s.pages}) > 1
    world.store._services.attempts.stop(60)  # nor is a thread called
    for i in PAGES:
        got = asked_of_the_disk(world, lambda i=i: world.get(ns, [i], deadline_s=5))
        assert {kind for _, kind in got} <= {"seg"}
        assert not any(op == "open" for op, _ in got)
    assert world.store.stats().hits == len(PAGES)


def test_without_a_cache_for_its_blocks_the_index_is_read_and_all_pages_come(world):
    ns = opened_again(world, block_cache_bytes=0, known_pages=0)
    got = asked_of_the_disk(world, lambda: world.get(ns, PAGES, deadline_s=5))
    assert "sst" in {kind for _, kind in got}
    assert world.store.stats().hits == len(PAGES)


def test_segments_that_cannot_be_opened_ahead_are_opened_by_those_who_read_them(world):
    world.filled(PAGES)
    world.store.close()
    store = world.open()
    rule = world.fs.add(FailOp("open", errno=errno.EMFILE, path="*.seg"))
    while store.step():
        pass
    assert not store._files._readers
    assert store.stats().upkeep_failures == 0
    world.fs.remove(rule)
    assert world.get(store.namespace({"m": 1}, SIZE), PAGES, deadline_s=5)[0] == set(PAGES)


def test_few_are_opened_at_a_time_those_that_hold_the_most_and_not_all(world, monkeypatch):
    world.filled(PAGES)
    world.store.close()
    store = world.open()
    monkeypatch.setattr(ahead, "STEP", 1)
    monkeypatch.setattr(ahead, "MOST", 2)
    files, segments = store._files, store._space.segments
    opening = ahead.OpenAhead(store._log, files)
    assert [opening.step(), len(files._readers)] == [True, 1]
    assert [opening.step(), len(files._readers)] == [False, 2]
    assert [opening.step(), len(files._readers)] == [False, 2]
    left = [s.live_bytes for n, s in segments.items() if n not in files._readers and s.pages]
    assert left
    assert min(segments[n].live_bytes for n in files._readers) >= max(left)
