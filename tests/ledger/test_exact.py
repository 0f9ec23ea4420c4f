"""The ledger against the disk: every device read, every byte, whatever the program."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv.testing import CountingFileSystem, MemoryFileSystem
from tests.ledger.conftest import POLICIES, assert_as_the_disk_says, open_small

KEYS = [b"%03d" % i for i in range(60)]

_keys = st.sampled_from(KEYS)
_values = st.integers(0, 90).map(lambda n: b"v" * n)
_writes = st.lists(st.tuples(_keys, st.none() | _values), min_size=1, max_size=40)
OPS = st.one_of(
    st.tuples(st.just("write"), _writes, st.booleans()),
    st.tuples(st.just("get"), st.lists(_keys, max_size=30)),
    st.tuples(st.just("get_many"), st.lists(_keys, max_size=30)),
    st.tuples(st.just("scan"), _keys, st.booleans(), st.integers(0, 40)),
    st.tuples(st.just("flush")),
    st.tuples(st.just("step")),
    st.tuples(st.just("settle")),
    st.tuples(st.just("compact"), _keys, _keys),
    st.tuples(st.just("switch"), st.sampled_from(sorted(POLICIES.keys() - {"fifo"}))),
    st.tuples(st.just("sync")),
)


def perform(db, op) -> None:
    match op:
        case ("write", pairs, sync):
            with db.batch(sync=sync) as batch:
                for key, value in pairs:
                    batch.put(key, value) if value is not None else batch.delete(key)
        case ("get", keys):
            for key in keys:
                db.get(key)
        case ("get_many", keys):
            db.get_many(keys)
        case ("scan", start, reverse, limit):
            for _ in zip(range(limit), db.scan(start, reverse=reverse), strict=False):
                pass
        case ("compact", a, b):
            db.compact(min(a, b), max(a, b) + b"\0")
        case ("switch", name):
            db.set_policy(POLICIES[name])
        case (name,):
            getattr(db, name)()


@pytest.mark.parametrize("policy", sorted(POLICIES))
@given(programs=st.lists(st.lists(OPS, max_size=12), min_size=1, max_size=3), cache=st.sampled_from([0, 1 << 11, 1 << 16]))
@settings(deadline=None, max_examples=25)
def test_what_the_ledger_says_is_what_the_disk_did(policy, programs, cache) -> None:
    disk = CountingFileSystem(MemoryFileSystem())
    chosen = POLICIES[policy]
    for program in programs:  # one session each
        disk.clear()
        with open_small(disk, block_cache_bytes=cache, policy=chosen, filter_bits_per_key=4.0) as db:
            assert_as_the_disk_says(disk, db)
            for op in program:
                if op[0] != "switch" or policy != "fifo":
                    perform(db, op)
            assert_as_the_disk_says(disk, db)
            recorded = db.stats().totals
        chosen = None
        disk.clear()
        with open_small(disk) as db:
            assert_as_the_disk_says(disk, db)
            before = db.stats().totals - db.stats().ledger
            assert (before.gets, before.range_reads, before.opens) == (recorded.gets, recorded.range_reads, recorded.opens)
            assert (before.absent, before.scans, before.entries) == (recorded.absent, recorded.scans, recorded.entries)


def test_a_full_cycle_is_counted_to_the_byte(disk: CountingFileSystem, open_db) -> None:
    db = open_db(memtable_bytes=1 << 14)
    for i in range(2_000):
        db.put(b"%05d" % (i * 7 % 2_000), b"v" * 20, sync=i % 100 == 0)
    db.settle()
    for i in range(0, 3_000, 5):
        db.get(b"%05d" % i)
    db.get_many([b"%05d" % i for i in range(0, 4_000, 3)])
    assert len(list(db.scan())) == 2_000
    db.compact()
    assert_as_the_disk_says(disk, db)
    told = db.stats().ledger
    assert min(told.gets.block_fetches, told.range_reads.block_fetches, told.merges.tasks, told.flush.tasks) > 0
    assert told.entries == 2_000
    assert told.entry_bytes == 2_000 * 25
    assert told.wal.syncs >= 20
    db.close()
