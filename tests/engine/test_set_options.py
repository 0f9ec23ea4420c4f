"""Options of an open store: what may change does, everywhere; what may not is refused by name; all or nothing."""

from __future__ import annotations

import ast
import inspect
import re
import threading
from dataclasses import fields, replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lsmkv
from lsmkv import Options
from lsmkv.base.events import read_events
from lsmkv.env.rng import seeded
from lsmkv.errors import InvalidArgumentError
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.options import CHANGEABLE
from lsmkv.testing import CountingFileSystem, ManualClock, MemoryFileSystem
from lsmkv.testing.faults import FaultFileSystem, Hang
from tests.engine.test_slowdown import Idle

NAMES = [field.name for field in fields(Options)]
OTHER = {
    "controller": lsmkv.Adaptive(mode="advise"),
    "wal_sync": "write",
    "wal_sync_interval_s": 5.0,
    "stall_timeout_s": 1.0,
    "tombstone_age_s": 100.0,
    "memtable_bytes": 9999,
    "max_immutables": 7,
    "block_cache_bytes": 12_345,
    "hash_column_bytes": 23_456,
    "table_bytes": 9999,
    "max_open_tables": 5,
    "filter_bits_per_key": 3.0,
    "filter_allocation": "uniform",
    "compression": ("none", "zstd"),
    "level0_runs": 3,
    "level0_slowdown_runs": 5,
    "level0_stop_runs": 9,
    "background_bytes_per_s": 1e9,
    "helper_process": False,
    "create": False,
    "event_log": False,
    "status_interval_s": 3.0,
    "refresh_s": 1.0,
    "memtable": "sorteddict",
    "block_bytes": 512,
    "range_delete_keys": 3,
    "policy": lsmkv.Tiered(size_ratio=3),
    "fs": MemoryFileSystem(),
    "clock": ManualClock(),
    "rng": seeded(3),
    "scheduler": ManualScheduler(),
}
"""Another valid value of every field."""


def documented():
    """Of each field, what its description says about changing it."""
    [tree] = ast.parse(inspect.getsource(Options)).body
    found, name = {}, None
    for node in tree.body:
        if isinstance(node, ast.AnnAssign):
            name = node.target.id
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and name is not None:
            found[name] = " ".join(node.value.value.split()).rpartition("Changeable: ")[2]
            name = None
    return found


@pytest.mark.parametrize("name", NAMES)
def test_each_field_does_what_its_description_says(open_db, name):
    said = documented()[name]
    with open_db() as db:
        before = db.options
        if said == "at run time.":
            assert getattr(db.set_options(**{name: OTHER[name]}), name) == OTHER[name]
            assert db.options == replace(before, **{name: OTHER[name]})
        else:
            with pytest.raises(InvalidArgumentError) as caught:
                db.set_options(**{name: OTHER[name]})
            assert said == ("by ``set_policy``." if name == "policy" else "at the next opening.")
            assert ("set_policy" if name == "policy" else f"{name} cannot change while the store is open") in str(caught.value)
            assert db.options == before


def test_every_field_that_can_change_has_a_test_of_its_effect():
    tested = {name for test in EFFECTS for name in test.__name__.removeprefix("test_").split("__")[:1]}
    assert tested == CHANGEABLE


@pytest.mark.parametrize(("name", "meant"), [("memtable_byte", "memtable_bytes"), ("level0_run", "level0_runs"), ("qqqq", None)])
def test_an_unknown_name_is_refused_with_the_name_it_may_have_meant(open_db, name, meant):
    with open_db() as db, pytest.raises(InvalidArgumentError) as caught:
        db.set_options(**{name: 1})
    assert repr(name) in str(caught.value)
    assert ("did you mean" in str(caught.value)) == (meant is not None)
    assert meant is None or repr(meant) in str(caught.value)


BAD = [
    {"memtable_bytes": 1},
    {"create": False},
    {"nothing": 1},
    {"level0_runs": 50},
    {"policy": lsmkv.Leveled()},
    {"wal_sync": 3},
]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sets(st.sampled_from(sorted(CHANGEABLE - {"level0_runs", "memtable_bytes", "wal_sync"}))),
    st.sampled_from(BAD),
    st.booleans(),
)
def test_all_or_nothing(memory_fs, open_db, good, bad, first):
    changes = {name: OTHER[name] for name in good}
    with open_db(fs=MemoryFileSystem()) as db:
        before, cache = db.options, db._core.cache
        with pytest.raises(InvalidArgumentError):
            db.set_options(**(bad | changes if first else changes | bad))
        assert db.options == before
        assert db._core.cache is cache
        assert cache.capacity_bytes == before.block_cache_bytes
        db.set_options(**changes)
        assert db.options == replace(before, **changes)


