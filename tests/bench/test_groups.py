"""Every group of the index suite runs to its end; what does not fit or comes too late is named, not lost."""

import json
import random
import threading
from dataclasses import replace

import pytest

from bench import __main__ as command
from bench.child import ask
from bench.data import make_entries
from bench.harness import Case, Effort
from bench.index import GROUPS, run_groups
from bench.index import ticks as tick_room
from bench.index.fill import _put_all, fill
from bench.index.lines import filled_stores
from bench.index.shape import Shape, refusal, together
from bench.index.ticks import child, drive, lateness
from bench.peers import BACKGROUND_PEERS, INDEX_PEERS, POLICY_PEERS, Settings, UnavailableError, index_peer
from bench.peers.sorteddict import SortedDictIndex
from bench.scratch import scratch_dir
from bench.session import Request, Session, progress_bar


@pytest.fixture
def session(tmp_path):
    with scratch_dir(str(tmp_path)) as scratch, progress_bar() as progress:
        yield Session(Request(quick=False, only=(), seed=1, scratch=scratch, scale=0.001), random.Random(1), progress)


def opened(kind, path, settings=None):
    """The subject; a test about one that is not installed is skipped."""
    try:
        return kind(path, settings or Settings())
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_a_group_runs_to_its_end_and_leaves_no_scratch(group, tmp_path):
    scratch, told = tmp_path / "scratch", tmp_path / "told.json"
    scratch.mkdir()
    tiny = ["--scale", "0.001", "--subjects", "lsmkv", "sortedcontainers", "--path", str(scratch), "--json", str(told)]
    assert command.main(["index", "--group", group, *tiny]) == 0
    assert not list(scratch.iterdir())
    result = json.loads(told.read_text())
    assert not result["skipped"]
    assert result["rows"]
    for row in result["rows"]:
        assert row["group"].partition(":")[0] == group
        assert row["samples"]["lsmkv"], row["missing"]
        assert set(row["missing"]) <= {"sortedcontainers"}


def test_no_group_needs_another_ones_rows():
    assert next(iter(GROUPS)) == "core"
    assert all(group.minutes <= group.limit_minutes for group in GROUPS.values())


def test_a_shape_without_room_is_skipped_by_name(session, monkeypatch):
    filled_stores(session, "sizes", Shape(entries=10**12), INDEX_PEERS, lambda *_: pytest.fail("it fitted"))
    monkeypatch.setattr("bench.index.shape._available_bytes", lambda: 1 << 80)
    filled_stores(session, "sizes", Shape(entries=2_000, value_bytes=1 << 42), INDEX_PEERS, lambda *_: pytest.fail("it fitted"))
    assert "of memory" in session.skipped["sizes: 1000000M x 28 B"]
    assert "of disk" in session.skipped["sizes: 2k x 4294967296 KiB"]


def test_a_group_whose_time_is_over_is_skipped_by_name(session):
    session.ends = 0.0
    assert session.measure(Case("get", "get", "us", "lower", {"lsmkv": lambda: 1.0}, group="keys"), Effort(1)) is None
    filled_stores(session, "keys", Shape(entries=2_000), INDEX_PEERS, lambda *_: pytest.fail("it ran"))
    assert set(session.skipped) == {"keys: get", "keys: 2k x 28 B"}


def test_a_group_without_time_skips_all_its_shapes(session):
    session.request = replace(session.request, limit_s=1e-9)
    run_groups(session, ["keys", "ycsb"])
    assert not session.rows
    assert {what.partition(":")[0] for what in session.skipped} == {"keys", "ycsb"}


def test_a_child_that_fails_tells_its_last_words(tmp_path):
    with pytest.raises(RuntimeError, match="StopIteration"):
        ask("busy", subject="nobody", path=str(tmp_path), entries=1, seed=1, window_s=1, pace=1, buffer_bytes=1)


def test_stores_too_large_for_the_page_cache_are_measured_one_by_one(tmp_path):
    assert together(Shape(entries=1_000), ["a", "b"], tmp_path) == [["a", "b"]]
    assert together(Shape(entries=10**9), ["a", "b"], tmp_path) == [["a"], ["b"]]
    assert refusal(Shape(entries=1_000), tmp_path) is None


def test_subjects_measured_one_by_one_share_their_rows(session, monkeypatch):
    monkeypatch.setattr("bench.index.lines.together", lambda shape, subjects, scratch: [[name] for name in subjects])
    with_two = Request(quick=False, only=(), seed=1, scratch=session.request.scratch, scale=0.001, subjects=("lsmkv", "sqlite"))
    session.request = with_two
    GROUPS["keys"].run(session)
    assert all(set(row.samples) == {"lsmkv", "sqlite"} for row in session.rows)
    assert len({row.name for row in session.rows}) == len(session.rows)


def test_a_fill_cut_short_is_finished_in_key_order(tmp_path):
    entries = make_entries(1_000, 8, seed=1)
    peer = SortedDictIndex(tmp_path, Settings())
    _, timed = _put_all(peer, entries.batches(128), limit_s=0.0)
    assert timed == 128
    assert peer.scan(b"", 2_000) == list(zip(entries.keys, entries.values, strict=True))


