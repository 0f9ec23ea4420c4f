"""Replaying logs gives one prefix of the commit order, or says that no crash explains what it found."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv.env.rng import seeded
from lsmkv.errors import CorruptionError
from lsmkv.recover.replay import replay
from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv.wal.batch import WalBatch
from lsmkv.wal.writer import WalWriter


def disk():
    fs = MemoryFileSystem()
    fs.mkdir("/db")
    fs.sync_dir("/")
    return fs


def batch(seq, n=1):
    return WalBatch(seq, [b"key %d" % (seq + i) for i in range(n)], [b"value"] * n)


def chain(fs, *sizes, first_number=3, last_seq=0):
    """Logs that follow each other, with so many one-entry batches each; the writers."""
    writers, previous, seq = [], None, last_seq + 1
    for number, size in enumerate(sizes, first_number):
        wal = WalWriter(fs, f"/db/{number:06d}.wal", number=number, previous=previous)
        for _ in range(size):
            wal.append([batch(seq)])
            seq += 1
        writers.append(wal)
        previous = (number, wal.length)
    return writers


def cut(fs, wal, size):
    fs.open(wal.path, "rw").truncate(size)


def seqs(replayed):
    return [b.first_seq for b in replayed.batches]


def test_nothing_to_replay():
    assert replay(disk(), "/db", [], 9).batches == []


def test_logs_are_replayed_in_order():
    fs = disk()
    chain(fs, 2, 0, 3, last_seq=10)
    found = replay(fs, "/db", [3, 4, 5], 10)
    assert (seqs(found), found.report, found.dropped_bytes) == ([11, 12, 13, 14, 15], (), 0)


def test_a_torn_tail_of_the_last_log_is_cut_and_reported():
    fs = disk()
    wal = chain(fs, 1, 2)[1]
    cut(fs, wal, wal.length - 1)
    found = replay(fs, "/db", [3, 4], 0)
    assert seqs(found) == [1, 2]
    assert found.dropped_bytes > 0
    assert len(found.report) == 1
    assert wal.path in found.report[0]


def test_nothing_behind_a_torn_log_is_kept():
    fs = disk()
    torn, after, last = chain(fs, 2, 1, 1)
    cut(fs, torn, torn.length - 5)
    found = replay(fs, "/db", [3, 4, 5], 0)
    assert seqs(found) == [1]
    assert [line.partition(":")[0] for line in found.report] == [torn.path, after.path, last.path]
    assert found.dropped_bytes >= after.length + last.length


def test_nothing_behind_a_cut_between_frames_is_kept():
    fs = disk()
    short, after = chain(fs, 1, 1)
    cut(fs, short, 64)
    found = replay(fs, "/db", [3, 4], 0)
    assert (seqs(found), found.dropped_bytes) == ([], after.length)


def test_a_torn_log_below_a_synced_one_is_corruption():
    fs = disk()
    torn, after = chain(fs, 2, 1)
    after.sync()
    after.append([batch(4)])
    cut(fs, torn, torn.length - 5)
    with pytest.raises(CorruptionError, match="durable") as caught:
        replay(fs, "/db", [3, 4], 0)
    assert caught.value.file == after.path


def test_a_missing_log_ends_the_prefix_unless_a_later_one_was_synced():
    fs = disk()
    _, middle, last = chain(fs, 1, 1, 1)
    fs.unlink(middle.path)
    found = replay(fs, "/db", [3, 5], 0)
    assert seqs(found) == [1]
    assert "missing" in found.report[0]
    last.sync()
    last.append([batch(4)])
    with pytest.raises(CorruptionError, match="missing"):
        replay(fs, "/db", [3, 5], 0)


def test_a_missing_first_log_shows_as_a_hole_in_the_sequence_numbers():
    fs = disk()
    first, _ = chain(fs, 2, 1, last_seq=10)
    fs.unlink(first.path)
    found = replay(fs, "/db", [4], 10)
    assert seqs(found) == []
    assert "begins at sequence number 13, the data before it ends at 10" in found.report[0]


def test_a_lost_header_ends_the_prefix():
    fs = disk()
    _, empty, last = chain(fs, 1, 1, 1)
    cut(fs, empty, 0)
    found = replay(fs, "/db", [3, 4, 5], 0)
    assert seqs(found) == [1]
    assert [line.partition(":")[0] for line in found.report] == [empty.path, last.path]


def test_a_log_that_starts_a_chain_of_its_own_does_not_follow_another():
    fs = disk()
    chain(fs, 1)
    stray = chain(fs, 1, first_number=7, last_seq=1)[0]
    found = replay(fs, "/db", [3, 7], 0)
    assert seqs(found) == [1]
    assert found.dropped_bytes == stray.length


def test_a_log_that_grew_after_it_was_left_is_corruption():
    fs = disk()
    first = chain(fs, 1, 0)[0]
    first.append([batch(2)])
    with pytest.raises(CorruptionError, match="when this log was begun"):
        replay(fs, "/db", [3, 4], 0)


def test_sequence_numbers_that_run_backwards_are_corruption():
    fs = disk()
    first = chain(fs, 2)[0]
    wal = WalWriter(fs, "/db/000004.wal", number=4, previous=(3, first.length))
    wal.append([batch(2)])
    with pytest.raises(CorruptionError, match="goes up to 2"):
        replay(fs, "/db", [3, 4], 0)


@given(st.lists(st.sampled_from(["write", "write", "sync", "rotate"]), max_size=25), st.integers(0, 2**32))
@settings(max_examples=150)
def test_a_power_cut_leaves_a_prefix_of_all_logs_together(steps, seed):
    fs = disk()
    logs = [WalWriter(fs, "/db/000001.wal", number=1)]
    seq, synced = 0, 0
    for step in steps:
        if step == "write":
            seq += 1
            logs[-1].append([batch(seq)])
        elif step == "rotate":
            before = logs[-1]
            number = before.number + 1
            logs.append(WalWriter(fs, f"/db/{number:06d}.wal", number=number, previous=(before.number, before.length)))
        else:
            for log in logs:  # oldest first, as the committer does it
                log.sync()
            synced = seq
    for rng in (None, seeded(seed), seeded(seed + 1), seeded(seed + 2)):
        left = fs.crash(rng)
        found = replay(left, "/db", [int(name[:6]) for name in left.listdir("/db")], 0)
        assert seqs(found) == list(range(1, len(found.batches) + 1))
        assert synced <= len(found.batches) <= seq