def test_options_that_only_fit_together_change_together(open_db):
    with open_db(level0_runs=2, level0_stop_runs=6) as db:
        with pytest.raises(InvalidArgumentError, match="level0_stop_runs"):
            db.set_options(level0_runs=8)
        db.set_options(level0_runs=8, level0_stop_runs=20)
        assert db.tree().level0_runs == 8


def test_a_closed_store_changes_nothing(open_db):
    db = open_db()
    db.close()
    with pytest.raises(lsmkv.ClosedError):
        db.set_options(memtable_bytes=1 << 20)


def test_the_event_log_tells_it(open_db, memory_fs):
    with open_db() as db:
        db.set_options(compression=("none", "zstd"), table_bytes=5000)
        db.set_options()
    told = [event for event in read_events(memory_fs, "/db") if event["kind"] == "options"]
    assert [event["changed"] for event in told] == [{"compression": ["none", "zstd"], "table_bytes": 5000}]


# the effect of each


def fill(db, count=300, start=0, size=50):
    for n in range(start, start + count):
        db.put(b"%05d" % (n * 7919 % 100_003), bytes(size))


def test_wal_sync(open_db, memory_fs):
    disk = CountingFileSystem(memory_fs)
    with open_db(fs=disk) as db:
        db.put(b"a", b"1")
        assert db.stats().wal_syncs == 0
        db.set_options(wal_sync="write")
        db.put(b"b", b"1")
        assert db.stats().wal_syncs == 1
        db.set_options(wal_sync="off")
        db.put(b"c", b"1")
        assert db.stats().wal_syncs == 1


def test_wal_sync__interval_counts_what_was_written_before(open_db):
    clock = ManualClock()
    with open_db(clock=clock, wal_sync_interval_s=2.0) as db:
        db.put(b"a", b"1")
        db.set_options(wal_sync="interval")
        assert db._committer.sync_due() == pytest.approx(2.0)
        clock.advance(2.5)
        db._committer.sync_due()
        assert db.stats().wal_syncs == 1


def test_wal_sync_interval_s(open_db):
    clock = ManualClock()
    with open_db(clock=clock, wal_sync="interval", wal_sync_interval_s=10.0) as db:
        db.put(b"a", b"1")
        assert db._committer.sync_due() == pytest.approx(10.0)
        db.set_options(wal_sync_interval_s=3.0)
        assert db._committer.sync_due() == pytest.approx(3.0)


def test_stall_timeout_s(open_db):
    clock = ManualClock()
    with open_db(clock=clock, scheduler=Idle(), max_immutables=1) as db:
        db.put(b"a", b"1")
        db._committer.rotate()
        gate = db._gate

        def wake():
            clock.advance(1.0)
            db.set_options(stall_timeout_s=0.5)

        gate._wake = wake
        with pytest.raises(lsmkv.BusyError):
            gate.wait()
        assert clock.monotonic() == 1.0, "with the first timeout it would have waited for a minute"


def test_tombstone_age_s(open_db):
    clock = ManualClock()
    with open_db(clock=clock) as db:
        fill(db, 50)
        db.compact()
        db.delete(b"00000")
        clock.advance(1000)
        assert db.pending() is None
        db.set_options(tombstone_age_s=10.0)
        clock.advance(11)
        assert db.pending() is not None
        db.settle()
        assert sum(level.tombstones for level in db.stats().levels) == 0


def test_memtable_bytes(open_db):
    with open_db(memtable_bytes=1 << 20, scheduler=Idle()) as db:
        fill(db, 100)
        assert db.stats().immutable_memtables == 0
        db.set_options(memtable_bytes=2048)
        db.put(b"x", b"")
        assert db.stats().immutable_memtables == 1


def test_max_immutables(open_db):
    with open_db(max_immutables=1, scheduler=Idle()) as db:
        db.put(b"a", b"1")
        db._committer.rotate()
        assert db._gate.reason()[0] == "memtables"
        assert db._gate.slow.on
        db.set_options(max_immutables=4)
        assert db._gate.reason() is None
        assert not db._gate.slow.on


