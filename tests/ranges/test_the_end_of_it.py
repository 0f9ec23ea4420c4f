"""What range deletes cover goes from the disk, and then they go themselves."""

from __future__ import annotations

import pytest

import lsmkv
from lsmkv.errors import BusyError
from lsmkv.policy.sweep import hidden_tables, sweep
from lsmkv.testing import CountingFileSystem
from lsmkv.version.rangedeletes import MAX_PIECES
from tests.ranges.conftest import KEYS


def test_tables_inside_a_range_go_unread_and_the_edges_are_rewritten_where_they_are(filled, disk):
    counted = CountingFileSystem(disk)
    db = filled(fs=counted)
    before = db.tree().tables
    assert len(before) > 5
    db.delete_range(b"005", b"195")
    db.flush()
    task = db.step()
    assert task.drops
    assert "range deletes" in task.reason
    assert {n for one in task.inputs for n in one.tables} == {t.number for t in before[1:-1]}
    read = db.stats().ledger.merges.read_bytes
    while (task := db.step()) is not None:
        assert task.chore
        assert (task.output_level, task.output_run) == (task.inputs[0].level, task.inputs[0].run)
    assert 0 < db.stats().ledger.merges.read_bytes - read <= before[0].bytes, "the last table begins where the range ends"
    assert db.stats().range_deleted_entries == 190
    assert (db.stats().entries, db.stats().range_deletes) == (10, 0)
    assert [key for key, _ in db.scan()] == KEYS[:5] + KEYS[195:]


def test_a_table_that_spans_the_range_is_swept_and_the_range_delete_retires(filled):
    db = filled(table_bytes=1 << 20)
    (table,) = db.tree().tables
    db.delete_range(b"100", b"110")
    assert (db.stats().range_deletes, db.tree().ranges.pieces) == (1, 0)
    db.flush()
    assert (db.stats().range_deletes, db.tree().ranges.pieces) == (1, 1)
    db.settle()
    (swept,) = db.tree().tables
    assert (swept.smallest, swept.largest, swept.min_seq) == (table.smallest, table.largest, table.min_seq)
    assert (swept.entries, swept.swept) == (190, db.stats().last_seq)
    assert db.stats().range_deletes == 0
    assert db._box.current.ranges is None


def test_a_snapshot_keeps_it_until_it_is_released(filled):
    db = filled()
    snapshot = db.snapshot()
    db.delete_range(b"005", b"195")
    db.flush()
    db.settle()
    assert db.stats().range_deletes == 1
    assert db.stats().entries == 200
    assert hidden_tables(db.tree()) is sweep(db.tree()) is None
    later = db.snapshot()
    snapshot.close()
    db.settle()
    assert (db.stats().entries, db.stats().range_deletes) == (10, 0), "the later one sees none of it"
    assert [key for key, _ in later.scan()] == KEYS[:5] + KEYS[195:]


def test_nothing_is_written_where_there_is_nothing_to_delete(open_db):
    db = open_db(range_delete_keys=256)
    db.delete_range(None, None, sync=True)
    assert db.stats().last_seq == 0
    db.put(b"a", b"1")
    db.delete_range(b"b", None)
    assert db.stats().last_seq == 1


def test_over_no_older_data_it_is_gone_with_its_flush(open_db):
    db = open_db()
    db.delete_range(b"a", b"z")
    assert db.stats().range_deletes == 1
    db.flush()
    assert (db.stats().range_deletes, db.tree().tables) == (0, ())
    db.put(b"b", b"1")
    db.close()
    assert dict(open_db().scan()) == {b"b": b"1"}


def test_small_ranges_become_deletes_and_leave_nothing_behind(filled):
    db = filled(range_delete_keys=10)
    db.delete_range(b"100", b"110")
    assert (db.stats().range_deletes, db.stats().memtable_entries) == (0, 10)
    db.delete_range(b"100", b"111")
    assert (db.stats().range_deletes, db.stats().memtable_entries) == (0, 11)
    db.delete_range(b"120", b"131")
    assert (db.stats().range_deletes, db.stats().memtable_entries) == (1, 0)
    assert [key for key, _ in db.scan()] == KEYS[:100] + KEYS[111:120] + KEYS[131:]


def test_a_range_of_tombstones_alone_is_not_small(filled):
    """It has no live key, but to find that out takes as long as reading them all."""
    db = filled(range_delete_keys=256, block_bytes=64)
    db.delete_many(KEYS)
    db.flush()
    db.delete_range(None, None)
    assert db.stats().range_deletes == 1


def pieces(db, count):
    """Range deletes that no two of make one."""
    for i in range(count):
        db.delete_range(b"%03d" % (i % 200) + b"%05d" % i, b"%03d" % (i % 200) + b"%05d" % i + b"\xff")


def test_beyond_its_bound_the_list_is_cleared_first(filled):
    db = filled()
    pieces(db, MAX_PIECES + 50)
    assert db.stats().range_deletes <= MAX_PIECES
    assert [key for key, _ in db.scan()] == KEYS


def test_beyond_its_bound_with_a_snapshot_in_the_way_it_is_refused_with_the_reason(filled):
    db = filled()
    with db.snapshot() as snapshot:
        with pytest.raises(BusyError, match="snapshots"):
            pieces(db, 2 * MAX_PIECES)
        held = db.stats().range_deletes
        assert held == MAX_PIECES
        with pytest.raises(BusyError, match="range deletes"):
            db.write(lsmkv.WriteBatch().put(b"x", b"1").delete_range(b"y", None))
        assert db.get(b"x") is None, "all or nothing"
        db.put(b"fine", b"1")
        assert [key for key, _ in snapshot.scan()] == KEYS
    db.delete_range(b"y", None)
    assert db.stats().range_deletes < held
    assert db.get(b"fine") == b"1"


def test_reads_of_keys_outside_cost_no_more_and_whole_tables_are_passed_over(filled):
    db = filled(block_cache_bytes=0)
    db.delete_range(b"005", b"195")
    db.flush()
    before = db.stats().ledger.gets.block_fetches
    assert db.get(b"100") is None
    assert db.get_many(KEYS[50:60]) == [None] * 10
    assert db.stats().ledger.gets.block_fetches == before, "every table there is older than the range delete"
    assert db.get(b"004") == b"004" * 20
    assert db.stats().ledger.gets.block_fetches == before + 1


def test_it_is_shown(filled, disk):
    db = filled()
    db.delete_range(b"100", b"110")
    with db.snapshot():
        db.flush()
        assert db.stats().to_dict()["range_deletes"] == 1
        report = lsmkv.verify("/db", disk)
        assert report.ok
