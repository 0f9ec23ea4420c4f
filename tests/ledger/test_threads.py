"""Counters are bumped without a lock; nothing is lost all the same."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable

import pytest

import lsmkv
from lsmkv.base.ledger import Account
from lsmkv.maintain.scheduler import ManualScheduler, ThreadedScheduler
from lsmkv.sstable.tablefile import TableFile
from lsmkv.testing import MemoryFileSystem

THREADS, ROUNDS, KEYS = 4, 3, 500
PRESENT = [b"%05d" % (2 * i) for i in range(KEYS)]
ABSENT = [key[:-1] + bytes([key[-1] + 1]) for key in PRESENT]


def spent_by(threads: int, call: Callable[[lsmkv.DB, int], None], *, cache_bytes: int) -> Account:
    """What ``call(db, thread)`` costs in so many threads at once, which are switched as often as Python can."""
    options = lsmkv.Options(
        fs=MemoryFileSystem(), scheduler=ThreadedScheduler(), block_cache_bytes=cache_bytes, block_bytes=256, event_log=False
    )
    with lsmkv.open("/db", options) as db:
        db.put_many((key, b"v" * 20) for key in PRESENT)
        db.flush()
        before = db.stats().ledger
        often = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            workers = [threading.Thread(target=call, args=(db, n)) for n in range(threads)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        finally:
            sys.setswitchinterval(often)
        return db.stats().ledger - before


def test_no_count_is_lost_between_threads() -> None:
    spent = spent_by(THREADS, _ask, cache_bytes=1 << 20)
    asked = THREADS * ROUNDS * KEYS
    inside = THREADS * ROUNDS * (KEYS - 1)  # the last absent key lies beyond the table
    assert spent.gets.found == asked
    assert spent.absent == asked
    assert spent.gets.filter_negatives + spent.gets.filter_false_positives == inside
    assert spent.gets.block_fetches == asked + spent.gets.filter_false_positives


def _ask(db: lsmkv.DB, _: int) -> None:
    for _ in range(ROUNDS):
        for present, absent in zip(PRESENT, ABSENT, strict=True):
            db.get(present)
            db.get(absent)


def _batches(db: lsmkv.DB, thread: int) -> None:
    rng, keys = random.Random(thread), sorted(PRESENT + ABSENT)
    for i in range(60 * ROUNDS):
        n = (3, 20, 100)[i % 3]
        start = rng.randrange(len(keys) - n)
        db.get_many(keys[start : start + n])
        db.get_many(rng.sample(keys, n))


@pytest.mark.parametrize("call", [lambda db: db.get_many(PRESENT[:40]), lambda db: list(db.scan(PRESENT[0], PRESENT[40]))])
def test_what_another_thread_counts_in_the_middle_of_a_read_is_kept(
    call: Callable[[lsmkv.DB], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads looked up a block's size between reading a count and writing it: another read there was lost."""
    real, others = TableFile.part, []

    def read(file: TableFile, at: int, size: int) -> bytes:
        if len(others) < 2:  # as if the threads were switched here, and the other one read something
            others.append(at)
            call(db)
        return real(file, at, size)

    options = lsmkv.Options(fs=MemoryFileSystem(), scheduler=ManualScheduler(), block_cache_bytes=0, block_bytes=256)
    with lsmkv.open("/db", options) as db:
        db.put_many((key, b"v" * 20) for key in PRESENT)
        db.flush()
        ledgers = [db.stats().ledger]
        call(db)
        ledgers.append(db.stats().ledger)
        monkeypatch.setattr(TableFile, "part", read)
        call(db)
        alone, together = ledgers[1] - ledgers[0], db.stats().ledger - ledgers[1]
    assert len(others) == 2
    for one, three in ((alone.gets, together.gets), (alone.range_reads, together.range_reads)):
        assert three.block_bytes == 3 * one.block_bytes
        assert three.found == 3 * one.found


@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
def test_no_count_of_a_batch_is_lost_between_threads(cache_bytes: int) -> None:
    """A count was read before the call that made the number to add, and written after it: what came between was lost."""
    spent = spent_by(THREADS, _batches, cache_bytes=cache_bytes)
    assert spent.lookups == THREADS * 60 * ROUNDS // 3 * 2 * (3 + 20 + 100)


def _scans(db: lsmkv.DB, _: int) -> None:
    for _ in range(2 * ROUNDS):
        for i in range(0, KEYS, 10):
            list(db.scan(PRESENT[i], ABSENT[i]))


def _uncached_gets(db: lsmkv.DB, _: int) -> None:
    for _ in range(2 * ROUNDS):
        for key in PRESENT:
            db.get(key)


@pytest.mark.parametrize("call", [_scans, _uncached_gets])
def test_bytes_read_by_several_threads_are_those_of_one_times_their_number(call: Callable[[lsmkv.DB, int], None]) -> None:
    alone, together = (spent_by(n, call, cache_bytes=0) for n in (1, THREADS))
    one, all_ = (spent.gets + spent.range_reads for spent in (alone, together))
    assert all_.block_fetches == THREADS * one.block_fetches
    assert all_.block_bytes == THREADS * one.block_bytes
    assert together.scans == THREADS * alone.scans
