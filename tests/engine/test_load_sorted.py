"""Sorted data is loaded straight into tables: all of it at once or nothing, newer than what was there, unseen by snapshots."""

from __future__ import annotations

import contextlib
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lsmkv
from lsmkv.base.events import read_events
from lsmkv.env.rng import seeded
from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.loading import place
from lsmkv.testing import CountingFileSystem, MemoryFileSystem
from lsmkv.testing.faults import FailOp, FaultFileSystem
from lsmkv.version.rules import problems
from tests.engine.test_interruptions import interrupt_at

POLICIES = [
    lsmkv.Leveled(size_ratio=3),
    lsmkv.Tiered(size_ratio=3),
    lsmkv.LazyLeveling(size_ratio=3),
    lsmkv.Fluid(size_ratio=4, K=2, Z=1),
    lsmkv.FIFO(capacity_bytes=1 << 30),
]


def pairs(start, stop, step=1, value=b"loaded"):
    return [(b"%05d" % n, value) for n in range(start, stop, step)]


def contents(db):
    return dict(db.scan())


def tables_on(fs):
    return [name for name in fs.listdir("/db") if name.endswith(".sst")]


def fill(db, numbers, value=b"old" * 20):
    for n in numbers:
        db.put(b"%05d" % n, value)


def test_a_load_is_there_at_once_and_passes_neither_log_nor_memtable(open_db):
    with open_db() as db:
        wal = db.stats().wal_bytes
        report = db.load_sorted(iter(pairs(0, 2000)))
        assert (report.entries, report.raw_bytes, report.level) == (2000, 2000 * 11, 1)
        assert report.tables == len(db.tree().tables) > 1
        assert report.bytes == db.tree().bytes
        assert db.stats().wal_bytes == wal
        assert db.stats().memtable_entries == 0
        assert contents(db) == dict(pairs(0, 2000))
        assert db.get_many([b"00000", b"01999", b"02000"]) == [b"loaded", b"loaded", None]
        db.check()


def test_it_is_newer_than_what_was_there_and_older_than_what_comes(open_db):
    with open_db() as db:
        fill(db, range(0, 100, 3))
        db.delete(b"00004")
        db.load_sorted(pairs(0, 50))
        assert db.get(b"00003") == db.get(b"00004") == b"loaded"
        assert db.get(b"00051") == b"old" * 20
        db.put(b"00005", b"newer")
        db.delete(b"00006")
        for _ in range(2):
            assert db.get_many([b"00003", b"00005", b"00006"]) == [b"loaded", b"newer", None]
            db.compact()
        db.check()


def test_a_snapshot_and_a_scan_from_before_do_not_see_it(open_db):
    with open_db() as db:
        fill(db, range(0, 300, 3))
        before = contents(db)
        with db.snapshot() as snapshot:
            scan = db.scan()
            first = next(scan)
            db.load_sorted(pairs(0, 200))
            db.settle()
            assert dict(snapshot.scan()) == before
            assert snapshot.get_many([b"00001", b"00003"]) == [None, b"old" * 20]
            assert dict([first, *scan]) == before
        assert contents(db) == before | dict(pairs(0, 200))


def test_writes_and_snapshots_go_on_while_it_is_drawn_and_are_older(open_db):
    seen = []

    def drawn(db):
        for n, pair in enumerate(pairs(0, 10_000)):
            if n % 4000 == 3999:
                db.put(b"%05d" % n, b"meanwhile")
                seen.append((db.snapshot(), db.get(b"%05d" % (n - 1))))
            yield pair

    with open_db() as db:
        db.load_sorted(drawn(db))
        assert contents(db) == dict(pairs(0, 10_000))
        for n, (snapshot, value) in enumerate(seen, 1):
            assert value is None
            assert dict(snapshot.scan()) == {b"%05d" % (4000 * m - 1): b"meanwhile" for m in range(1, n + 1)}
            snapshot.close()


