"""Garbage collection moves survivors, never resurrects, and says what it did or why it did nothing."""

from __future__ import annotations

import threading

import pytest

from lsmkv.env.rng import seeded
from lsmkv.testing import FaultFileSystem, Hang, MemoryFileSystem
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.vlog.gc import next_victim
from lsmkv_tensor.vlog.segment import ACTIVE, FREE, SEALED, Segment
from tests.tensor_pages.conftest import World

SIZE = 4000
PER_SEGMENT = 13


def filled(world, segments: int = 3):
    """A store with so many full segments, one page in three left alive."""
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    ids = range(segments * PER_SEGMENT)
    for s in range(segments):
        world.put(ns, ids[s * PER_SEGMENT : (s + 1) * PER_SEGMENT])
    ns.delete_many(world.keys(i for i in ids if i % 3))
    return store, ns, [i for i in ids if i % 3 == 0]


def test_survivors_move_and_segments_come_free(world):
    store, ns, alive = filled(world)
    report = store.gc()
    assert report.victims
    assert report.bytes_moved == report.bytes_read == 4096 * len(alive)
    assert report.bytes_freed == len(report.victims) * 65536 - report.bytes_moved
    assert 0 < report.live_fraction < 0.5
    assert world.check(ns, range(100)) == set(alive)
    stats = store.stats()
    assert stats.pages == len(alive)
    assert stats.live_bytes == len(alive) * 4096
    assert stats.gc_moved_bytes == report.bytes_moved
    ns = world.reopen().namespace({"m": 1}, SIZE)
    assert world.check(ns, range(100)) == set(alive)


def test_it_says_why_it_did_nothing(world):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    assert "no segment is sealed" in store.gc().reason
    for s in range(2):
        world.put(ns, range(s * PER_SEGMENT, (s + 1) * PER_SEGMENT))
    report = store.gc()
    assert report.victims == ()
    assert "81% alive, the limit is 75%" in report.reason
    with pytest.raises(InvalidArgumentError, match="max_live"):
        store.gc(max_live=1.0)


def test_a_full_store_can_collect_with_its_spare_segment(world):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    usable = store.stats().segments_max - 1
    ids = range(usable * PER_SEGMENT)
    for s in range(usable):
        world.put(ns, ids[s * PER_SEGMENT : (s + 1) * PER_SEGMENT])
    gone = {i for i in ids if i % 13 < 6}
    ns.delete_many(world.keys(gone))
    report = store.gc()
    assert len(report.victims) >= 2, report.reason
    assert store.stats().evicted_pages == 0
    assert world.check(ns, ids) == set(ids) - gone
    before = store.stats().evicted_pages
    assert all(world.put(ns, range(1000, 1013)))
    assert store.stats().evicted_pages == before


class Once:
    """Do something in the middle of a collection: when it syncs its copies, which it does without holding the lock."""

    def __init__(self, world, action):
        self.action = action
        self.lock = world.store._log.lock
        world.fs.on_op = self

    def __call__(self, op, path):
        if op == "sync" and path.endswith(".seg") and not self.lock.locked() and self.action is not None:
            action, self.action = self.action, None
            action()


def test_a_page_deleted_between_copy_and_commit_stays_deleted(world):
    store, ns, alive = filled(world)
    some = {alive[0], alive[5], alive[10]}  # one of every segment, whichever is being moved
    once = Once(world, lambda: ns.delete_many(world.keys(some)))
    store.gc()
    assert once.action is None
    left = set(alive) - some
    assert world.check(ns, range(100)) == left
    assert store.stats().pages == len(left)
    ns = world.reopen().namespace({"m": 1}, SIZE)
    assert world.check(ns, range(100)) == left


def test_a_page_replaced_between_copy_and_commit_keeps_its_new_bytes(world):
    store, ns, alive = filled(world)

    some = {alive[0], alive[5], alive[10]}

    def replace():
        ns.delete_many(world.keys(some))
        world.put(ns, some, salt=7)

    once = Once(world, replace)
    store.gc()
    assert once.action is None
    for _ in range(2):
        assert world.check(ns, some, salt=7) == some
        assert world.check(ns, set(alive) - some) == set(alive) - some
        store.gc()


