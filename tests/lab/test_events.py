"""What a live store has done, from its event log."""

from __future__ import annotations

import json

import pytest

import lsmkv
from lsmkv import InvalidArgumentError, LazyLeveling, Leveled, Tiered, Writes
from lsmkv.base.events import read_events
from lsmkv.env.rng import seeded
from lsmkv.lab.entries import key_bytes_of
from lsmkv.lab.events import rows_of_events
from lsmkv.lab.playback import encode
from lsmkv.lab.rows import Row
from lsmkv.testing import ManualClock, ManualScheduler, MemoryFileSystem

from .conftest import batches


def history(fs: MemoryFileSystem) -> list[Row]:
    return list(rows_of_events(read_events(fs, "/db")))


def lived(fs: MemoryFileSystem) -> lsmkv.TreeShape:
    """A store that flushed, merged, moved and switched twice; its tree at the end."""
    options = lsmkv.Options(
        fs=fs,
        clock=ManualClock(),
        rng=seeded(1),
        scheduler=ManualScheduler(),
        policy=Leveled(4),
        level0_runs=1,
        table_bytes=4_096,
    )
    with lsmkv.open("/db", options) as db:
        for at, batch in enumerate(batches(Writes(entries=4_000, memtable=50, overwrites=0.2, deletes=0.1))):
            writes = lsmkv.WriteBatch()
            for key, alive in batch:
                writes.put(key_bytes_of(key), b"value") if alive else writes.delete(key_bytes_of(key))
            db.write(writes)
            db.flush()
            db.settle()
            if at in (20, 40):
                db.set_policy(Tiered(4) if at == 20 else LazyLeveling(3))
                db.settle()
        return db.tree()


def test_rows_of_a_log_tell_what_the_store_did() -> None:
    fs = MemoryFileSystem()
    tree = lived(fs)
    rows = history(fs)
    assert [[run[1:] for run in level] for level in rows[-1].levels] == [
        [(run.entries, len(run.tables)) for run in level.runs] for level in tree.levels
    ]
    assert rows[0].kind == "open"
    assert rows[0].policy == Leveled(4).describe()
    assert [row.policy for row in rows if row.kind == "switch"] == [Tiered(4).describe(), LazyLeveling(3).describe()]
    assert {"merge"} <= {row.task for row in rows}
    assert rows[-1].write_amplification > 1.5
    assert all(row.reason for row in rows)
    document = json.loads(encode(rows, title="/db", note="", policy=rows[0].policy, live=True))
    assert len(document["frames"]) == len(rows)


def test_a_log_without_its_beginning_plays_too() -> None:
    fs = MemoryFileSystem()
    lived(fs)
    events = list(read_events(fs, "/db"))
    rows = list(rows_of_events(events[len(events) // 2 :]))
    document = json.loads(encode(rows, title="/db", note="", policy={"name": "unknown"}, live=True))
    assert len(document["frames"]) == len(rows)


def test_lines_of_a_later_version_are_skipped_and_broken_ones_named() -> None:
    assert list(rows_of_events([{"kind": "of-a-later-version", "at_s": 1.0}])) == []
    with pytest.raises(InvalidArgumentError, match="event 1"):
        list(rows_of_events([{"kind": "flush", "at_s": 1.0}]))