NOT_PAIRS = [
    ([(b"a", b""), (b"b", b""), (b"b", b"")], "pair 2 .*the same as"),
    ([(b"b", b""), (b"a", b"")], "pair 1 .*sorts before"),
    ([(b"a", b""), (b"b", None)], "pair 1 .*value must be bytes"),
    ([(b"a", b""), ("b", b"")], "pair 1 .*key must be bytes"),
    ([(b"a", b""), b"bc"], "pair 1 .*pairs, not bytes"),
    ([*pairs(0, 9000), (b"00001", b"")], "pair 9000 .*sorts before"),
    ([*pairs(0, 9000), (b"x", 1), *pairs(0, 9)], "pair 9000 .*value must be bytes"),
    ([*pairs(0, 4096), (b"04095", b"")], "pair 4096 .*the same as"),
    ({b"a": b"b"}, "mapping"),
    (7, "iterable"),
]


@pytest.mark.parametrize("drawn", [0, 1, 5000])
def test_what_the_iterable_raises_keeps_its_words(open_db, drawn):
    def given():
        yield from pairs(0, drawn)
        raise InvalidArgumentError("its own affair")

    with open_db() as db, pytest.raises(InvalidArgumentError) as caught:
        db.load_sorted(given())
    assert str(caught.value) == "its own affair"


@pytest.mark.parametrize(("given_", "message"), [*NOT_PAIRS, *((iter(g), why) for g, why in NOT_PAIRS if isinstance(g, list))])
def test_what_is_out_of_order_or_no_pair_is_refused_by_position_and_leaves_nothing(open_db, memory_fs, given_, message):
    with open_db() as db:
        fill(db, range(10))
        db.flush()
        before, files, shape = contents(db), tables_on(memory_fs), db.tree()
        with pytest.raises(InvalidArgumentError, match=message):
            db.load_sorted(given_)
        assert (contents(db), tables_on(memory_fs), db.tree().levels) == (before, files, shape.levels)
        db.put(b"x", b"goes on")
        db.check()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_iterable_that_fails_leaves_nothing(open_db, memory_fs, error):
    def drawn():
        yield from pairs(0, 5000)
        raise error

    with open_db() as db:
        with pytest.raises(error):
            db.load_sorted(drawn())
        assert tables_on(memory_fs) == []
        assert db.load_sorted(pairs(0, 10)).entries == 10


@pytest.mark.parametrize("op", ["pwritev", "sync", "open"])
@pytest.mark.parametrize("path", ["*.sst", "*MANIFEST*"])
def test_a_disk_that_fails_leaves_nothing_of_it(memory_fs, open_db, op, path):
    fs = FaultFileSystem(memory_fs)
    db = open_db(fs=fs)
    fill(db, range(10))
    db.flush()
    fs.add(FailOp(op, path=path, errno=28))
    if (op, path) == ("open", "*MANIFEST*"):
        db.load_sorted(pairs(0, 3000))  # it is open already
        return
    with pytest.raises(lsmkv.LsmError):
        db.load_sorted(pairs(0, 3000))
    fs.clear()
    assert contents(db) == dict(pairs(0, 10, value=b"old" * 20))
    db.close()
    with open_db(fs=memory_fs.crash()) as db:
        assert contents(db) == dict(pairs(0, 10, value=b"old" * 20))
        db.check()


MOMENTS = [
    "build_tables",
    "_Output.finish",
    "Upkeep.flush_all",
    "install_load",
    "flush_oldest",
    "Committer.jump",
    "install",
    "Manifest.append",
    "_show",
    "withdrawn_on_failure",
]


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_anywhere_leaves_all_or_nothing_and_no_lock_held(open_db, moment):
    fs = MemoryFileSystem()
    db = open_db(fs=fs)
    fill(db, range(0, 40, 3))
    before = contents(db)
    after = before | dict(pairs(0, 900))
    interrupt_at(lambda: db.load_sorted(pairs(0, 900)), moment)
    assert contents(db) in (before, after)
    with contextlib.suppress(lsmkv.PoisonedError):
        db.put(b"zz", b"goes on")
    db.close()
    with open_db(fs=fs) as again:
        found = contents(again)
        found.pop(b"zz", None)
        assert found in (before, after)
        again.load_sorted(pairs(0, 900))
        again.check()


class _CutError(BaseException):
    """The machine stops here."""


