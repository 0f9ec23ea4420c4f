"""Memtables that stay in memory while their tables are at level 0: the answers are those of the tables, the memory is bounded."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

import lsmkv
from lsmkv.base.counters import Counters
from lsmkv.live.kept import EVERY, MOST_ENTRIES, SHARE, KeptMemtables
from lsmkv.live.tables import FEWEST
from lsmkv.testing import ManualScheduler, MemoryFileSystem
from lsmkv.version.shape import Run, TableMeta

BASE = 300


def key(n: int) -> bytes:
    return random.Random(n).randbytes(16)


def opened(fs: MemoryFileSystem, **overrides: object) -> lsmkv.DB:
    chosen: dict[str, object] = {
        "fs": fs,
        "scheduler": ManualScheduler(),
        "memtable_bytes": 1 << 20,
        "level0_runs": 8,
        "event_log": False,
        "status_interval_s": None,
    }
    return lsmkv.open("/db", lsmkv.Options(**(chosen | overrides)))


def based(fs: MemoryFileSystem, **overrides: object) -> tuple[lsmkv.DB, dict[bytes, bytes]]:
    """A store whose gets find their keys in memory."""
    db = opened(fs, **overrides)
    contents = {key(n): b"base %d" % n for n in range(BASE)}
    db.put_many(contents.items())
    db.compact()
    return db, contents


def ask(db: lsmkv.DB, times: int = 2 * FEWEST) -> None:
    """Enough gets for the next memtable to be kept."""
    for n in range(times):
        assert db.get(key(n % BASE)) != b""


def kept(db: lsmkv.DB) -> int:
    return len(db._core.tables.kept)


def test_the_memtable_of_a_store_that_is_asked_stays_until_its_table_is_merged() -> None:
    db, contents = based(MemoryFileSystem())
    with db:
        ask(db)
        new = {key(n): b"new %d" % n for n in range(200, 600)}
        db.put_many(new.items())
        taken = db.stats().hash_column_bytes
        db.flush()
        assert kept(db) == 1
        assert db.stats().hash_column_bytes > taken
        reads = db.stats().block_reads
        assert all(db.get(k) == v for k, v in new.items())
        assert db.stats().block_reads == reads
        assert db.get(key(5)) == contents[key(5)]
        db.compact()
        assert not kept(db)
        assert db.stats().hash_column_bytes == taken
        assert all(db.get(k) == v for k, v in (contents | new).items())


def test_a_store_that_nobody_asks_keeps_none() -> None:
    db, _ = based(MemoryFileSystem())
    with db:
        db.put_many((key(n), b"new") for n in range(400))
        db.flush()
        assert not kept(db)
        ask(db)
        db.put_many((key(n), b"newer") for n in range(400))
        db.flush()
        assert kept(db) == 1
        db.put(b"k", b"v")
        db.flush()  # nobody has asked since, and older ones cannot answer behind a newer table
        assert not kept(db)
        assert db.get(b"k") == b"v"
        assert db.get(key(5)) == b"newer"


def test_a_table_that_moves_loses_its_memtable() -> None:
    db, _ = based(MemoryFileSystem(), level0_runs=1)
    with db:
        ask(db)
        db.put_many((b"\xff" * 20 + b"%d" % n, b"v") for n in range(10))  # meets nothing below
        db.flush()
        assert kept(db) == 1
        ask(db)
        db.put_many((b"\xff" * 30 + b"%d" % n, b"w") for n in range(10))
        db.flush()
        db.settle()
        assert db.stats().moved_tables
        assert kept(db) == len(db.tree().levels[0].runs)
        assert db.get(b"\xff" * 20 + b"7") == b"v"
        assert db.get(b"\xff" * 30 + b"7") == b"w"


def test_they_take_no_more_than_their_share() -> None:
    budget = 400_000
    db, _ = based(MemoryFileSystem(), hash_column_bytes=budget, level0_runs=30, level0_stop_runs=40)
    with db:
        for turn in range(12):
            ask(db)
            db.put_many((key(n), b"%d" % turn) for n in range(300))
            db.flush()
        assert 1 <= kept(db) < 12
        assert 0 < db._core.tables.kept.charge <= SHARE * budget
        assert all(db.get(key(n)) == b"11" for n in range(300))
        few = kept(db)
        db.set_options(hash_column_bytes=budget // 8)
        assert kept(db) == 0 < few
        assert db._core.box.current.view.level0 is None
        assert all(db.get(key(n)) == b"11" for n in range(300))


class Budget:
    budget_bytes = 1 << 30
    lent = 0

    @property
    def room(self) -> int:
        return self.budget_bytes - self.lent

    def lend(self, charge: int) -> bool:
        self.lent += charge
        return True


def test_they_answer_as_one_as_long_as_that_is_quickly_made() -> None:
    budget = Budget()
    kept = KeptMemtables(budget)
    runs: list[Run] = []
    for number, count in enumerate((MOST_ENTRIES // 2, MOST_ENTRIES // 4, MOST_ENTRIES // 4, 1, MOST_ENTRIES + 1, 3)):
        table = TableMeta(number, 0, count, 0, b"", b"", 0, 0)
        kept.keep(table, {b"%d" % n: (number, b"%d" % number) for n in range(count)}, 1000, Counters())
        runs.insert(0, Run(number, (table,)))
        level0, covered = kept.level0(runs)
        assert level0 is not None
        assert covered == len(kept) == (1, 2, 3, 3, 1, 1)[number]
        assert level0.newest[b"0"] == (number, b"%d" % number)
        assert len(level0.newest) == max(run.tables[0].entries for run in runs[:covered])
    assert kept.level0([Run(9, (TableMeta(9, 0, 1, 0, b"", b"", 0, 0),)), *runs]) == (None, 0), "a newer run comes first"
    kept.clear()
    assert not budget.lent


def test_without_memory_for_hash_columns_none_is_kept() -> None:
    db, _ = based(MemoryFileSystem(), hash_column_bytes=0)
    with db:
        ask(db)
        db.put(b"k", b"v")
        db.flush()
        assert not kept(db)
        assert db.get(b"k") == b"v"


def test_counts_read_as_if_filters_had_been_asked() -> None:
    """What is there is counted exactly, what is not as one of so many tells."""
    found = []
    for memory in (0, 64 << 20):
        db, _ = based(MemoryFileSystem(), hash_column_bytes=memory, filter_bits_per_key=3.0, filter_allocation="uniform")
        with db:
            for _ in range(3):
                ask(db)
            db.put_many((key(n), b"new") for n in range(10**6, 10**6 + 2000))
            db.flush()
            assert kept(db) == bool(memory)
            before = db.stats().ledger.level(0).gets
            for n in range(10**6, 10**6 + 500):
                assert db.get(key(n)) == b"new"
            for n in range(2 * 10**6, 2 * 10**6 + 40_000):
                assert db.get(key(n)) is None
            found.append(db.stats().ledger.level(0).gets - before)
    exact, told = found
    assert told.found == exact.found == 500
    assert 0.99 < told.filter_checks / exact.filter_checks < 1.01
    assert exact.filter_false_positives > 1000
    assert 0.75 < told.filter_false_positives / exact.filter_false_positives < 1.33
    assert abs(told.block_fetches - told.filter_false_positives - 500) < EVERY


def test_a_disk_that_fails_is_no_concern_of_who_finds_its_key_in_memory() -> None:
    fs = MemoryFileSystem()
    db, _ = based(fs)
    with db:
        ask(db)
        db.put_many((key(n), b"new") for n in range(BASE))
        db.flush()
        for name in fs.listdir("/db"):
            if name.endswith(".sst"):
                fs.unlink(f"/db/{name}")
        assert all(db.get(key(n)) == b"new" for n in range(BASE))


keys = st.integers(0, 40)
steps = st.one_of(
    st.tuples(st.just("put"), keys),
    st.tuples(st.just("delete"), keys),
    st.tuples(st.just("delete_range"), keys),
    st.tuples(st.just("flush"), st.just(0)),
    st.tuples(st.just("step"), st.just(0)),
    st.tuples(st.just("compact"), st.just(0)),
    st.tuples(st.just("snapshot"), st.just(0)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=30), st.randoms(use_true_random=False))
def test_answers_are_those_of_a_dict(ops: list[tuple[str, int]], draw: random.Random) -> None:
    db, contents = based(MemoryFileSystem(), level0_runs=2)
    expected: dict[bytes, bytes] = dict(contents)
    snapshots: list[tuple[lsmkv.Snapshot, dict[bytes, bytes]]] = []
    with db:
        for turn, (what, n) in enumerate(ops):
            k = key(n)
            if what == "put":
                expected[k] = b"%d" % turn
                db.put(k, expected[k])
            elif what == "delete":
                expected.pop(k, None)
                db.delete(k)
            elif what == "delete_range":
                low, high = sorted((k, key(draw.randrange(BASE)) + b"\xff"))
                db.delete_range(low, high)
                expected = {a: b for a, b in expected.items() if not low <= a < high}
            elif what == "flush":
                ask(db, FEWEST + 200)
                db.flush()
            elif what == "step":
                db.step()
            elif what == "compact":
                db.compact()
            else:
                snapshots.append((db.snapshot(), dict(expected)))
            for m in range(45):
                assert db.get(key(m)) == expected.get(key(m)), (turn, m)
        for snapshot, then in snapshots:
            assert all(snapshot.get(key(m)) == then.get(key(m)) for m in range(45))
            snapshot.close()
        db.check()