def test_block_cache_bytes(open_db):
    with open_db(block_cache_bytes=1 << 20, block_bytes=256) as db:
        fill(db, 1000)
        db.settle()
        sum(1 for _ in db.scan())
        db.get_many([b"%05d" % n for n in range(0, 99_999, 7)])
        assert db.stats().cache_bytes > 8192
        db.set_options(block_cache_bytes=8192)
        assert db.stats().cache_bytes <= 8192 == db.stats().cache_capacity_bytes


def test_hash_column_bytes(open_db):
    with open_db() as db:
        fill(db, 1000)
        db.settle()
        keys = [b"%05d" % n for n in range(0, 99_999, 7)]
        rng = Random(1)
        for bound, some in ((1 << 20, True), (100, False), (1 << 20, True), (0, False)):
            db.set_options(hash_column_bytes=bound)
            for _ in range(100):
                db.get_many(rng.choices(keys, k=64))
            assert (db.stats().hash_column_bytes > 0) == some


@pytest.mark.parametrize(("before", "after"), [(0, 1 << 20), (1 << 20, 0)])
def test_block_cache_bytes__from_and_to_none(open_db, before, after):
    with open_db(block_cache_bytes=before) as db:
        fill(db, 300)
        db.flush()
        keys = [b"%05d" % (n * 7919 % 100_003) for n in range(300)]
        assert db.get(keys[0]) == bytes(50)
        db.set_options(block_cache_bytes=after)
        for _ in range(3):
            assert [db.get(key) for key in keys] == [bytes(50)] * 300
            assert db.get_many(keys) == [bytes(50)] * 300
        hits = db.stats().cache_hits
        db.get(keys[0])
        assert (db.stats().cache_hits - hits > 0) == (after > 0)
        assert (db.stats().cache_bytes > 0) == (after > 0)
        db.check()


def test_table_bytes(open_db):
    with open_db(table_bytes=1 << 20, memtable_bytes=1 << 20) as db:
        fill(db, 500)
        db.compact()
        assert len(db.tree().tables) == 1
        db.set_options(table_bytes=2048)
        fill(db, 500)
        db.compact()
        assert len(db.tree().tables) > 5


def test_max_open_tables(open_db):
    with open_db(table_bytes=1024) as db:
        fill(db, 1000)
        db.compact()
        keys = [b"%05d" % (n * 7919 % 100_003) for n in range(1000)]
        db.get_many(keys)
        assert db.stats().open_tables > 10
        db.set_options(max_open_tables=3)
        assert db.stats().open_tables == 3
        assert db.get_many(keys) == [bytes(50)] * 1000
        assert db.stats().open_tables == 3
        db.set_options(max_open_tables=500)
        assert [db.get(key) for key in keys] == [bytes(50)] * 1000
        assert db.stats().open_tables > 10


def test_filter_bits_per_key(open_db):
    with open_db(filter_bits_per_key=10.0) as db:
        fill(db, 50)
        db.flush()
        assert db.tree().tables[0].filter_bits > 0
        db.set_options(filter_bits_per_key=0.0)
        fill(db, 50)
        db.flush()
        assert db.tree().tables[0].filter_bits == 0


def test_filter_allocation(open_db):
    def bits(**changes):
        with open_db(fs=MemoryFileSystem(), memtable_bytes=1 << 20, filter_bits_per_key=5.0) as db:
            fill(db, 2000)
            db.compact()
            db.set_options(**changes)
            fill(db, 20)
            db.flush()
            return db.stats().levels[0].filter_bits_per_key

    assert bits() > 1.5 * bits(filter_allocation="uniform")


def test_compression(open_db):
    with open_db(memtable_bytes=1 << 20) as db:
        fill(db, 500)
        db.flush()
        plain = db.tree().tables[0].bytes
        db.set_options(compression="zstd")
        fill(db, 500)
        db.flush()
        assert db.tree().tables[0].bytes < 0.7 * plain


def test_level0_runs(open_db):
    with open_db(level0_runs=2) as db:
        for n in range(3):
            fill(db, 10, n)
            db.flush()
        assert db.pending() is not None
        db.set_options(level0_runs=3)
        assert db.pending() is None
        assert db.tree().level0_runs == 3
        db.set_options(level0_runs=1)
        db.settle()
        assert len(db.tree().levels[0].runs) <= 1


def test_level0_slowdown_runs(open_db):
    with open_db(scheduler=Idle(), level0_runs=2, level0_slowdown_runs=6, level0_stop_runs=6) as db:
        for n in range(4):
            fill(db, 10, n)
            db.flush()
        assert not db._gate.slow.on
        db.set_options(level0_slowdown_runs=4)
        assert db._gate.slow.on
        assert "slower from 4" in db._gate.slow.reason()


