"""What a live writer tells onlookers: whole or not at all, bounded, gone when it closes, and never a reason for work to fail."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lsmkv
from lsmkv.base.status import LIMIT_BYTES, STATUS, StatusFile, read_status
from lsmkv.maintain.scheduler import ManualWorker
from lsmkv.observe.status import HEARTBEAT_S
from lsmkv.testing import ManualClock, MemoryFileSystem
from lsmkv.testing.faults import FailOp, FaultFileSystem


class Steps:
    """A scheduler that keeps the steps for the test to run."""

    manual = True

    def __init__(self) -> None:
        self.steps: dict[str, Callable[[], bool]] = {}

    def start(self, name: str, step: Callable[[], bool]) -> ManualWorker:
        self.steps[name] = step
        return ManualWorker(name)


def a_directory() -> MemoryFileSystem:
    fs = MemoryFileSystem()
    fs.mkdir("/db")
    return fs


def opened(fs, **more):
    scheduler, clock = Steps(), ManualClock()
    db = lsmkv.open("/db", lsmkv.Options(fs=fs, scheduler=scheduler, clock=clock, memtable_bytes=4096, **more))
    return db, clock, scheduler.steps.get("lsmkv-status")


statuses = st.dictionaries(st.text(max_size=8), st.text(max_size=200) | st.integers(), max_size=6)


@given(st.lists(statuses, min_size=1, max_size=6))
def test_the_last_status_is_read_whether_longer_or_shorter_than_the_one_before(told):
    fs = a_directory()
    file = StatusFile(fs, "/db")
    for one in told:
        assert file.write(one)
        assert read_status(fs, "/db") == one


@given(statuses, statuses, st.data())
def test_a_half_written_status_is_none(before, after, data):
    fs = a_directory()
    StatusFile(fs, "/db").write(before)
    old = fs.open(f"/db/{STATUS}").pread(LIMIT_BYTES, 0)
    StatusFile(fs, "/db").write(after)
    new = fs.open(f"/db/{STATUS}").pread(LIMIT_BYTES, 0)
    cut = data.draw(st.integers(0, len(new)))
    file = fs.open(f"/db/{STATUS}", "rw")
    file.truncate(0)
    file.pwritev([new[:cut] + old[cut:]], 0)
    assert read_status(fs, "/db") in (before, after, None)


def test_no_store_and_no_status_is_none() -> None:
    assert read_status(a_directory(), "/db") is None


def test_an_endless_status_is_not_written() -> None:
    fs = a_directory()
    file = StatusFile(fs, "/db")
    assert not file.write({"x": "y" * LIMIT_BYTES})
    assert file.failures == 1
    assert fs.listdir("/db") == []


def test_a_writer_tells_its_statistics_while_it_is_open_and_then_leaves() -> None:
    fs = MemoryFileSystem()
    db, clock, look = opened(fs)
    for i in range(200):
        db.put(b"%05d" % i, bytes(30))
    clock.advance(2.5)
    look()
    told = read_status(fs, "/db")
    stats = db.stats().to_dict()
    assert told["stats"] == json.loads(
        json.dumps({k: v for k, v in stats.items() if k not in ("path", "totals", "since_switch", "recovery")})
    )
    assert (told["up_s"], told["interval_s"], told["memtable_limit_bytes"]) == (2.5, 1.0, 4096)
    db.close()
    assert STATUS not in fs.listdir("/db")


def test_what_has_not_changed_is_told_again_only_as_a_heartbeat() -> None:
    fs = MemoryFileSystem()
    db, clock, look = opened(fs)
    look()
    first = read_status(fs, "/db")
    clock.advance(HEARTBEAT_S - 1)
    look()
    assert read_status(fs, "/db") == first
    clock.advance(1)
    look()
    assert read_status(fs, "/db")["at_s"] == pytest.approx(first["at_s"] + HEARTBEAT_S)
    db.put(b"k", b"v")
    clock.advance(1)
    look()
    assert read_status(fs, "/db")["stats"]["ledger"]["entries"] == 1
    db.close()


def test_it_says_what_stands_in_the_way_of_writes() -> None:
    fs = MemoryFileSystem()
    db, _, look = opened(fs, max_immutables=1)
    for i in range(300):
        db.put(b"%05d" % i, bytes(100))
        if db.stats().immutable_memtables:
            break
    look()
    assert "wait for their flush" in read_status(fs, "/db")["blocked"]
    db.close()


def test_the_last_words_of_a_dead_writer_go_at_the_next_opening() -> None:
    fs = MemoryFileSystem()
    _, _, look = opened(fs)
    look()
    fs = fs.crash()
    StatusFile(fs, "/db").write({"version": 1})
    db, _, _ = opened(fs)
    assert STATUS not in fs.listdir("/db")
    db.close()


def test_nobody_who_does_not_want_it_has_it() -> None:
    fs = MemoryFileSystem()
    db, _, look = opened(fs, status_interval_s=None)
    assert look is None
    db.close()


def test_a_disk_that_refuses_it_changes_nothing_else() -> None:
    fs = FaultFileSystem(MemoryFileSystem(), [FailOp(op="pwritev", path=f"*{STATUS}", errno=errno.ENOSPC)])
    db, _, look = opened(fs)
    db.put(b"k", b"v")
    look()
    look()
    assert db.get(b"k") == b"v"
    db.close()


def test_a_closed_store_is_not_looked_at() -> None:
    fs = MemoryFileSystem()
    db, _, look = opened(fs)
    db.close()
    look()
    assert STATUS not in fs.listdir("/db")


@pytest.mark.parametrize("interval", [0, -1, True, "1", float("nan")])
def test_a_senseless_interval_is_refused(interval) -> None:
    with pytest.raises(lsmkv.InvalidArgumentError, match="status_interval_s"):
        lsmkv.Options(status_interval_s=interval)


def test_the_page_of_the_format_names_every_field() -> None:
    fs = MemoryFileSystem()
    db, _, look = opened(fs)
    look()
    page = (Path(__file__).parents[2] / "docs/format/status.md").read_text()
    assert [name for name in read_status(fs, "/db") if f"`{name}`" not in page] == []
    db.close()


def test_a_look_that_fails_in_an_unforeseen_way_does_not_end_the_later_ones():
    fs = a_directory()
    db, clock, step = opened(fs)
    assert step is not None

    def fail(op, path):
        if path.endswith(STATUS) and op != "exists":
            raise RuntimeError(op)

    db.put(b"k", b"v")
    clock.advance(2)
    fs.on_op = fail
    assert step() is False
    fs.on_op = None
    db.put(b"k", b"w")
    clock.advance(HEARTBEAT_S + 1)
    assert step() is False
    assert read_status(fs, "/db") is not None
    db.close()


def test_a_directory_of_its_name_does_not_keep_a_store_from_opening(tmp_path):
    (tmp_path / STATUS).mkdir()
    with lsmkv.open(tmp_path, lsmkv.Options(status_interval_s=0.05)) as db:
        db.put(b"k", b"v")
    with lsmkv.open(tmp_path) as db:
        assert db.get(b"k") == b"v"
