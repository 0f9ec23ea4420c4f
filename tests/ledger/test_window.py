"""What operations cost in a window, by arithmetic that can be done by hand."""

from __future__ import annotations

import json
from random import Random

import pytest

import lsmkv
from lsmkv import cost
from lsmkv.errors import ClosedError
from tests.ledger.conftest import POLICIES

PRESENT = [b"%06d" % (2 * i) for i in range(6_000)]
ABSENT = [b"%06d" % (2 * i + 1) for i in range(6_000)]


def _filled(open_db, policy: str, **options: object) -> lsmkv.DB:
    """6,000 entries, each written once, on several levels; nothing in memory."""
    db = open_db(policy=POLICIES[policy], memtable_bytes=60_000, table_bytes=1 << 20, **options)
    keys = PRESENT.copy()
    Random(3).shuffle(keys)
    for key in keys:
        db.put(key, b"v" * 10)
        db.settle()
    db.flush()
    db.settle()
    return db


@pytest.mark.parametrize("policy", ["leveled", "tiered", "lazy", "fluid"])
def test_absent_keys_cost_what_filters_let_through(open_db, policy: str) -> None:
    db = _filled(open_db, policy, filter_bits_per_key=4.0, filter_allocation="uniform")
    with cost.window(db) as w:
        for key in ABSENT:
            assert db.get(key) is None
    told = w.delta
    passed = sum(level.false_positives for level in told.levels)
    assert told.zero_lookup_blocks == passed / len(ABSENT) > 0
    assert told.lookup_blocks is None
    runs = sum(level.runs for level in told.levels)
    assert told.zero_lookup_filter_checks <= runs  # a key beyond the bounds of a run asks nobody
    predicted = sum(level.runs * level.predicted_false_positive_rate for level in told.levels if level.runs)
    assert told.zero_lookup_blocks == pytest.approx(predicted, rel=0.12)
    for level in told.levels:
        if level.entries > 1_000:
            assert level.false_positive_rate == pytest.approx(level.predicted_false_positive_rate, rel=0.15)


def test_present_keys_cost_one_block_and_what_filters_let_through(open_db) -> None:
    db = _filled(open_db, "tiered", filter_bits_per_key=4.0)
    with cost.window(db) as w:
        for key in PRESENT:
            assert db.get(key) is not None
    told = w.delta
    assert told.zero_lookup_blocks is None
    passed = sum(level.false_positives for level in told.levels)
    assert told.lookup_blocks == 1 + passed / len(PRESENT)
    assert sum(level.answers for level in told.levels) == pytest.approx(1.0)
    for level in told.levels:
        assert level.answers == pytest.approx(level.entries / len(PRESENT))


@pytest.mark.parametrize("bits", [0.0, 0.7, 3.0, 8.0])
def test_a_mixture_is_taken_apart(open_db, bits: float) -> None:
    db = _filled(open_db, "fluid", filter_bits_per_key=bits)
    with cost.window(db) as absent:
        for key in ABSENT:
            db.get(key)
    with cost.window(db) as present:
        for key in PRESENT:
            db.get(key)
    with cost.window(db) as both:
        for pair in zip(PRESENT, ABSENT, strict=True):
            for key in pair:
                db.get(key)
    assert both.delta.zero_lookup_blocks == pytest.approx(absent.delta.zero_lookup_blocks, rel=0.1, abs=0.01)
    assert both.delta.lookup_blocks == pytest.approx(present.delta.lookup_blocks, rel=0.05)


def test_without_filters_an_absent_key_costs_a_block_in_every_run(open_db) -> None:
    db = _filled(open_db, "tiered", filter_bits_per_key=0.0)
    inside = [
        k for k in ABSENT if all(r.tables[0].smallest < k < r.tables[-1].largest for lv in db.tree().levels for r in lv.runs)
    ]
    with cost.window(db) as w:
        for key in inside:
            db.get(key)
    runs = sum(len(level.runs) for level in db.tree().levels)
    assert runs > 1
    assert w.delta.zero_lookup_blocks == runs
    assert w.delta.zero_lookup_filter_checks == 0
    assert [level.false_positive_rate for level in w.delta.levels] == [None] * len(w.delta.levels)
    assert sum(level.zero_lookup_blocks for level in w.delta.levels) == runs


