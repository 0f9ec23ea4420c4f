"""``lsmkv stats``: what a store cost, told without opening it."""

from __future__ import annotations

import re
from pathlib import Path

import lsmkv
from lsmkv.maintain.scheduler import ManualScheduler


def _used(path: Path) -> lsmkv.Stats:
    """A store that was written to, asked and switched; its last words."""
    options = lsmkv.Options(scheduler=ManualScheduler(), memtable_bytes=20_000, policy=lsmkv.Tiered(size_ratio=3), level0_runs=1)
    with lsmkv.open(str(path), options) as db:
        for i in range(2_000):
            db.put(b"%05d" % (i * 37 % 2_000 * 2), b"v" * 10)
        db.settle()
        for i in range(500):
            db.get(b"%05d" % (2 * i + 1))
        db.set_policy(lsmkv.Leveled(size_ratio=4))
        db.flush()
        db.settle()
        return db.stats()


def test_stats_tell_what_the_ledger_counted(cli, tmp_path: Path) -> None:
    stats = _used(tmp_path / "store")
    told = cli("stats", tmp_path / "store", "--json").json
    cost = told["cost"]
    assert cost["account"]["absent"] == stats.totals.absent
    assert cost["bytes_written"]["compaction"] == stats.totals.merges.written_bytes > 0
    assert cost["bytes_read"]["get"] == stats.totals.gets.block_bytes
    assert [level["false_positive_rate"] for level in cost["levels"]][: len(stats.levels)] == [
        level.false_positive_rate for level in stats.levels
    ]
    assert told["transition"]["done"] is True
    assert told["transition"]["to_policy"]["name"] == "leveled"


def test_space_is_bounded_without_a_scan(cli, tmp_path: Path) -> None:
    """The line was always empty: live keys are not counted."""
    stats = _used(tmp_path / "store")
    told = cli("stats", tmp_path / "store", "--json").json
    assert told["space_amplification_at_most"] == stats.space_amplification >= 1.0
    assert "space_amplification" not in told["cost"]


def test_people_see_rates_measured_beside_predicted(cli, tmp_path: Path) -> None:
    _used(tmp_path / "store")
    shown = cli("stats", tmp_path / "store").out
    assert "measured" in shown
    assert "predicted" in shown
    assert "write amplification" in shown
    assert "None" not in shown
    assert "compaction bytes" in shown
    assert all(line == line.rstrip() and len(line) < 130 for line in shown.splitlines())


def test_a_store_that_did_nothing_has_nothing_to_tell(cli, tmp_path: Path) -> None:
    lsmkv.open(str(tmp_path / "store")).close()
    shown = cli("stats", tmp_path / "store").out
    assert re.search(r"update copies +-\n", shown)
    assert re.search(r"transition +-\n", shown)