def test_level0_stop_runs(open_db):
    with open_db(scheduler=Idle(), level0_runs=1, level0_stop_runs=3) as db:
        for n in range(3):
            fill(db, 10, n)
            db.flush()
        assert db._gate.reason()[0] == "level0"
        db.set_options(level0_stop_runs=10)
        assert db._gate.reason() is None


def test_max_immutables__lets_a_writer_go_on_that_is_stalled(memory_fs):
    """With threads: the flush cannot finish (its table cannot be written), the writer waits, new options let it go on."""
    hold = threading.Event()
    fs = FaultFileSystem(memory_fs, [Hang(op="pwritev", path="*.sst", event=hold)])
    options = Options(fs=fs, memtable_bytes=4096, max_immutables=1, status_interval_s=None, stall_timeout_s=100)
    db = lsmkv.open("/db", options)
    writer = threading.Thread(target=fill, args=(db, 60))
    writer.start()
    while not db.stats().stalls:
        pass
    db.set_options(max_immutables=50)
    writer.join()
    hold.set()
    assert db.get(b"00000") is not None
    db.close()


def test_background_bytes_per_s(open_db):
    clock = ManualClock()
    with open_db(clock=clock, memtable_bytes=1 << 20) as db:
        fill(db, 500)
        db.flush()
        assert clock.slept == []
        db.set_options(background_bytes_per_s=10_000)
        fill(db, 500)
        db.flush()
        assert sum(clock.slept) > 1


def test_controller(open_db):
    with open_db() as db:
        assert db.stats().controller is None
        db.set_options(controller=lsmkv.Adaptive(mode="advise", size_ratios=(4,)))
        db.put_many((b"%06d" % (n * 7919 % 100_003), b"v") for n in range(600))
        db.settle()
        db.put_many((b"%06d" % (n * 7919 % 100_003), b"w") for n in range(600))
        db.settle()
        told = db.stats().controller
        assert told is not None
        assert (told.mode, told.windows) == ("advise", 1)
        changed = [event["changed"] for event in read_events(db._core.fs, "/db") if event["kind"] == "options"]
        assert changed[0]["controller"]["size_ratios"] == [4]
        assert db.stats().event_log_failures == 0


def test_helper_process(tmp_path):
    """A large merge goes to a process while that may be."""
    with lsmkv.open(tmp_path / "db", Options(helper_process=False, level0_runs=9, level0_stop_runs=20)) as db:
        for turn in range(3):
            db.put_many((b"%d" % n, bytes(5000)) for n in range(turn, 900, 2))
            db.flush()
        db.compact()
        assert not db.stats().compactions_apart
        db.set_options(helper_process=True)
        db.put(b"1", b"more")
        db.flush()
        db.compact()
        assert db.stats().compactions_apart == 1


def test_range_delete_keys(open_db):
    with open_db() as db:
        db.put_many((b"%02d" % n, b"v") for n in range(10))
        db.delete_range(b"00", b"03")
        assert db.stats().last_seq == 13, "one by one"
        db.set_options(range_delete_keys=2)
        db.delete_range(b"03", b"06")
        assert db.stats().last_seq == 14
        assert [key for key, _ in db.scan()] == [b"%02d" % n for n in range(6, 10)]


def test_the_page_about_options_names_each_where_it_belongs():
    page = (Path(__file__).parents[2] / "docs" / "options.md").read_text(encoding="utf-8")
    rows = [row.split("|")[1] for row in page.splitlines() if row.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(CHANGEABLE)
    fixed = set(re.findall(r"`(\w+)`", page.partition("Fixed until the next opening are")[2].partition(".")[0]))
    assert fixed == set(NAMES) - CHANGEABLE - {"policy"}


EFFECTS = [
    test
    for name, test in sorted(globals().items())
    if name.startswith("test_") and (name.removeprefix("test_").split("__")[0] in CHANGEABLE)
]


def test_a_cache_begun_while_the_store_is_open_has_a_seed_of_its_own(open_db):
    """Whoever chooses keys and values must not know how rows are sealed."""
    seeds = set()
    with open_db() as db:
        for _ in range(2):
            db.set_options(block_cache_bytes=0)
            db.set_options(block_cache_bytes=1 << 16)
            seeds.add(db._core.cache.seed)
    assert len(seeds) == 2
    assert 0 not in seeds