def test_a_power_cut_before_any_call_leaves_all_or_nothing(open_db):
    before = dict(pairs(0, 60, 2, b"old"))
    after = before | dict(pairs(0, 900))
    seen = set()
    for stop_at in range(1, 500):
        fs, calls, done = MemoryFileSystem(), [0], False
        db = open_db(fs=fs)
        db.put_many(before.items())
        db.sync()

        def hook(op, path, calls=calls, stop_at=stop_at):
            calls[0] += 1
            if calls[0] == stop_at:
                raise _CutError

        fs.on_op = hook
        try:
            db.load_sorted(pairs(0, 900))
            done = True
        except _CutError:
            pass
        fs.on_op = None
        for rng in (None, seeded(stop_at)):
            with open_db(fs=fs.crash(rng)) as again:
                found = contents(again)
                assert found in (before, after)
                assert not done or found == after
                again.check()
                seen.add(len(found))
        if done:
            break
    assert seen == {len(before), len(after)}
    assert stop_at > 20


def test_what_was_written_before_is_as_durable_as_the_load(open_db):
    """A load that survived what came before it would be a hole in the order of commits."""
    fs = MemoryFileSystem()
    db = open_db(fs=fs)
    db.put(b"before", b"unsynced")
    db.load_sorted(pairs(0, 10))
    db.put(b"z", b"after")
    db.sync()
    with open_db(fs=fs.crash()) as again:
        assert contents(again) == dict(pairs(0, 10)) | {b"before": b"unsynced", b"z": b"after"}


steps = st.one_of(
    st.tuples(st.just("load"), st.integers(0, 400), st.integers(1, 200), st.integers(1, 9)),
    st.tuples(st.just("put"), st.integers(0, 400), st.integers(1, 60), st.integers(1, 9)),
    st.tuples(st.just("step"), st.integers(1, 3)),
    st.tuples(st.sampled_from(["settle", "flush", "reopen"])),
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(POLICIES), st.lists(steps, max_size=25))
def test_under_every_policy_the_tree_stays_sound_and_comes_to_rest(open_db, policy, todo):
    fs, model = MemoryFileSystem(), {}
    settings_ = {"fs": fs, "policy": policy, "table_bytes": 1024, "memtable_bytes": 1024, "level0_stop_runs": 12}
    db = open_db(**settings_)
    for turn, (what, *numbers) in enumerate(todo):
        value = b"%06d" % turn
        if what == "load":
            start, count, step = numbers
            db.load_sorted(pairs(start, start + count, step, value))
            model |= dict(pairs(start, start + count, step, value))
        elif what == "put":
            start, count, step = numbers
            db.put_many(pairs(start, start + count, step, value))
            model |= dict(pairs(start, start + count, step, value))
        elif what == "step":
            for _ in range(numbers[0]):
                db.step()
        elif what == "reopen":
            db.close()
            db = open_db(**settings_)
        else:
            getattr(db, what)()
        db.check()
        assert not problems(db.tree())
        assert contents(db) == model
    db.settle()
    assert db.pending() is None
    assert contents(db) == model
    db.close()
    assert lsmkv.verify("/db", fs=fs).ok


def test_what_meets_nothing_goes_to_the_deepest_level_and_merges_nothing(open_db):
    with open_db(policy=lsmkv.Leveled(size_ratio=3), table_bytes=1024) as db:
        for turn in range(6):
            fill(db, range(turn, 3000, 7))
            db.settle()
        deepest = len(db.tree().levels) - 1
        assert deepest >= 2
        before = db.stats()
        report = db.load_sorted(pairs(50_000, 51_000))
        assert report.level == deepest
        assert len(db.tree().levels[deepest].runs) == 1, "it joined the run there"
        db.settle()  # it may be too much for the level; then all of that moves
        assert db.stats().compactions == before.compactions


def test_what_meets_a_level_goes_above_it(open_db):
    with open_db(policy=lsmkv.Leveled(size_ratio=3), table_bytes=1024) as db:
        for turn in range(6):
            fill(db, range(turn, 3000, 7))
        db.compact()
        deepest = len(db.tree().levels) - 1
        report = db.load_sorted(pairs(0, 3000, 50))
        assert report.level == max(deepest - 1, 1)
        db.check()


