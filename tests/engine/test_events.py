"""What the event log tells: every flush, compaction, switch and stall, with the tree after it."""

from __future__ import annotations

import errno
import itertools
import random
import re
from pathlib import Path

import pytest

import lsmkv
from lsmkv.base.events import EVENTS, read_events
from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.testing.clock import ManualClock
from lsmkv.testing.faults import FailOp, FaultFileSystem
from lsmkv.testing.memfs import MemoryFileSystem

PAGE = (Path(__file__).parents[2] / "docs/format/events.md").read_text()
COMMON = ["at_s", "kind", "buffer_entries", "levels"]


def story(fs, seed=1):
    """A bit of everything, reproducible."""
    clock = ManualClock()
    options = lsmkv.Options(
        fs=fs, clock=clock, rng=seeded(seed), scheduler=ManualScheduler(), policy=lsmkv.Tiered(size_ratio=4),
        memtable_bytes=4096, table_bytes=2048, block_bytes=256, level0_runs=1, level0_stop_runs=3, max_immutables=1,
    )  # fmt: skip
    rng = random.Random(seed)
    with lsmkv.open("/db", options) as db:
        for n in range(60):
            for _ in range(20):
                db.put(b"%05d" % rng.randrange(2000), b"%d" % n * 5)
            clock.advance(1.5)
            if n == 40:
                db.settle()
                db.set_policy(lsmkv.Leveled(size_ratio=3))
            if n % 7 == 0:
                db.settle()
        db.settle()
        db.compact(b"00500", b"00700")
        db.set_policy(lsmkv.FIFO(capacity_bytes=db.stats().bytes))
        for n in range(300):
            db.put(b"%05d" % rng.randrange(2000), b"%d" % n * 5)
        db.flush()
        db.settle()
    return list(read_events(fs, "/db"))


def picture(shape):
    return [[[run.bytes, run.entries, len(run.tables)] for run in level.runs] for level in shape.levels]


def test_the_story_has_every_kind_and_every_line_the_whole_tree():
    events = story(MemoryFileSystem())
    kinds = {e["kind"] for e in events}
    assert kinds == {"open", "flush", "compaction", "switch", "switched", "stall", "close"}
    assert {e["task"] for e in events if e["kind"] == "compaction"} == {"merge", "move", "drop"}
    assert {e["by"] for e in events if e["kind"] == "compaction"} == {"policy", "compact"}
    assert all(isinstance(e["levels"], list) and "buffer_entries" in e for e in events)
    assert [e["at_s"] for e in events] == sorted(e["at_s"] for e in events)


def test_each_line_follows_from_the_one_before():
    """Bytes and entries add up: what a task takes and writes is what the tree loses and gains."""

    def total(event):
        runs = [run for level in event["levels"] for run in level]
        return sum(run[0] for run in runs), sum(run[1] for run in runs)

    events = story(MemoryFileSystem())
    for before, event in itertools.pairwise(events):
        (old_bytes, old_entries), (new_bytes, new_entries) = total(before), total(event)
        if event["kind"] == "flush":
            assert (new_bytes, new_entries) == (old_bytes + event["bytes"], old_entries + event["entries"])
        elif event["kind"] == "compaction":
            gone = event["dropped_bytes"] if event["task"] == "drop" else event["read_bytes"]
            assert new_bytes == old_bytes - gone + event["written_bytes"]
            for level, position, taken, of, taken_bytes in event["inputs"]:
                run = before["levels"][level][position]
                assert (run[2], run[0] >= taken_bytes, taken <= of) == (of, True, True)
            if event["output_position"] is not None:
                assert event["levels"][event["output_level"]][event["output_position"]][2] > 0
        else:
            assert (new_bytes, new_entries) == (old_bytes, old_entries)


def test_the_last_line_shows_the_tree_as_it_is():
    fs = MemoryFileSystem()
    last = story(fs)[-1]
    with lsmkv.open("/db", lsmkv.Options(fs=fs, scheduler=ManualScheduler())) as db:
        assert last["kind"] == "close"
        assert picture(db.tree()) == last["levels"]
        opened = list(read_events(fs, "/db"))[-1]
        assert (opened["kind"], opened["created"], opened["policy"]["name"]) == ("open", False, "fifo")


def test_a_switch_tells_what_it_cost():
    events = story(MemoryFileSystem())
    switch = next(e for e in events if e["kind"] == "switch")
    end = next(e for e in events if e["kind"] == "switched")
    assert (switch["from"]["name"], switch["to"]["name"], switch["pace"]) == ("tiered", "leveled", "greedy")
    between = events[events.index(switch) : events.index(end)]
    assert end["paid_bytes"] == sum(e.get("debt_bytes", 0) for e in between if e["kind"] == "compaction")
    assert end["predicted_bytes"] == switch["debt_bytes"]


def test_the_same_seed_makes_the_same_log():
    """I10."""
    logs = []
    for _ in range(2):
        fs = MemoryFileSystem()
        story(fs, seed=4)
        logs.append(fs.open(f"/db/{EVENTS}").pread(1 << 20, 0))
    assert logs[0] == logs[1]


def test_every_field_is_described_and_none_is_described_in_vain():
    """The page and the lines agree, field by field."""
    events = story(MemoryFileSystem())
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE.split("A `compaction`:")[0], re.MULTILINE))
    described = {name for row in rows.values() for name in re.findall(r"`(\w+)`", row)} | set(COMMON)
    after = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", PAGE.split("A `compaction`:")[1], re.MULTILINE)
    compaction = {name for row in after for name in re.findall(r"`(\w+)`", row)} | set(COMMON)
    for event in events:
        if event["kind"] == "compaction":
            assert set(event) <= compaction
        else:
            told = {name for name in event if name not in COMMON}
            assert told <= set(re.findall(r"`(\w+)`", rows[event["kind"]])), event["kind"]
    told = {name for e in events if e["kind"] == "compaction" for name in e}
    assert compaction == told
    assert {name for e in events if e["kind"] != "compaction" for name in e} <= described


def test_no_log_where_none_is_wanted(open_db, memory_fs):
    with open_db(event_log=False) as db:
        db.put(b"a", b"1")
        db.flush()
    assert EVENTS not in memory_fs.listdir("/db")
    with pytest.raises(lsmkv.InvalidArgumentError, match="event_log"):
        lsmkv.Options(event_log="yes")


def test_a_log_that_cannot_be_written_fails_nothing_and_is_counted(open_db, memory_fs):
    fs = FaultFileSystem(memory_fs, [FailOp(op="pwritev", path="*EVENTS*", errno=errno.EIO)])
    with open_db(fs=fs) as db:
        db.put(b"a", b"1")
        db.flush()
        db.check()
        assert db.stats().event_log_failures == 2
        assert db.stats().background_failures == 0
    with open_db() as db:
        assert db.get(b"a") == b"1"


def test_verify_checkpoint_and_strays_know_the_log(open_db, memory_fs):
    with open_db() as db:
        db.put(b"a", b"1")
        db.flush()
        db.checkpoint("/copy")
        db.check()
    assert EVENTS not in memory_fs.listdir("/copy")
    report = lsmkv.verify("/db", memory_fs)
    assert report.ok
    assert report.warnings == ()
    with open_db(path="/copy") as db:
        assert db.get(b"a") == b"1"
        assert [e["kind"] for e in read_events(memory_fs, "/copy")] == ["open"]
