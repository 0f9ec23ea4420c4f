"""The bytes of headers, frames and places: what is packed comes back, what is changed is noticed."""

from __future__ import annotations

import pytest

from lsmkv_tensor.errors import CorruptionError, FormatTooNewError
from lsmkv_tensor.vlog import layout
from lsmkv_tensor.vlog.layout import (
    BLOCK,
    NO_PARENT,
    FrameEntry,
    FrameHead,
    Place,
    SegmentHeader,
    frame_header_bytes,
    pack_frame,
    pack_segment_header,
    payload_check,
    unpack_frame,
    unpack_head,
    unpack_segment_header,
)

ID = bytes(range(16))
HEADER = SegmentHeader(7, 3, 1 << 20, ID)


def frame(n: int) -> tuple[bytearray, FrameHead, list[FrameEntry]]:
    entries = [FrameEntry(bytes([i]) * 32, NO_PARENT, 100 + i, 0, 1000 + i) for i in range(n)]
    head = FrameHead(frame_header_bytes(n), n, 3, 7, 1, frame_header_bytes(n) + n * BLOCK, 5)
    raw = bytearray(head.header_bytes)
    pack_frame(ID, head, [(*entry, []) for entry in entries], memoryview(raw))
    return raw, head, entries


def test_segment_header_comes_back():
    assert unpack_segment_header(pack_segment_header(HEADER), "f") == HEADER


def test_every_changed_byte_of_a_segment_header_is_noticed():
    raw = pack_segment_header(HEADER)
    for at in range(BLOCK):
        changed = bytearray(raw)
        changed[at] ^= 1
        with pytest.raises(CorruptionError):
            unpack_segment_header(bytes(changed), "f")
    with pytest.raises(CorruptionError, match="cut short"):
        unpack_segment_header(raw[:100], "f")


def test_a_newer_segment_is_named_as_such(monkeypatch):
    monkeypatch.setattr(layout, "SEGMENT_VERSION", 2)
    raw = pack_segment_header(HEADER)
    monkeypatch.undo()
    with pytest.raises(FormatTooNewError, match="version 2"):
        unpack_segment_header(raw, "f")


@pytest.mark.parametrize("n", [0, 1, 50, 51, 120])
def test_frames_come_back(n):
    raw, head, entries = frame(n)
    assert len(raw) == (1 if n <= 50 else 2 if n <= 101 else 3) * BLOCK
    assert unpack_head(raw[:64], 7, 3, 1) == head
    assert unpack_frame(bytes(raw), head, ID, 7, 1) == entries


def test_every_changed_byte_of_a_frame_header_is_noticed():
    raw, _, _ = frame(3)
    for at in range(BLOCK):
        changed = bytearray(raw)
        changed[at] ^= 0x40
        head = unpack_head(bytes(changed[:64]), 7, 3, 1)
        assert head is not None, f"byte {at} hid the frame"
        assert unpack_frame(bytes(changed), head, ID, 7, 1) is None, f"byte {at} went unnoticed"


@pytest.mark.parametrize(("store", "segment", "block"), [(ID[::-1], 7, 1), (ID, 8, 1), (ID, 7, 2)])
def test_a_frame_of_another_place_or_store_is_not_believed(store, segment, block):
    raw, head, _ = frame(2)
    assert unpack_frame(bytes(raw), head, store, segment, block) is None


def test_stale_bytes_do_not_look_like_a_frame():
    assert unpack_head(bytes(64), 7, 3, 1) is None
    assert unpack_head(b"\xff" * 64, 7, 3, 1) is None
    assert unpack_head(b"LKPF", 7, 3, 1) is None


def test_places_come_back_and_say_what_they_take():
    place = Place(7, 3, 2, 5000, 0, bytes(range(28)), 2**64 - 1)
    assert Place.unpack(place.pack()) == place
    assert (place.offset, place.disk_bytes) == (8192, 8192)
    assert Place.unpack(b"short") is None


def test_a_payload_check_depends_on_key_and_every_byte_not_on_the_cuts():
    data = bytes(range(256)) * 3
    whole = payload_check(b"k" * 32, [memoryview(data)])
    assert whole == payload_check(b"k" * 32, [memoryview(data)[:5], memoryview(data)[5:5], memoryview(data)[5:]])
    assert whole != payload_check(b"l" * 32, [memoryview(data)])
    assert len({payload_check(b"k" * 32, [memoryview(data[:i] + b"?" + data[i + 1 :])]) for i in range(63)}) == 63