def test_writes_are_copied_as_often_as_the_ledger_says(open_db) -> None:
    db = open_db(policy=POLICIES["leveled"], memtable_bytes=8_000)
    with cost.window(db) as w:
        for i in range(3_000):
            db.put(b"%06d" % (i * 7919 % 3_000), b"v" * 10)
            db.settle()
        db.flush()
        db.settle()
    told, account = w.delta, w.delta.account
    assert account.entries == 3_000
    assert told.levels[0].copies == 1.0  # each entry was flushed once
    assert told.update_copies == pytest.approx(sum(level.copies for level in told.levels))
    assert told.write_amplification == (told.bytes_written["flush"] + told.bytes_written["compaction"]) / (3_000 * 16)
    assert told.bytes_written["wal"] > 3_000 * 16


def test_read_amplification_is_what_the_cache_leaves(open_db) -> None:
    db = _filled(open_db, "leveled", block_cache_bytes=1 << 24, hash_column_bytes=0)  # making a finder reads
    some = PRESENT[:1_000]
    with cost.window(db) as cold:
        for key in some:
            db.get(key)
    with cost.window(db) as warm:
        for key in some:
            db.get(key)
    assert 0 < cold.delta.read_amplification <= cold.delta.lookup_blocks
    assert warm.delta.read_amplification == 0
    assert warm.delta.lookup_blocks >= 1
    assert warm.delta.bytes_read["get"] == 0


def test_a_scan_costs_its_blocks_in_every_run(open_db) -> None:
    db = _filled(open_db, "tiered")
    with cost.window(db) as w:
        for _ in range(7):
            assert sum(1 for _ in db.scan()) == len(PRESENT)
    blocks = sum(len(db._tables.get(t.number).fences) for t in db.tree().tables)
    assert w.delta.scan_blocks == blocks
    assert sum(level.scan_blocks for level in w.delta.levels) == pytest.approx(blocks)


def test_space_is_measured_by_counting_what_lives(open_db) -> None:
    db = open_db(policy=POLICIES["tiered"], memtable_bytes=6_000)
    for round_ in range(3):
        for i in range(400):
            db.put(b"%04d" % i, b"%d" % round_ * 40)
        db.flush()
    live = sum(len(k) + len(v) for k, v in db.scan())
    told = cost.measured(db, scan=True)
    assert told.space_amplification == db.tree().bytes / live > 1
    assert db.stats().space_amplification >= db.tree().entries / 400
    assert cost.measured(db).space_amplification is None
    db.compact()
    assert db.stats().space_amplification == 1.0


def test_a_window_tells_so_far_and_then_stays(open_db) -> None:
    db = _filled(open_db, "leveled")
    with cost.window(db) as w:
        db.get(PRESENT[0])
        assert w.delta.account.lookups == 1
        db.get(PRESENT[1])
        assert w.delta.account.lookups == 2
    db.get(PRESENT[2])
    assert w.delta.account.lookups == 2
    json.dumps(w.delta.to_dict())
    json.dumps(db.stats().to_dict())


def test_a_window_used_again_measures_again(open_db) -> None:
    """It told the first stretch for ever."""
    db = open_db()
    window = cost.window(db)
    with window:
        db.put(b"a", b"1")
    with window:
        db.put(b"b", b"1")
        db.put(b"c", b"1")
        assert window.delta.account.entries == 2
    assert window.delta.account.entries == 2


def test_a_window_does_not_hide_what_went_wrong_in_it(open_db) -> None:
    db = _filled(open_db, "leveled")
    with pytest.raises(ZeroDivisionError), cost.window(db):
        db.close()
        1 / 0  # noqa: B018  the failure that must be seen
    with pytest.raises(ClosedError):
        cost.window(db)


def test_nothing_measured_is_none(open_db) -> None:
    with open_db() as db, cost.window(db) as w:
        pass
    told = w.delta.to_dict()
    assert {name for name, value in told.items() if value is None} == {
        "zero_lookup_blocks",
        "lookup_blocks",
        "zero_lookup_filter_checks",
        "lookup_filter_checks",
        "scan_blocks",
        "update_copies",
        "write_amplification",
        "read_amplification",
        "space_amplification",
    }