def test_a_segment_that_holds_only_copies_is_not_taken_for_a_dead_one(world):
    """Until the index names them the copies are nobody's, and their segment has no live page."""
    world.segments = 4
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    world.put(ns, range(13))
    world.put(ns, range(13, 26))
    ns.delete_many(world.keys(range(4)))
    store._space.roll()
    move = store._log.move

    def flood_and_move(moves):
        store._log.move = move
        copies = store._space.segments[moves[0][2].segment]
        before = copies.generation
        world.put(ns, range(100, 113))
        world.put(ns, range(113, 126))
        assert (copies.generation, copies.state != FREE) == (before, True)
        return move(moves)

    store._log.move = flood_and_move
    store.gc()
    store._log.move = move
    there = world.check(ns, range(26)) | world.check(ns, range(100, 126))
    assert store.stats().corrupt_pages == 0
    assert store.stats().pages == len(list(ns.keys())) == len(there)
    for start in range(1000, 1130, 13):
        assert all(world.put(ns, range(start, start + 13)))
    assert all(s.copies == 0 for s in store._space.segments.values())


def test_copies_survive_a_put_that_seals_their_segment_while_others_are_free(world):
    store = world.open()
    ns, big = store.namespace({"m": 1}, SIZE), store.namespace({"big": 1}, 12 * 4096)
    for start in range(0, 5 * PER_SEGMENT, PER_SEGMENT):
        world.put(ns, range(start, start + PER_SEGMENT))
    ns.delete_many(world.keys(range(13, 24)))
    assert store.gc(max_live=0.5).victims
    ns.delete_many(world.keys([24, 25, *range(39, 50)]))
    sync_segment = store._space.sync_segment

    def put_after_sync(segment):
        sync_segment(segment)
        store._space.sync_segment = sync_segment
        assert world.put(big, [5000]) == [True]

    store._space.sync_segment = put_after_sync
    store.gc(max_live=0.5)
    assert world.check(ns, [50, 51]) == {50, 51}
    for start in range(1000, 1130, 13):
        assert all(world.put(ns, range(start, start + 13)))
    assert store.stats().pages == len(list(ns.keys())) + len(list(big.keys()))


def test_everything_evicted_between_copy_and_commit_stays_evicted(world):
    store, ns, alive = filled(world)
    told = []
    ns.on_evict(lambda keys, sizes: told.extend(keys))

    def flood():
        for s in range(8):
            world.put(ns, range(1000 + s * PER_SEGMENT, 1000 + (s + 1) * PER_SEGMENT))

    move = store._log.move

    def flood_and_move(moves):  # a seal waits for a running sync: not from within one
        store._log.move = move
        flood()
        return move(moves)

    store._log.move = flood_and_move
    store.gc()
    store._log.move = move
    left = world.check(ns, alive)
    assert left.isdisjoint(i for i in alive if world.key(i) in set(told))
    assert len(left) + len({*told} & {*world.keys(alive)}) == len(alive)
    assert store.stats().pages == len(list(ns.keys()))
    world.check(ns, range(1000, 1200))


def test_pages_can_be_read_while_they_move(world):
    store, ns, alive = filled(world)
    once = Once(world, lambda: world.check(ns, alive) == set(alive) or pytest.fail("a page was missing"))
    store.gc()
    assert once.action is None


