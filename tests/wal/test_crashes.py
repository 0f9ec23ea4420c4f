"""Power cuts: what is left of a log is a prefix of its batches, at least up to the last sync."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv.env.rng import seeded
from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv.wal.batch import WalBatch
from lsmkv.wal.reader import read_wal
from lsmkv.wal.writer import WalWriter

STEPS = st.lists(st.one_of(st.just("sync"), st.integers(1, 4), st.just(600)), min_size=1, max_size=20)


@given(STEPS, st.integers(0, 2**32))
@settings(max_examples=150)
def test_a_power_cut_leaves_a_prefix_that_reaches_the_last_sync(steps, seed):
    fs = MemoryFileSystem()
    fs.mkdir("/db")
    fs.sync_dir("/")
    wal = WalWriter(fs, "/db/000001.wal", number=1)
    batches: list[WalBatch] = []
    synced, seq = 0, 1
    for step in steps:
        if step == "sync":
            wal.sync()
            synced = len(batches)
            continue
        batches.append(WalBatch(seq, [b"%d" % (seq + i) for i in range(step)], [b"v" * step] * step))
        wal.append(batches[-1:])
        seq += step
    for rng in (None, seeded(seed), seeded(seed + 1)):
        left = fs.crash(rng)
        if not left.exists("/db/000001.wal"):
            assert wal.durable == 0
            continue
        found = read_wal(left, "/db/000001.wal")
        n = len(found.batches)
        assert found.batches == batches[:n]
        assert n >= synced
        assert (found.dropped_why is None) or found.valid_length + found.dropped_bytes == left.size("/db/000001.wal")
