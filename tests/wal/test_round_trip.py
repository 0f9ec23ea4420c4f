"""What goes into the log comes out of it, whatever the keys and values are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmkv.base.alike import alike_of
from lsmkv.base.counters import WorkCounters
from lsmkv.base.frames import FILE_HEADER_BYTES, FRAME_HEADER_BYTES
from lsmkv.errors import ClosedError, InvalidArgumentError
from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv.wal.batch import WalBatch, encode_batch
from lsmkv.wal.reader import read_wal
from lsmkv.wal.writer import WalWriter

KEYS = st.one_of(st.binary(max_size=5), st.integers(0, 400).map(lambda n: b"k" * n), st.just(b"ends in zeros\0\0"))
VALUES = st.one_of(st.none(), st.binary(max_size=40), st.sampled_from([b"v" * 255, b"v" * 256, b"w" * 70_000]))
BATCHES = st.lists(st.lists(st.tuples(KEYS, VALUES), min_size=1, max_size=12), max_size=5)


@given(BATCHES, st.booleans())
def test_every_batch_comes_back(groups, at_once):
    fs = MemoryFileSystem()
    fs.mkdir("/db")
    wal = WalWriter(fs, "/db/000003.wal", number=3, previous=(2, 99))
    batches, seq = [], 41
    for group in groups:
        batches.append(WalBatch(seq, [k for k, _ in group], [v for _, v in group]))
        seq += len(group)
    if at_once:
        wal.append(batches)
    else:
        for batch in batches:
            wal.append([batch])
    found = read_wal(fs, wal.path)
    assert found.batches == batches
    assert (found.number, found.previous, found.durable) == (3, (2, 99), 0)
    assert (found.valid_length, found.dropped_bytes, found.dropped_why) == (wal.length, 0, None)
    assert fs.size(wal.path) == wal.length


def test_lengths_are_stored_once_or_in_the_narrowest_array():
    def payload(keys, values):
        return encode_batch(WalBatch(1, keys, values), 1, 64, 0)[1] - FRAME_HEADER_BYTES

    assert payload([b"k" * 9] * 50, [b"v" * 20] * 50) == 4 + 4 + 50 * 29
    assert payload([b"k", b"kk"], [b"v" * 300] * 2) == 2 + 4 + 3 + 600
    assert payload([b"k"] * 2, [b"", b"v" * 256]) == 4 + 4 + 2 + 256
    assert payload([b"k"] * 2, [b"", b"v" * 65536]) == 4 + 8 + 2 + 65536
    assert payload([b"k"] * 3, [None, b"v", None]) == 3 + 4 + 3 + 3 + 1
    assert payload([b"k"], [None]) == 1 + 4 + 4 + 1


@given(st.integers(1, 9), st.integers(0, 9), st.integers(8, 40), st.randoms(use_true_random=False))
def test_a_batch_that_is_joined_already_gives_the_same_bytes(key_width, value_width, n, rng):
    keys, values = ([rng.randbytes(width) for _ in range(n)] for width in (key_width, value_width))
    joined = WalBatch(7, keys, values, (), alike_of(keys, values, (key_width, value_width)))
    parts, size = encode_batch(joined, 3, 64, 5)
    expected, expected_size = encode_batch(WalBatch(7, keys, values), 3, 64, 5)
    assert (b"".join(parts), size) == (b"".join(expected), expected_size)


def test_a_great_many_empty_keys_and_values(logs):
    fs = logs.disk()
    batches = [WalBatch(1, [b""] * 70_000, [b""] * 70_000)]
    wal = logs.write(fs, batches)
    assert read_wal(fs, wal.path).batches == batches


def test_large_values_are_not_copied():
    values = [bytes([i]) * 100_000 for i in range(3)]
    parts, size = encode_batch(WalBatch(1, [b"a", b"b", b"c"], values), 1, 64, 0)
    assert [part for part in parts if len(part) == 100_000] == values
    assert parts[-1] is values[-1]
    assert sum(map(len, parts)) == size


@pytest.mark.parametrize(("batches", "writes"), [(1, 1), (2, 2), (3, 2)])
def test_all_batches_of_an_append_go_out_in_one_write_and_the_header_of_the_first_in_another(logs, batches, writes):
    fs = logs.disk()
    counts = WorkCounters()
    wal = WalWriter(fs, logs.path, number=7, counts=counts)
    before, counted = fs.ops["pwritev"], counts.writes
    wal.append(logs.batches([(b"c", b"3" * 100_000)], [(b"a", b"1")], [(b"b", None)])[:batches])
    assert fs.ops["pwritev"] == before + writes
    assert counts.writes == counted + writes


def test_an_empty_batch_leaves_no_trace(logs):
    wal = WalWriter(logs.disk(), logs.path, number=7)
    wal.append([])
    wal.append([WalBatch(1, [], [])])
    assert wal.length == FILE_HEADER_BYTES


def test_keys_and_values_must_match(logs):
    wal = WalWriter(logs.disk(), logs.path, number=7)
    with pytest.raises(InvalidArgumentError, match="2 keys and 1 values"):
        wal.append([WalBatch(1, [b"a", b"b"], [b"1"])])
    assert wal.length == FILE_HEADER_BYTES


def test_a_closed_log_refuses_politely(logs):
    wal = WalWriter(logs.disk(), logs.path, number=7)
    wal.close()
    wal.close()
    for refused in (wal.sync, lambda: wal.append(logs.batches([(b"a", b"1")]))):
        with pytest.raises(ClosedError):
            refused()


def test_a_second_sync_without_news_costs_nothing(logs):
    fs = logs.disk()
    wal = logs.write(fs, logs.batches([(b"a", b"1")]))
    wal.sync()
    assert wal.durable == wal.length
    before = fs.ops.copy()
    wal.sync()
    assert fs.ops == before
    wal.append(logs.batches([(b"b", b"2")], first_seq=2))
    wal.sync()
    assert (fs.ops["sync"], fs.ops["sync_dir"]) == (before["sync"] + 1, before["sync_dir"])