def test_overwritten_entries_have_their_last_value(session):
    entries = make_entries(2_000, 8, seed=1)
    before = list(entries.values)
    shape = Shape(entries=2_000, value_bytes=8, overwrites=0.5)
    filled = fill(session, shape, entries, [index_peer("sqlite")], session.request.scratch, rounds=2, compact=False)
    assert not filled.missing
    assert len(filled.put_us["sqlite"]) == 2
    assert filled.disk["sqlite"] > shape.data_bytes
    changed = sum(old != new for old, new in zip(before, entries.values, strict=True))
    assert changed == 1_000
    assert [filled.peers["sqlite"].get(key) for key in entries.keys] == entries.values
    filled.close()


def test_a_store_that_answers_wrongly_is_not_measured(session, monkeypatch):
    sqlite = index_peer("sqlite")
    monkeypatch.setattr(sqlite, "scan", lambda self, start, count: [])
    entries = make_entries(2_000, 8, seed=1)
    filled = fill(session, Shape(entries=2_000), entries, [sqlite], session.request.scratch, rounds=1, compact=True)
    assert "wrong answer" in filled.missing["sqlite"]
    assert not filled.peers
    assert not filled.put_us


@pytest.mark.parametrize("kind", POLICY_PEERS, ids=lambda kind: kind.name)
def test_each_policy_answers_as_any_store_and_settles(kind, session):
    opened(kind, session.request.scratch / "probe").close()
    entries = make_entries(3_000, 28, seed=1)
    shape = Shape(entries=3_000, buffer_bytes=64 << 10, overwrites=0.5)
    filled = fill(session, shape, entries, [kind], session.request.scratch, rounds=1, compact=False)
    assert not filled.missing
    filled.close()


def test_policies_differ_in_what_the_engine_is_told(tmp_path):
    told = set()
    for kind in POLICY_PEERS:
        if kind.name.startswith("lsmkv"):
            peer = kind(tmp_path / kind.name, Settings())
            told.add(str(sorted(peer._db.stats().policy.items(), key=str)))
            peer.close()
    assert len(told) == 5


@pytest.mark.parametrize("kind", BACKGROUND_PEERS, ids=lambda kind: kind.name)
def test_background_work_is_counted(kind, tmp_path):
    peer = opened(kind, tmp_path / "store", Settings(write_buffer_bytes=64 << 10))
    entries = make_entries(20_000, 256, seed=1)
    for batch in entries.batches(128):
        peer.put_many(batch)
    peer.settle()
    done = peer.background()
    peer.close()
    assert sum(count for what, count in done.items() if "flush" in what) > 0
    assert tick_room.compacted(done)


def test_an_lmdb_file_does_not_grow_while_it_is_filled(tmp_path):
    """A reader held since the opening kept LMDB from using any page again: 10,000 entries took 23 MB, and puts paid for it."""
    peer = opened(index_peer("lmdb"), tmp_path / "store")
    entries = make_entries(10_000, 28, seed=1)
    for batch in entries.batches(128):
        peer.put_many(batch)
    peer.close()
    assert (tmp_path / "store" / "data.mdb").stat().st_size < 5 * 60 * 10_000


@pytest.mark.parametrize("kind", INDEX_PEERS, ids=lambda kind: kind.name)
def test_while_reads_and_writes_are_mixed_every_write_is_seen(kind, tmp_path):
    peer = opened(kind, tmp_path / "store")
    peer.start_reading()
    peer.start_mixing()
    for number in range(20):
        peer.put(b"key", b"%d" % number)
        assert peer.get(b"key") == b"%d" % number
        assert peer.scan(b"", 5) == [(b"key", b"%d" % number)]
    peer.close()


def test_a_load_without_a_compaction_is_no_load(tmp_path, monkeypatch):
    monkeypatch.setattr(tick_room, "_PATIENCE", 1)
    with pytest.raises(RuntimeError, match="no compaction"):
        child("sortedcontainers", str(tmp_path / "store"), 2_000, seed=1, window_s=0.001, pace=0.0, buffer_bytes=64 << 10)


def test_no_tick_is_left_out_of_a_stall(monkeypatch):
    """After a stall of 20 ms the ticks that fell due in it are late too, each by what is left of it."""
    clock = [0.0]
    stop = threading.Event()
    found: list[float] = []

    def sleep(seconds):
        clock[0] += seconds + (0.020 if len(found) == 2 else 0.0)
        if len(found) == 8:
            stop.set()

    monkeypatch.setattr(tick_room.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(tick_room.time, "sleep", sleep)
    lateness(stop, found)
    assert found == pytest.approx([0, 0, 0.020, 0.015, 0.010, 0.005, 0, 0, 0], abs=1e-9)


def test_the_driver_overwrites_what_is_there_until_it_is_stopped(tmp_path):
    entries = make_entries(500, 8, seed=1)
    stop = threading.Event()
    peer = SortedDictIndex(tmp_path, Settings())
    put_many, seen = peer.put_many, []

    def counted(batch):
        put_many(batch)
        seen.append(len(batch))
        if len(seen) == 10:
            stop.set()

    peer.put_many = counted
    assert drive(peer, entries.batches(128), 0.0, stop) == sum(seen)
    assert len(peer.scan(b"", 1_000)) == 500


@pytest.mark.parametrize("scale", ["0", "-1", "inf", "nan"])
def test_a_scale_that_is_none_is_refused(scale, capsys):
    with pytest.raises(SystemExit):
        command.main(["index", "--scale", scale])
    assert "must be above 0" in capsys.readouterr().err