def test_a_policy_that_forgets_the_oldest_gets_new_data_as_the_newest(open_db):
    with open_db(policy=lsmkv.FIFO(capacity_bytes=20_000), table_bytes=2048) as db:
        fill(db, range(200))
        db.flush()
        db.settle()
        db.load_sorted(pairs(50_000, 51_000))
        assert len(db.tree().levels[0].runs) > 1
        seqs = [table.max_seq for table in db.tree().tables]
        assert seqs == sorted(seqs, reverse=True), "depth is age"
        db.settle()
        assert db.get(b"50999") == b"loaded"
        db.check()


def test_a_large_load_that_meets_level_0_has_it_merged_away_first(open_db):
    with open_db(table_bytes=1024, level0_runs=2, level0_slowdown_runs=4, level0_stop_runs=6) as db:
        fill(db, range(0, 100, 3))
        db.flush()
        report = db.load_sorted(pairs(0, 3000))
        assert report.level == 1
        assert db.tree().levels[0].runs == ()
        assert db.stats().compactions == 1
        assert contents(db) == dict(pairs(0, 3000))
        db.settle()
        db.check()


def test_a_load_that_cannot_flush_first_takes_its_tables_away(open_db, memory_fs):
    fs = FaultFileSystem(memory_fs)
    with open_db(fs=fs) as db:
        fill(db, range(5))
        rule = fs.add(FailOp("open", path="*.wal", errno=28))
        with pytest.raises(lsmkv.NoSpaceError):
            db.load_sorted(pairs(0, 3000))
        fs.remove(rule)
        assert tables_on(memory_fs) == []
        assert contents(db) == dict(pairs(0, 5, value=b"old" * 20))


def test_what_is_written_between_the_first_flush_and_the_end_is_flushed_too(open_db, memory_fs):
    """It would be older than the load and yet above it, and its log would have the jump of numbers in it."""
    with open_db() as db:
        db.put(b"00001", b"first")

        def hook(op, path):
            if op == "unlink" and path.endswith(".wal"):  # the first flush is done
                memory_fs.on_op = None
                db.put(b"00001", b"between")
                db.put(b"between", b"x")

        memory_fs.on_op = hook
        db.load_sorted(pairs(0, 10))
        assert memory_fs.on_op is None
        assert db.get(b"00001") == b"loaded"
        assert db.stats().memtable_entries == 0
        db.put(b"after", b"x", sync=True)
    with open_db(fs=memory_fs.crash()) as db:
        assert contents(db) == dict(pairs(0, 10)) | {b"between": b"x", b"after": b"x"}


def test_one_load_at_a_time(open_db):
    with open_db() as db:

        def drawn():
            with pytest.raises(lsmkv.BusyError, match="one at a time"):
                db.load_sorted(pairs(0, 1))
            yield from pairs(0, 10)

        assert db.load_sorted(drawn()).entries == 10


def test_more_writes_than_the_gap_refuse_the_load(open_db, monkeypatch, memory_fs):
    monkeypatch.setattr("lsmkv.maintain.upkeep.GAP", 5)
    with open_db() as db:

        def drawn():
            fill(db, range(20))
            yield from pairs(100, 110)

        with pytest.raises(lsmkv.BusyError, match="were committed while"):
            db.load_sorted(drawn())
        assert contents(db) == dict(pairs(0, 20, value=b"old" * 20))
        db.check()


def test_nothing_to_load_is_no_load(open_db):
    with open_db() as db:
        last = db.stats().last_seq
        assert db.load_sorted([]) == lsmkv.LoadReport(0, 0, 0, 0, None)
        assert db.stats().last_seq == last


def test_a_store_that_closes_meanwhile_ends_the_load(tmp_path):
    started, go_on = threading.Event(), threading.Event()
    db = lsmkv.open(tmp_path / "db", lsmkv.Options(status_interval_s=None))

    def drawn():
        yield from pairs(0, 8192)
        started.set()
        go_on.wait()
        yield from pairs(8192, 20_000)

    failed = []

    def run():
        try:
            db.load_sorted(drawn())
        except lsmkv.ClosedError as error:
            failed.append(error)

    loader = threading.Thread(target=run)
    loader.start()
    started.wait()
    closer = threading.Thread(target=db.close)
    closer.start()
    while not db._core.stopping:
        pass
    go_on.set()
    loader.join()
    closer.join()
    assert failed
    assert not list((tmp_path / "db").glob("*.sst"))


