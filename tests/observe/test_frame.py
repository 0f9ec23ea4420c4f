"""What an onlooker sees of a store: its state, and rates as the difference of two looks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import lsmkv
from lsmkv.base.events import tail_events
from lsmkv.base.status import STATUS, StatusFile, read_status
from lsmkv.env.process import owner_runs
from lsmkv.observe import onlook
from lsmkv.observe.frame import Watcher
from lsmkv.observe.onlook import ago, look
from lsmkv.observe.readonly import ReadOnly
from lsmkv.testing import ManualClock, MemoryFileSystem
from tests.observe.test_status import Steps


class World:
    """A writer and an onlooker on one disk and one clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **more: object) -> None:
        self.fs, self.clock, self.runs = MemoryFileSystem(), ManualClock(), True
        monkeypatch.setattr(onlook, "owner_runs", lambda _: self.runs)
        scheduler = Steps()
        settings = {"memtable_bytes": 8192, "table_bytes": 8192, "level0_runs": 2, "policy": lsmkv.Tiered(size_ratio=4)} | more
        self.db = lsmkv.open("/db", lsmkv.Options(fs=self.fs, clock=self.clock, scheduler=scheduler, **settings))
        self.tell = scheduler.steps.get("lsmkv-status", lambda: False)
        self.watcher = Watcher(ReadOnly(self.fs), "/db", self.clock)

    def write(self, start: int, stop: int) -> None:
        for i in range(start, stop):
            self.db.put(b"%06d" % (i * 7919 % 100_003), bytes(94))
            self.db.settle()

    def frame(self):
        return self.watcher.frame()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_rates_are_the_difference_of_two_statuses(world: World) -> None:
    world.write(0, 1000)
    world.clock.advance(10)
    world.tell()
    first = world.frame()
    assert (first.state, first.rates.source, first.rates.writes_per_s) == ("open", "opening", 100)
    before = world.db.stats()
    world.write(1000, 1300)
    world.clock.advance(2)
    world.tell()
    second, done = world.frame(), world.db.stats().ledger - before.ledger
    assert (second.rates.source, second.rates.over_s) == ("status", 2)
    assert second.rates.writes_per_s == 150
    assert second.rates.write_bytes_per_s == 15_000
    assert second.rates.flush_bytes_per_s == done.flush.written_bytes / 2
    assert second.rates.compaction_written_bytes_per_s == done.merges.written_bytes / 2 > 0
    assert sum(second.rates.level_bytes_per_s) == (done.flush.written_bytes + done.merges.written_bytes) / 2
    assert second.entries == world.db.tree().entries
    assert second.levels[0].capacity_runs == 2


def test_looking_more_often_than_the_writer_tells_keeps_the_rate(world: World) -> None:
    world.write(0, 100)
    world.clock.advance(1)
    world.tell()
    assert world.frame().rates == world.frame().rates is not None


def test_an_idle_writer_has_rates_of_zero(world: World) -> None:
    world.write(0, 100)
    world.clock.advance(1)
    world.tell()
    world.frame()
    world.clock.advance(8)
    frame = world.frame()
    assert (frame.state, frame.rates.writes_per_s, frame.rates.stalled_share) == ("idle", 0, 0)
    assert frame.up_s == 9, "it is up for longer than its last status says"


def test_a_silent_writer_has_no_rates(world: World) -> None:
    world.tell()
    world.clock.advance(31)
    frame = world.frame()
    assert (frame.state, frame.rates) == ("silent", None)
    assert "has told nothing for 31 s" in frame.about


def test_a_writer_that_died_is_told_from_one_that_closed(world: World) -> None:
    world.tell()
    world.runs = False
    assert world.frame().state == "died"
    assert world.frame().memory is None
    world.fs.unlink(f"/db/{STATUS}")
    assert world.frame().state == "died"
    world.db.close()
    assert (world.frame().state, world.frame().rates) == ("closed", None)


def test_another_opening_begins_from_zero(world: World) -> None:
    world.write(0, 500)
    world.clock.advance(5)
    world.tell()
    world.frame()
    world.db.close()
    scheduler = Steps()
    db = lsmkv.open("/db", lsmkv.Options(fs=world.fs, clock=world.clock, scheduler=scheduler))
    world.clock.advance(1)
    scheduler.steps["lsmkv-status"]()
    assert (world.frame().rates.source, world.frame().rates.writes_per_s) == ("opening", 0)
    db.close()


