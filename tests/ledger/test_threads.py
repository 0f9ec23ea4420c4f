"""Counters are bumped without a lock; nothing is lost all the same."""

from __future__ import annotations

import sys
import threading

import lsmkv
from lsmkv.maintain.scheduler import ThreadedScheduler
from lsmkv.testing import MemoryFileSystem

THREADS, ROUNDS, KEYS = 4, 3, 500


def test_no_count_is_lost_between_threads() -> None:
    options = lsmkv.Options(fs=MemoryFileSystem(), scheduler=ThreadedScheduler(), block_cache_bytes=1 << 20, block_bytes=256)
    with lsmkv.open("/db", options) as db:
        present = [b"%05d" % (2 * i) for i in range(KEYS)]
        db.put_many((key, b"v" * 20) for key in present)
        db.flush()
        before = db.stats().ledger
        often = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            workers = [threading.Thread(target=_ask, args=(db, present)) for _ in range(THREADS)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        finally:
            sys.setswitchinterval(often)
        spent = db.stats().ledger - before
    asked = THREADS * ROUNDS * KEYS
    inside = THREADS * ROUNDS * (KEYS - 1)  # the last absent key lies beyond the table
    assert spent.gets.found == asked
    assert spent.absent == asked
    assert spent.gets.filter_negatives + spent.gets.filter_false_positives == inside
    assert spent.gets.block_fetches == asked + spent.gets.filter_false_positives


def _ask(db: lsmkv.DB, present: list[bytes]) -> None:
    for _ in range(ROUNDS):
        for key in present:
            db.get(key)
            db.get(key[:-1] + bytes([key[-1] + 1]))
