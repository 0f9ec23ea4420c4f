"""``compact(start, stop)`` touches what overlaps the range, and tables that only change their level are not rewritten."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lsmkv
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing.memfs import MemoryFileSystem

POLICIES = [lsmkv.Leveled(size_ratio=3), lsmkv.Tiered(size_ratio=4), lsmkv.LazyLeveling(size_ratio=3)]


def grown(db, rounds=40, keys=2000):
    for r in range(rounds):
        db.put_many((b"%04d" % ((r * 613 + i * 37) % keys), b"%d" % r * 5) for i in range(40))
        db.flush()
        db.settle()


def tables(db):
    return {t.number: t for t in db.tree().tables}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("start", "stop"), [(b"0100", b"0101"), (b"0500", b"0700"), (None, b"0050"), (b"1900", None)])
def test_only_the_range_is_touched_and_what_has_to_sink_with_it(open_db, policy, start, stop):
    """A table goes if it meets the range, or a newer one that goes: it must not be passed."""
    with open_db(policy=policy, level0_runs=1, table_bytes=1024) as db:
        grown(db)
        before = [(t.number, t.smallest, t.largest) for t in db.tree().tables]
        contents = dict(db.scan())
        db.compact(start, stop)
        gone = {number for number, *_ in before} - {t.number for t in db.tree().tables}
        sinking = []
        for number, low, high in before:  # newest first
            inside = (stop is None or low < stop) and (start is None or high >= start)
            if inside or any(a <= high and b >= low for a, b in sinking):
                sinking.append((low, high))
            else:
                assert number not in gone
        assert len(gone) < len(before)
        assert dict(db.scan()) == contents
        low, high = start or b"", stop or b"\xff"
        deepest = len(db.tree().levels) - 1
        for level in db.tree().levels[:deepest]:
            assert not [t for run in level.runs for t in run.tables if t.largest >= low and t.smallest < high]
        db.check()


def test_in_a_tree_of_one_level_at_most_two_tables_beside_the_range_go(open_db):
    with open_db(policy=POLICIES[0], table_bytes=1024) as db:
        grown(db)
        db.compact()
        before = tables(db)
        inside = {n for n, t in before.items() if t.smallest < b"0700" and t.largest >= b"0500"}
        db.delete(b"0600")
        db.compact(b"0500", b"0700")
        assert before.keys() - tables(db).keys() <= inside
        assert db.get(b"0600") is None
        assert db.stats().levels[-1].tombstones == 0


def test_a_range_that_holds_nothing_is_left_alone(open_db):
    with open_db(policy=POLICIES[0], level0_runs=1, table_bytes=1024) as db:
        db.put_many((b"a%03d" % i, b"v") for i in range(200))
        db.put_many((b"z%03d" % i, b"v") for i in range(200))
        db.flush()
        db.settle()
        db.compact()
        before = tables(db)
        db.compact(None, b"a")
        db.compact(b"zz", None)
        assert tables(db) == before


def test_everything_becomes_one_run_at_the_deepest_level(open_db):
    with open_db(policy=POLICIES[1], level0_runs=1, table_bytes=1024) as db:
        grown(db)
        db.compact()
        assert [len(level.runs) for level in db.tree().levels][:-1] == [0] * (len(db.tree().levels) - 1)
        assert len(db.tree().levels[-1].runs) == 1
        assert db.tree().entries == len(list(db.scan()))


def test_ascending_loads_are_moved_down_not_rewritten(open_db):
    with open_db(policy=POLICIES[0], level0_runs=1, table_bytes=1 << 20) as db:
        db.put_many((b"a%03d" % i, b"v" * 20) for i in range(60))
        db.flush()
        db.compact()
        written = db.stats().compaction_written_bytes
        number = db.tree().tables[0].number
        db.set_policy(lsmkv.Leveled(size_ratio=2))
        db.settle()
        assert db.stats().compaction_written_bytes == written
        assert db.tree().tables[0].number == number


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("pdfcs"), st.integers(0, 99), st.integers(0, 30)), max_size=60),
    st.sampled_from(POLICIES),
)
def test_compacting_ranges_at_any_time_changes_no_answer(steps, policy):
    options = lsmkv.Options(
        fs=MemoryFileSystem(), scheduler=ManualScheduler(), policy=policy, memtable_bytes=2048, table_bytes=1024,
        block_bytes=256, level0_runs=2, level0_stop_runs=8,
    )  # fmt: skip
    model: dict[bytes, bytes] = {}
    with lsmkv.open("/db", options) as db:
        for n, (kind, low, width) in enumerate(steps):
            keys = [b"%02d" % k for k in range(low, min(100, low + width))]
            if kind == "p":
                db.put_many((k, b"%d" % n) for k in keys)
                model.update(dict.fromkeys(keys, b"%d" % n))
            elif kind == "d":
                db.delete_many(keys)
                for key in keys:
                    model.pop(key, None)
            elif kind == "f":
                db.flush()
            elif kind == "c":
                db.compact(b"%02d" % low, b"%02d" % (low + width) if width else None)
            else:
                db.settle()
            db.check()
            assert dict(db.scan()) == model
