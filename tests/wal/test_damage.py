"""Damage to a log: below a durable mark it is corruption, beyond it a torn tail that is cut and reported."""

from __future__ import annotations

import pytest

from lsmkv.base.frames import FILE_HEADER_BYTES, FRAME_HEADER_BYTES, frame_header, pack_file_header
from lsmkv.errors import CorruptionError, FormatTooNewError, IOFailedError
from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv.wal.reader import read_wal
from lsmkv.wal.writer import MAGIC, VERSION

GROUPS = ([(b"one", b"1"), (b"two", None)], [(b"", b"")], [(b"k%d" % i, b"v" * i) for i in range(5)], [(b"last", b"x" * 30)])


@pytest.fixture(params=[(), (2,), (1, 2, 3)], ids=["never synced", "synced once", "synced often"])
def made(request, logs):
    """(bytes, batches, end of each batch, bytes that a mark in the log proves durable)."""
    fs = logs.disk()
    batches = logs.batches(*GROUPS)
    ends = []
    wal = logs.write(fs, [])
    for i, batch in enumerate(batches, 1):
        wal.append([batch])
        ends.append(wal.length)
        if i in request.param:
            wal.sync()
    proven = ends[max(request.param) - 1] if request.param else 0
    return logs.bytes_of(fs), batches, ends, proven


def check(logs, data, batches, ends):
    """Read ``data``: a prefix of the batches with an honest report, or corruption. The number of batches, -1: corrupt."""
    try:
        found = logs.read_bytes(data)
    except CorruptionError:
        return -1
    n = len(found.batches)
    assert found.batches == batches[:n]
    assert found.valid_length + found.dropped_bytes == len(data)
    assert found.valid_length in (0, FILE_HEADER_BYTES, *ends)
    assert (found.dropped_why is None) == (len(data) in (FILE_HEADER_BYTES, *ends) and not found.dropped_bytes)
    return n


def test_truncated_anywhere_it_is_a_prefix(logs, made):
    data, batches, ends, _ = made
    for size in range(len(data)):
        assert check(logs, data[:size], batches, ends) == sum(end <= size for end in ends)


def test_any_flipped_byte_is_a_prefix_or_corruption(logs, made):
    data, batches, ends, proven = made
    for at in range(len(data)):
        for mask in (0x01, 0x80, 0xFF):
            changed = bytearray(data)
            changed[at] ^= mask
            n = check(logs, bytes(changed), batches, ends)
            if at < proven:
                assert n == -1, f"byte {at} was durable"
            elif at >= FILE_HEADER_BYTES:
                assert n == sum(end <= at for end in ends)


def test_damage_at_both_sides_of_a_mark_is_still_corruption(logs, made):
    data, batches, ends, proven = made
    if proven != ends[2]:
        return
    changed = bytearray(data)
    changed[ends[0] + 1] ^= 1
    changed[-1] ^= 1  # the payload of the frame whose header carries the highest mark
    assert check(logs, bytes(changed), batches, ends) == -1


@pytest.mark.parametrize("tail", [bytes(1), bytes(5000), b"\xff" * 100, b"\xf5Lf\n" * 50])
def test_what_was_never_a_frame_is_cut(logs, made, tail):
    data, batches, *_ = made
    found = logs.read_bytes(data + tail)
    assert found.batches == batches
    assert found.dropped_bytes == len(tail)
    assert found.dropped_why is not None


def test_frames_copied_from_elsewhere_are_not_frames(logs, made):
    data, batches, ends, _ = made
    assert logs.read_bytes(data + data[ends[0] : ends[1]]).batches == batches
    with pytest.raises(CorruptionError, match="calls itself log 7"):
        logs.read_bytes(data, number=8)


@pytest.mark.parametrize("size", [0, 1, FILE_HEADER_BYTES - 1])
def test_a_log_shorter_than_its_header_is_empty(logs, made, size):
    found = logs.read_bytes(made[0][:size])
    assert (found.batches, found.valid_length, found.dropped_bytes, found.previous) == ([], 0, size, None)
    assert "header" in found.dropped_why


def test_a_newer_format_is_told_apart_from_damage(logs):
    newer = pack_file_header(MAGIC, VERSION + 1, 7, None)
    with pytest.raises(FormatTooNewError, match="upgrade"):
        logs.read_bytes(newer)
    flipped = bytearray(pack_file_header(MAGIC, VERSION, 7, None))
    flipped[8] ^= 2
    assert logs.read_bytes(bytes(flipped)).valid_length == 0


def lying_frame(payload, *, kind=1, codes=(0, 0), entries=1, stamp=1):
    """A log of one frame whose sums are right and whose contents are not."""
    header = frame_header(7, FILE_HEADER_BYTES, kind, codes, entries, stamp, 0, [payload], len(payload))
    return pack_file_header(MAGIC, VERSION, 7, None) + header + payload


@pytest.mark.parametrize(
    "data",
    [
        lying_frame(b""),
        lying_frame(b"", entries=0),
        lying_frame(bytes(8), kind=9),
        lying_frame(bytes(8), codes=(3, 0)),
        lying_frame(bytes(8), entries=1 << 31),
        lying_frame(b"\xff" * 8),
        lying_frame(bytes(9)),
        lying_frame(bytes(4), kind=2, entries=400),
        lying_frame((70_000).to_bytes(4, "little") + bytes(4 + 70_000)),
    ],
)
def test_sizes_that_do_not_add_up_are_corruption_before_memory_is_taken(logs, data):
    with pytest.raises(CorruptionError) as caught:
        logs.read_bytes(data)
    assert caught.value.offset == FILE_HEADER_BYTES


def test_a_hole_in_the_sequence_numbers_is_corruption(logs):
    fs = logs.disk()
    logs.write(fs, [*logs.batches([(b"a", b"1")]), *logs.batches([(b"b", b"2")], first_seq=3)])
    with pytest.raises(CorruptionError, match="begins at sequence number 3, the one before ends at 1"):
        read_wal(fs, logs.path)


def test_reading_what_is_not_there_or_not_a_log(logs):
    fs = MemoryFileSystem()
    with pytest.raises(IOFailedError):
        read_wal(fs, logs.path)
    with pytest.raises(CorruptionError, match="name"):
        read_wal(fs, "/db/log.wal")


def test_a_header_alone_is_an_empty_log(logs):
    found = logs.read_bytes(pack_file_header(MAGIC, VERSION, 7, (6, 4096)))
    assert (found.batches, found.previous, found.valid_length, found.dropped_why) == ([], (6, 4096), FILE_HEADER_BYTES, None)
    assert FRAME_HEADER_BYTES == 48
