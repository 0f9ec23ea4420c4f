"""The file of the event log: whole lines, bounded, and never a reason for work to fail."""

from __future__ import annotations

import errno
import json

from hypothesis import given
from hypothesis import strategies as st

from lsmkv.base.events import EVENTS, OLDER_EVENTS, EventLog, read_events
from lsmkv.testing.clock import ManualClock
from lsmkv.testing.faults import FailOp, FaultFileSystem
from lsmkv.testing.memfs import MemoryFileSystem


def a_log(fs, limit_bytes=1 << 20):
    return EventLog(fs, "/db", ManualClock(), limit_bytes)


def a_directory():
    fs = MemoryFileSystem()
    fs.mkdir("/db")
    return fs


def whole(fs, name):
    return fs.open(f"/db/{name}").pread(fs.size(f"/db/{name}"), 0)


@given(st.lists(st.tuples(st.sampled_from(["flush", "stall"]), st.text(max_size=30)), max_size=20), st.integers(1, 5))
def test_what_was_noted_is_read_back_in_order_whoever_opened_the_log(events, every):
    fs = a_directory()
    log = a_log(fs)
    for n, (kind, why) in enumerate(events):
        if n % every == 0:
            log.close()
            log = a_log(fs)
        log.note(kind, lambda why=why: {"why": why})
    assert [(e["kind"], e["why"]) for e in read_events(fs, "/db")] == events


@given(st.integers(1, 200), st.integers(200, 2000))
def test_the_log_is_bounded_and_keeps_the_newest(count, limit):
    fs = a_directory()
    log = a_log(fs, limit)
    for n in range(count):
        log.note("flush", lambda n=n: {"n": n})
    assert all(fs.size(f"/db/{name}") <= limit for name in fs.listdir("/db"))
    kept = [e["n"] for e in read_events(fs, "/db")]
    assert kept == list(range(count))[-len(kept) :]
    assert set(fs.listdir("/db")) <= {EVENTS, OLDER_EVENTS}


@given(st.integers(0, 60))
def test_a_torn_line_is_skipped_and_spoils_no_other(cut):
    fs = a_directory()
    log = a_log(fs)
    log.note("flush", lambda: {"n": 1})
    before = fs.size(f"/db/{EVENTS}")
    log.note("flush", lambda: {"n": 2})
    log.close()
    size = max(before, fs.size(f"/db/{EVENTS}") - cut)
    fs.open(f"/db/{EVENTS}", "rw").truncate(size)
    again = a_log(fs)
    again.note("flush", lambda: {"n": 3})
    seen = [e["n"] for e in read_events(fs, "/db")]
    assert seen[0] == 1
    assert seen[-1] == 3
    assert len(whole(fs, EVENTS).split(b"\n")[-1]) == 0


def test_a_disk_that_refuses_costs_events_only():
    fs = a_directory()
    bad = FaultFileSystem(fs, [FailOp(op="pwritev", path="*.jsonl", errno=errno.ENOSPC, times=2)])
    log = a_log(bad)
    for n in range(4):
        log.note("flush", lambda n=n: {"n": n})
    assert log.failures == 2
    assert [e["n"] for e in read_events(fs, "/db")] == [2, 3]
    assert [json.loads(line)["n"] for line in whole(fs, EVENTS).splitlines()] == [2, 3]


def test_a_store_without_a_log_has_no_events():
    assert list(read_events(a_directory(), "/db")) == []


def test_an_event_that_is_no_json_costs_itself_only():
    """The work it tells of is done by then: it must not fail for that."""
    fs = a_directory()
    log = a_log(fs)
    for odd in ({1, 2}, {(1, 2): 3}):
        log.note("flush", lambda odd=odd: {"n": odd})
    log.note("flush", lambda: {"n": 1})
    assert log.failures == 2
    assert [e["n"] for e in read_events(fs, "/db")] == [1]


def test_a_log_that_cannot_be_turned_over_does_not_outgrow_its_limit():
    """Bug: after a failed rename the file was opened again and appended to without a look at its size."""
    fs = a_directory()
    fs.mkdir(f"/db/{OLDER_EVENTS}")
    log = a_log(fs, 2000)
    for n in range(200):
        log.note("flush", lambda n=n: {"n": n})
    assert fs.size(f"/db/{EVENTS}") <= 2000
    assert log.failures > 100


def test_it_goes_on_when_it_can_be_turned_over_again():
    fs = a_directory()
    rule = FailOp(op="rename", path="*.jsonl")
    bad = FaultFileSystem(fs, [rule])
    log = a_log(bad, 500)
    for n in range(30):
        log.note("flush", lambda n=n: {"n": n})
    bad.remove(rule)
    log.note("flush", lambda: {"n": 30})
    kept = [e["n"] for e in read_events(fs, "/db")]
    assert kept == [*range(len(kept) - 1), 30]
    assert all(fs.size(f"/db/{name}") <= 500 for name in (EVENTS, OLDER_EVENTS))