def test_loads_and_writers_and_compactions_together(tmp_path):
    """With threads, tiny memtables and stalls: nobody waits for another in a circle, and every answer is right."""
    options = lsmkv.Options(
        memtable_bytes=16 << 10,
        table_bytes=8 << 10,
        max_immutables=1,
        level0_runs=1,
        level0_stop_runs=3,
        status_interval_s=None,
    )
    with lsmkv.open(tmp_path / "db", options) as db:
        stop = threading.Event()

        def write():
            n = 0
            while not stop.is_set():
                db.put(b"w%05d" % (n % 5000), bytes(100))
                n += 1

        writers = [threading.Thread(target=write) for _ in range(2)]
        for writer in writers:
            writer.start()
        try:
            for turn in range(8):
                start = 1000 * turn
                db.load_sorted(
                    [(b"%s%05d" % (part, n), b"%d" % turn) for part in (b"a", b"x") for n in range(start, start + 1500)]
                )
                assert db.get(b"a%05d" % start) == db.get(b"x%05d" % (start + 1499)) == b"%d" % turn
        finally:
            stop.set()
            for writer in writers:
                writer.join()
        db.check()
        assert db.get(b"a01200") == b"1"
        assert db.get(b"a00999") == b"0"


def test_it_is_counted_apart_and_told(open_db, memory_fs):
    disk = CountingFileSystem(memory_fs)
    with open_db(fs=disk) as db:
        report = db.load_sorted(pairs(0, 3000))
        spent = db.stats().ledger
        assert (spent.load.tasks, spent.load.written_entries, spent.load.written_bytes) == (1, 3000, report.bytes)
        assert spent.load.syncs == report.tables
        assert spent.bytes_written["load"] == disk.bytes("write", "*.sst")
        assert spent.flush.tasks == spent.entries == 0
    told = [event for event in read_events(memory_fs, "/db") if event["kind"] == "load"]
    assert [{name: event[name] for name in report.to_dict()} for event in told] == [report.to_dict()]
    with open_db(fs=disk) as db:
        assert db.stats().totals.load.written_bytes == report.bytes


def test_the_place_of_a_load_never_lies_below_what_it_meets(open_db):
    """The rule itself, on trees that were really made."""
    with open_db(policy=lsmkv.Tiered(size_ratio=3), table_bytes=1024) as db:
        for turn in range(12):
            fill(db, range(100 * turn, 100 * turn + 150))
            db.flush()
            db.step()
            shape = db.tree()
            for low in range(0, 1500, 110):
                low_key, high_key = b"%05d" % low, b"%05d" % (low + 90)
                at = place(shape, low_key, high_key, db._core.policy, 100)
                for number, level in enumerate(shape.levels[: at.level]):
                    assert not any(t.smallest <= high_key and t.largest >= low_key for run in level.runs for t in run.tables), (
                        number
                    )


@pytest.mark.parametrize("ranged", [False, True])
def test_a_power_cut_that_takes_the_name_of_the_log_but_not_that_of_a_table_leaves_a_store_that_opens(open_db, ranged):
    """A table that holds what nobody else knows of, without a log of its time: opening would refuse that."""
    for stop_at in range(1, 100):
        fs, calls, done = MemoryFileSystem(), [0], False
        db = open_db(fs=fs, range_delete_keys=0, table_bytes=1024)
        if ranged:
            db.put(b"gone", b"v")
            db.flush()

        def drawn(db=db):
            if ranged:
                db.delete_range(b"gone", b"gonf")
                db.flush()  # nothing but range deletes: their log ends, and no table is named
            yield from pairs(0, 140)

        def hook(op, path, calls=calls, stop_at=stop_at):
            calls[0] += 1
            if calls[0] == stop_at:
                raise _CutError

        fs.on_op = hook
        try:
            db.load_sorted(drawn())
            done = True
        except _CutError:
            pass
        fs.on_op = None
        for seed in range(16):
            with open_db(fs=fs.crash(seeded(seed))) as again:
                assert set(contents(again)) - {b"gone"} in (set(), set(dict(pairs(0, 140))))
        if done:
            break
    assert stop_at > 10