def test_without_a_status_rates_come_from_the_event_log(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, status_interval_s=None)
    world.clock.advance(100)
    world.write(0, 300)
    world.clock.advance(10)
    frame = world.frame()
    assert frame.state == "unknown"
    assert (frame.rates.source, frame.rates.writes_per_s) == ("events", None)
    seen = [e for e in tail_events(world.fs, "/db", 64) if e["kind"] == "flush"]
    assert frame.rates.flush_bytes_per_s == pytest.approx(sum(e["bytes"] for e in seen) / frame.rates.over_s)
    world.db.close()


def test_a_debt_is_seen_while_it_is_paid(world: World) -> None:
    world.write(0, 1000)
    world.db.set_policy(lsmkv.Leveled(size_ratio=4))
    world.tell()
    frame = world.frame()
    assert frame.transition["remaining"]["bytes"] == world.db.stats().transition.remaining.bytes > 0
    assert frame.policy == {"name": "leveled", "size_ratio": 4}
    assert frame.events[-1]["kind"] == "switch"


def test_a_store_that_appears_is_missing_before() -> None:
    fs = MemoryFileSystem()
    watcher = Watcher(ReadOnly(fs), "/db", ManualClock())
    assert watcher.frame().state == "missing"
    db = lsmkv.open("/db", lsmkv.Options(fs=fs, scheduler=Steps()))
    assert watcher.frame().state in ("unknown", "closed")
    db.close()


@pytest.mark.parametrize("name", ["MANIFEST", "STATUS", "EVENTS.jsonl", "LOCK"])
def test_damage_is_shown_never_raised(world: World, name: str) -> None:
    world.write(0, 300)
    world.tell()
    for at in range(0, world.fs.size(f"/db/{name}") if world.fs.exists(f"/db/{name}") else 0, 7):
        file = world.fs.open(f"/db/{name}", "rw")
        was = file.pread(1, at)
        file.pwritev([bytes([was[0] ^ 0xFF])], at)
        frame = world.frame()
        assert name != "MANIFEST" or frame.state == "damaged" or frame.about
        json.dumps(frame.to_dict())
        file.pwritev([was], at)


def test_files_that_vanish_while_we_look_are_left_out(world: World) -> None:
    world.write(0, 800)
    vanish = [name for name in world.fs.listdir("/db") if name.endswith((".sst", ".wal"))]

    def gone(op: str, path: str) -> None:
        if op == "size" and path.rsplit("/", 1)[-1] in vanish:
            vanish.remove(path.rsplit("/", 1)[-1])
            world.fs.unlink(path)

    world.fs.on_op = gone
    assert world.frame().state in ("unknown", "open")


def test_a_look_takes_no_lock_and_changes_nothing(world: World) -> None:
    world.tell()
    before = {name: world.fs.open(f"/db/{name}").pread(1 << 20, 0) for name in world.fs.listdir("/db")}
    look(ReadOnly(world.fs), "/db", world.clock)
    assert {name: world.fs.open(f"/db/{name}").pread(1 << 20, 0) for name in world.fs.listdir("/db")} == before


def test_a_status_of_a_later_version_or_of_another_shape_is_shown_as_far_as_it_goes(world: World) -> None:
    StatusFile(world.fs, "/db").write({"version": 9, "at_s": "soon", "stats": [1], "levels": None})
    assert read_status(world.fs, "/db") is not None
    json.dumps(world.frame().to_dict())


def test_a_process_that_ended_is_known_to_have_ended(tmp_path: Path) -> None:
    code = f"import lsmkv, os; lsmkv.open({str(tmp_path / 's')!r}); os._exit(1)"
    subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2])
    text = (tmp_path / "s/LOCK").read_text()
    assert owner_runs(text) is False
    with lsmkv.open(str(tmp_path / "s")):
        assert owner_runs((tmp_path / "s/LOCK").read_text()) is True
    assert owner_runs("") is None
    assert owner_runs(text.replace("host ", "host another-")) is None


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.44, "0.4 s"), (59, "59 s"), (185, "3 min 05 s"), (7800, "2 h 10 min"), (1e6, "11 days")]
)
def test_times_are_told_in_words(seconds: float, words: str) -> None:
    assert ago(seconds) == words
