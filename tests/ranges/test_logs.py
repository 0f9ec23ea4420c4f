"""Range deletes in logs: they come back as they were written, and damage to them is told from a crash like any other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmkv.base.frames import FILE_HEADER_BYTES, FRAME_HEADER_BYTES, Frame, pack_file_header
from lsmkv.errors import CorruptionError, InvalidArgumentError
from lsmkv.testing import MemoryFileSystem
from lsmkv.wal.batch import MIXED, RANGED, WalBatch, decode_batch, encode_batch
from lsmkv.wal.reader import read_wal
from lsmkv.wal.writer import MAGIC, WalWriter

PATH = "/db/000007.wal"
KEYS = st.binary(max_size=5)


@st.composite
def batches(draw):
    keys, values, ranges = [], [], []
    for at in range(draw(st.integers(1, 8))):
        key = draw(KEYS)
        keys.append(key)
        values.append(draw(st.none() | st.binary(max_size=300)))
        if draw(st.booleans()) or at == 0:
            values[at] = None
            stop = draw(st.none() | st.binary(min_size=1, max_size=3).map(lambda more, key=key: key + more))
            ranges.append((at, key, stop))
    return WalBatch(draw(st.integers(1, 10**9)), keys, values, tuple(ranges))


@given(batches())
def test_a_batch_comes_back_as_it_was(batch):
    parts, size = encode_batch(batch, 7, 64, 0)
    data = b"".join(parts)
    assert len(data) == size
    frame = Frame(64, 64 + size, data[4], (data[5], data[6]), len(batch.keys), batch.first_seq, 0, data[FRAME_HEADER_BYTES:])
    assert frame.kind == RANGED
    assert decode_batch(frame, PATH) == batch


def logged(sync_after):
    fs = MemoryFileSystem()
    fs.mkdir("/db")
    fs.sync_dir("/")
    wal = WalWriter(fs, PATH, number=7)
    found = [
        WalBatch(1, [b"a"], [None], ((0, b"a", b"k"),)),
        WalBatch(2, [b"b", b"c", b"x"], [b"1", None, None], ((1, b"c", b"cc"), (2, b"x", None))),
        WalBatch(5, [b"d"], [b"2"]),
        WalBatch(6, [b""], [None], ((0, b"", None),)),
    ]
    ends = []
    for i, batch in enumerate(found):
        wal.append([batch])
        ends.append(wal.length)
        if i == sync_after:
            wal.sync()
    file = fs.open(PATH)
    return file.pread(file.size(), 0), found, ends


def reread(data):
    fs = MemoryFileSystem()
    fs.mkdir("/db")
    file = fs.open(PATH, "create")
    file.pwritev([data], 0)
    return read_wal(fs, PATH)


@pytest.mark.parametrize("sync_after", [-1, 1])
def test_cut_anywhere_it_is_a_prefix(sync_after):
    data, found, ends = logged(sync_after)
    for size in range(len(data)):
        whole = sum(end <= size for end in ends)
        if not size:
            continue
        assert reread(data[:size]).batches == found[:whole]


@pytest.mark.parametrize("sync_after", [-1, 1])
def test_any_flipped_byte_is_a_prefix_or_corruption(sync_after):
    data, found, ends = logged(sync_after)
    for at in range(len(data)):
        for mask in (0x01, 0x80, 0xFF):
            changed = bytearray(data)
            changed[at] ^= mask
            try:
                got = reread(bytes(changed)).batches
            except CorruptionError:
                assert sync_after >= 0 or at < FILE_HEADER_BYTES
                continue
            assert sync_after < 0 or at >= ends[sync_after], f"byte {at} was durable"
            whole = sum(end <= at for end in ends) if at >= FILE_HEADER_BYTES else 0
            assert got == found[:whole]


def test_a_log_of_version_1_is_read():
    fs = MemoryFileSystem()
    fs.mkdir("/db")
    wal = WalWriter(fs, PATH, number=7)
    wal.append([WalBatch(1, [b"a", b"b"], [b"1", None])])
    file = fs.open(PATH, "rw")
    file.pwritev([pack_file_header(MAGIC, 1, 7, None)], 0)
    assert read_wal(fs, PATH).batches == [WalBatch(1, [b"a", b"b"], [b"1", None])]


@pytest.mark.parametrize(
    ("kinds", "key", "value", "what"),
    [(b"\4", b"a", b"b", "kind 4"), (b"\2", b"b", b"a", "empty range"), (b"\2", b"a", b"a", "empty range")],
)
def test_a_frame_that_makes_no_sense_is_refused(kinds, key, value, what):
    payload = kinds + b"\1\0\0\0" + b"\1\0\0\0" + key + value
    with pytest.raises(CorruptionError, match=what):
        decode_batch(Frame(64, 99, RANGED, (0, 0), 1, 1, 0, payload), PATH)
    assert decode_batch(Frame(64, 99, MIXED, (0, 0), 1, 1, 0, payload), PATH).ranges == ()


def test_a_range_delete_that_contradicts_its_entry_is_not_written():
    for batch in (WalBatch(1, [b"a"], [None], ((0, b"b", None),)), WalBatch(1, [b"a"], [b"1"], ((0, b"a", None),))):
        with pytest.raises(InvalidArgumentError, match="range delete"):
            encode_batch(batch, 7, 64, 0)
