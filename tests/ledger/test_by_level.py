"""Causes and levels: what a lookup or a scan costs is booked where its tables are, also after they moved."""

from __future__ import annotations

from bisect import bisect_left
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lsmkv
from lsmkv.base.counters import BlockCounts, Counters
from lsmkv.live.tables import table_path
from lsmkv.sstable.reader import TableReader
from lsmkv.testing import CountingFileSystem, MemoryFileSystem
from tests.ledger.conftest import POLICIES, open_small

NAMES = sorted(POLICIES)
TREES = {}


def filled(policy: str, bits: float) -> lsmkv.DB:
    """A store with 1,500 keys of which every third was deleted or overwritten, nothing in memory; made once, only read."""
    if (policy, bits) not in TREES:
        rng = Random(5)
        db = open_small(CountingFileSystem(MemoryFileSystem()), policy=POLICIES[policy], filter_bits_per_key=bits)
        keys = [b"%05d" % (2 * i) for i in range(1_500)]
        rng.shuffle(keys)
        for i, key in enumerate(keys):
            db.put(key, b"v" * 12)
            if not i % 3:
                other = keys[rng.randrange(i + 1)]
                db.put(other, b"w" * 9) if i % 2 else db.delete(other)
        db.flush()
        db.settle()
        TREES[policy, bits] = db
    return TREES[policy, bits]


class ByHand:
    """The lookup as the design tells it, on readers of its own: each level's counters, block by block."""

    def __init__(self, db: lsmkv.DB) -> None:
        self.runs = []
        self.counters = [(Counters(), Counters(filtered=False)) for _ in db.tree().levels]
        for level, counters in zip(db.tree().levels, self.counters, strict=True):
            for run in level.runs:
                readers = [reader_of(db, t.number, counters[not t.filter_bits]) for t in run.tables]
                self.runs.append(([t.largest for t in run.tables], run.tables, readers))

    def get(self, key: bytes) -> bytes | None:
        for lasts, tables, readers in self.runs:
            i = bisect_left(lasts, key)
            if i < len(lasts) and tables[i].smallest <= key:
                entry = readers[i].get(key)
                if entry is not None:
                    return entry[1]
        return None


def reader_of(db: lsmkv.DB, number: int, counters: Counters) -> TableReader:
    return TableReader(db.options.fs, table_path(db.path, number), number, None, counters)


def logical(counts: BlockCounts) -> tuple[int, ...]:
    """What does not depend on a cache."""
    return (
        counts.block_fetches,
        counts.filter_checks,
        counts.filter_negatives,
        counts.filter_false_positives,
        counts.unfiltered_misses,
        counts.found,
    )


@pytest.mark.parametrize("policy", NAMES)
@given(asked=st.lists(st.integers(-5, 3_010), min_size=1, max_size=200), bits=st.sampled_from([0.0, 2.0, 10.0]))
@settings(deadline=None, max_examples=20)
def test_every_level_is_charged_what_the_lookups_cost_there(policy, asked, bits) -> None:
    db = filled(policy, bits)
    keys = [b"%05d" % max(n, 0) for n in asked]
    by_hand, before = ByHand(db), db.stats().ledger
    found = [db.get(key) for key in keys]
    spent = db.stats().ledger - before
    assert found == [by_hand.get(key) for key in keys]
    told = [logical(spent.level(n).gets) for n in range(len(by_hand.counters))]
    assert told == [logical(with_filter.counts() + bare.counts()) for with_filter, bare in by_hand.counters]
    assert spent.lookups == len(keys)
    assert spent.gets.found == len(keys) - spent.absent
    assert spent.range_reads == BlockCounts()


@pytest.mark.parametrize("policy", NAMES)
@given(start=st.integers(0, 3_000), entries=st.integers(1, 300), reverse=st.booleans())
@settings(deadline=None, max_examples=20)
def test_a_scan_fetches_the_blocks_of_its_range_once(policy, start, entries, reverse) -> None:
    db = filled(policy, 10.0)
    bounds = (b"%05d" % start, b"%05d" % (start + 2 * entries))
    before = db.stats().ledger
    list(db.scan(*bounds, reverse=reverse))
    spent = db.stats().ledger - before
    assert spent.gets == BlockCounts()
    assert spent.scans == 1
    for n, level in enumerate(db.tree().levels):
        most = fewest = 0
        for run in level.runs:
            for table in run.tables:
                fences = reader_of(db, table.number, Counters()).fences
                inside = [f for f in fences if bounds[0] <= f < bounds[1]]
                most += len(inside) + 1 + reverse  # the block that holds the bound may hold nothing below it
                fewest += max(0, len(inside) - 1)
        assert fewest <= spent.level(n).scans.block_fetches <= most


def test_a_table_that_moved_is_charged_at_its_new_level(open_db) -> None:
    db = open_db(policy=POLICIES["leveled"], memtable_bytes=1 << 16)
    for i in range(100):
        db.put(b"%03d" % i, b"v")
    db.flush()
    assert db.get(b"007") == b"v"
    db.compact()
    told = db.stats().ledger
    deep = next(n for n, level in enumerate(db.tree().levels) if level.runs)
    assert deep > 0
    assert told.merges.moves > 0
    assert told.merges.written_bytes == 0  # nothing was rewritten
    assert told.level(0).gets.found == 1
    assert told.level(deep).gets.found == 0
    assert db.get(b"008") == b"v"
    assert db.stats().ledger.level(0).gets.found == 1
    assert db.stats().ledger.level(deep).gets.found == 1


def test_a_table_that_moved_while_closed_counts_where_the_manifest_puts_it(open_db) -> None:
    db = open_db(policy=POLICIES["leveled"], memtable_bytes=1 << 16)
    for i in range(100):
        db.put(b"%03d" % i, b"v")
    db.compact()
    deep = next(n for n, level in enumerate(db.tree().levels) if level.runs)
    db.close()
    with open_db() as again:
        assert again.get(b"050") == b"v"
        assert [level.gets.found for level in again.stats().ledger.levels] == [0] * deep + [1]


def test_compaction_is_charged_to_the_level_it_writes_to(open_db) -> None:
    db = open_db(policy=POLICIES["tiered"])
    for i in range(1_000):
        db.put(b"%05d" % (i * 37 % 1_000), b"v" * 10)
    db.settle()
    told, entries = db.stats().ledger, db.tree().entries
    assert told.flush.written_entries == told.flush.read_entries
    # whatever is at a level was written there or moved there
    assert entries == told.flush.written_entries
    written = [level.merges.written_entries for level in told.levels]
    assert written[0] == 0
    assert sum(written) == told.merges.read_entries  # nothing was overwritten, so nothing was dropped
