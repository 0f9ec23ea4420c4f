"""Power cuts at every file-system call: the state afterwards is a prefix of the commits, at least up to the last sync."""

from __future__ import annotations

import random

import pytest

import lsmkv
from lsmkv.testing.memfs import MemoryFileSystem
from tests.power import cut_before


def workload(db, log):
    """Commits one after the other; ``log`` receives each batch before it is written, and "synced" marks."""
    rng = random.Random(7)
    for n in range(60):
        ops = [(b"%02d" % rng.randrange(30), None if rng.random() < 0.3 else b"%d" % n) for _ in range(rng.randrange(1, 6))]
        sync = n % 7 == 3
        log.append(ops)
        batch = lsmkv.WriteBatch()
        for key, value in ops:
            batch.put(key, value) if value is not None else batch.delete(key)
        db.write(batch, sync=sync)
        if sync:
            log.append("synced")
        if n % 10 == 9:
            db.flush()
            log.append("synced")
        if n % 20 == 19:
            db.settle()


def states(log, base=()):
    """State after each commit upon ``base``, and the index of the last commit known durable."""
    state: dict[bytes, bytes] = dict(base)
    out = [dict(state)]
    durable = 0
    for item in log:
        if item == "synced":
            durable = len(out) - 1
            continue
        for key, value in item:
            if value is None:
                state.pop(key, None)
            else:
                state[key] = value
        out.append(dict(state))
    return out, durable


def run_until(open_db, fs, stop_at):
    """Run the workload on ``fs`` and cut the power before call number ``stop_at``; the log of what was written."""
    log: list[object] = []
    with cut_before(fs, stop_at) as cut:
        db = open_db(fs=fs, memtable_bytes=1024)
        workload(db, log)
        db.close()
    return log, cut.calls


def test_power_cut_before_any_call_leaves_a_prefix(open_db):
    total = run_until(open_db, MemoryFileSystem(), -1)[1]
    assert total > 100
    rng = random.Random(3)
    for stop_at in range(1, total, max(1, total // 150)):
        fs = MemoryFileSystem()
        log, _ = run_until(open_db, fs, stop_at)
        history, durable = states(log)
        for keep in (None, rng):
            with open_db(fs=fs.crash(keep)) as db:
                got = dict(db.scan())
                db.check()
            assert got in history[durable:], f"cut before call {stop_at}: not a prefix from commit {durable} on"


@pytest.mark.parametrize("seed", range(4))
def test_crash_again_and_again(open_db, seed):
    rng = random.Random(seed)
    fs = MemoryFileSystem()
    base: dict[bytes, bytes] = {}
    for _ in range(12):
        log, _ = run_until(open_db, fs, rng.randrange(1, 250))
        fs = fs.crash(rng)
        with open_db(fs=fs) as db:
            got = dict(db.scan())
        candidates, durable = states(log, base)
        assert got in candidates[durable:]
        base = got
