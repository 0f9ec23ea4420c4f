"""What an open store takes it gives back: descriptors, threads and memory are as before after closing."""

from __future__ import annotations

import gc
import os
import threading
import tracemalloc
import weakref

import pytest

import lsmkv


def descriptors() -> set[str]:
    """What the descriptors of this process point to."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} -> {os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:  # that of the listing itself
            continue
    return found


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("lsmkv")}


def use(path, *, leave=None):
    """Open, use everything, close (or do ``leave`` instead)."""
    options = lsmkv.Options(memtable_bytes=32 << 10, table_bytes=16 << 10, level0_runs=2)
    db = lsmkv.open(path, options)
    db.put_many((b"%05d" % n, b"v" * 60) for n in range(1500))
    db.load_sorted((b"x%05d" % n, b"v" * 60) for n in range(500))
    with db.snapshot() as snapshot:
        db.put(b"00001", b"w")
        assert snapshot.get(b"00001") == b"v" * 60
    db.get_many([b"%05d" % n for n in range(0, 1500, 3)])
    next(db.scan())
    db.set_options(block_cache_bytes=1 << 20)
    db.set_policy(lsmkv.Tiered(size_ratio=3))
    db.stats()
    if leave is None:
        db.close()
    else:
        leave(db)


@pytest.fixture
def before():
    gc.collect()
    return descriptors(), threads()


def test_descriptors_and_threads_return_after_closing(tmp_path, before):
    for _ in range(5):
        use(tmp_path / "db")
        assert (descriptors(), threads()) == before


def test_they_return_also_for_a_store_that_is_dropped(tmp_path, before):
    use(tmp_path / "db", leave=lambda db: None)
    gc.collect()
    assert (descriptors(), threads()) == before


def test_they_return_when_opening_fails(tmp_path, before):
    use(tmp_path / "db")
    path = next((tmp_path / "db").glob("*.sst"))
    path.unlink()
    for _ in range(5):
        with pytest.raises(lsmkv.CorruptionError):
            lsmkv.open(tmp_path / "db")
        assert (descriptors(), threads()) == before


def test_they_return_when_another_has_it_open(tmp_path, before):
    with lsmkv.open(tmp_path / "db"):
        inside = descriptors()
        for _ in range(5):
            with pytest.raises(lsmkv.LockedError):
                lsmkv.open(tmp_path / "db")
        assert descriptors() == inside
    assert (descriptors(), threads()) == before


def test_the_parts_of_a_closed_store_are_garbage(tmp_path):
    parts = []

    def leave(db):
        state = db._box.current
        parts.extend(map(weakref.ref, [db, state.view, db._core.cache, db._upkeep, db._committer]))
        db.close()

    use(tmp_path / "db", leave=leave)
    gc.collect()
    assert [part() for part in parts if part() is not None] == []


def test_memory_does_not_grow_with_openings(tmp_path):
    """Twice as many openings hold no more; one closed store that stayed would be hundreds of KiB."""
    tracemalloc.start()
    try:
        held = []
        for _ in range(3):
            for _ in range(3):
                use(tmp_path / "db")
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert held[2] - held[1] < 100_000


def test_batches_of_many_sizes_leave_nothing_behind(tmp_path):
    """What measures the keys of a batch is remembered for the next of its size: less than the batch weighs."""
    keys = [b"%010d" % n for n in range(20_000)]
    with lsmkv.open(tmp_path / "db") as db:
        db.put_many((key, b"v") for key in keys)
        db.get_many(keys)
        tracemalloc.start()
        try:
            for n in range(60):
                db.get_many(keys[n:])
                db.contains_many(keys[: 12_000 + n])
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] < 2 << 20
        finally:
            tracemalloc.stop()