def test_pages_are_written_while_the_log_is_synced_behind_a_segment_that_was_emptied():
    world = World(FaultFileSystem(MemoryFileSystem()), segments=8)
    store, ns, alive = filled(world)
    syncing = world.fs.add(Hang("sync", path="*.wal"))
    done = []
    threads = [
        threading.Thread(target=lambda: done.append(store.gc().victims)),
        threading.Thread(target=lambda: done.append(world.put(ns, [100]))),
    ]
    try:
        threads[0].start()
        assert syncing.reached.wait(9)
        writing = world.fs.add(Hang("pwritev", path="*.seg"))
        threads[1].start()
        assert writing.reached.wait(9), "it waits for the sync"
    finally:
        world.fs.clear()
        syncing.event.set()
        writing.event.set()
        for thread in threads:
            thread.join(9)
    assert sorted(map(len, done)) == [1, 3]
    assert world.check(ns, range(101)) == {*alive, 100}
    assert world.store.stats().pages == len(alive) + 1


def test_a_reader_that_looked_up_before_the_move_finds_the_page_at_its_new_place(world):
    store, ns, alive = filled(world)
    reader = store._reader
    read = reader._read

    def collect_then_read(wants):
        reader._read = read
        store.gc()
        for s in range(2):  # the old places are written over
            world.put(ns, range(1000 + s * PER_SEGMENT, 1000 + (s + 1) * PER_SEGMENT))
        return read(wants)

    reader._read = collect_then_read
    assert world.check(ns, alive) == set(alive)
    assert store.stats().corrupt_pages == 0


def test_a_damaged_survivor_stays_where_it_is_and_is_no_hindrance(world):
    store, ns, alive = filled(world)
    world.fs.open("/store/vlog/000001.seg", "rw").pwritev([b"?"], 2 * 4096)
    store.gc()
    assert world.check(ns, alive) == set(alive) - {0}
    assert store.stats().corrupt_pages == 1
    assert 1 in store.gc().victims
    assert world.check(ns, alive) == set(alive) - {0}


def test_random_deletes_and_collections_keep_exact_counts(world):
    store = world.open()
    ns = store.namespace({"m": 1}, SIZE)
    rng = seeded(11)
    for _ in range(120):
        ids = [int(rng.random() * 60) for _ in range(6)]
        match int(rng.random() * 4):
            case 0:
                ns.delete_many(world.keys(ids))
            case 1:
                store.gc(max_live=0.9)
            case _:
                world.put(ns, ids)
        live = world.check(ns, range(60))
        assert live == {i for i, there in enumerate(ns.contains(world.keys(range(60)))) if there}
        stats = store.stats()
        assert (stats.pages, stats.live_bytes, stats.corrupt_pages) == (len(live), len(live) * 4096, 0)
        by_segment = {}
        for place in store._log.places([ns.number.to_bytes(4, "big") + k for k in world.keys(live)]):
            by_segment[place.segment] = by_segment.get(place.segment, 0) + 1
        assert by_segment == {s.number: s.pages for s in store._space.segments.values() if s.pages}


def test_the_best_victim_frees_most_for_least():
    size = 100
    segments = [
        Segment(1, state=SEALED, live_bytes=60),
        Segment(2, state=SEALED, live_bytes=20),
        Segment(3, state=ACTIVE, live_bytes=0),
        Segment(4, state=SEALED, live_bytes=90),
    ]
    assert next_victim(segments, size, 0.75) is segments[1]
    assert next_victim([segments[0], segments[3]], size, 0.75) is segments[0]
    assert next_victim(segments[2:], size, 0.75) is None


def test_what_a_smaller_store_evicts_is_gone_for_good_before_its_segment_goes(world):
    """The recycling rule at opening, too: a power cut must not bring back entries that name what is elsewhere by then."""
    ns = world.open().namespace({"m": 1}, SIZE)
    for start in range(0, 5 * PER_SEGMENT, PER_SEGMENT):
        assert all(world.put(ns, range(start, start + PER_SEGMENT)))
    world.store.close()
    world.segments = 3
    calls = []
    world.fs.on_op = lambda op, path: calls.append((op, path[-4:]))
    world.open()
    world.fs.on_op = None
    gone = calls.index(("unlink", ".seg"))
    deleted = max(at for at in range(gone) if calls[at] == ("pwritev", ".wal"))
    assert ("sync", ".wal") in calls[deleted:gone]
    assert world.store.stats().evicted_pages > 0
