"""TOUCHES: what a member used of its siblings' pages, so that they know what is worth keeping.

A follower changes nothing of a sibling, its recency neither; then pages that only others read would be evicted first. So each
member writes what it used into a small file of its own, a ring, and siblings read it before they store pages, that is
before they evict. Little endian::

    header   magic "LSMKVTCH" 8 | version u32 | slots u32 | count u64 | zeros to 64
    slot     note:  1 u32 | kind u32 | thread u64 | namespace digest, first 16 bytes       32 bytes
             key:   2 u32 | page key 28                                                    32 bytes

``count`` is the number of slots ever written: slot i of the stream is at ``i % slots``. A note is followed by the keys of one
call, in prefix order; *kind* and *thread* say which calls are one request (:mod:`lsmkv_tensor.retention.touches`).

These are hints. Nothing is synced, locked or checksummed: what is read half-written, overwritten before it was read, or damaged
names pages that are not there, or makes one seem used that was not. A disk that fails costs hints.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from lsmkv.env.fs import File, FileSystem, write_all
from lsmkv.env.sync import Lock

__all__ = ["DIGEST_BYTES", "SLOTS", "TouchBook", "TouchNote", "TouchReader"]

SLOTS = 4096
"""Keys of the last calls that a ring holds: 128 KiB."""
VERSION = 1

_MAGIC = b"LSMKVTCH"
_HEADER = struct.Struct("<8sIIQ40x")
_NOTE = struct.Struct("<IIQ16s")
_KEY = struct.Struct("<I28s")
_SLOT_BYTES = 32
_IS_NOTE, _IS_KEY = 1, 2
DIGEST_BYTES = 16
"""Bytes of a namespace's digest in a note: hints need no more."""


class TouchNote(NamedTuple):
    """One call of a member that used pages of others."""

    kind: int
    thread: int
    digest: bytes
    """Of the namespace, the first 16 bytes."""
    keys: list[bytes]
    """28 bytes each, in prefix order."""


class TouchBook:
    """The ring of one member, for writing. Any thread may call anything."""

    def __init__(self, fs: FileSystem, path: str) -> None:
        """Nothing is opened before the first note."""
        self._fs = fs
        self._path = path
        self._lock = Lock()
        self._file: File | None = None
        self._broken = False
        self._count = 0

    def note(self, note: TouchNote) -> None:
        """Write a note. I/O: two or three small writes."""
        if self._broken or not note.keys:
            return
        slots = [_NOTE.pack(_IS_NOTE, note.kind, note.thread & 0xFFFFFFFFFFFFFFFF, note.digest[:DIGEST_BYTES])]
        slots += [_KEY.pack(_IS_KEY, key) for key in note.keys[: SLOTS - 1]]
        with self._lock:
            if self._broken:
                return
            try:
                self._append(slots)
            except OSError:
                self._broken = True  # until the store is opened again
                self._file = None

    def _append(self, slots: Sequence[bytes]) -> None:
        """Write slots, then the count. OSError."""
        file = self._file if self._file is not None else self._open()
        at = self._count % SLOTS
        fit = min(len(slots), SLOTS - at)
        write_all(file, [b"".join(slots[:fit])], _HEADER.size + at * _SLOT_BYTES)
        if fit < len(slots):
            write_all(file, [b"".join(slots[fit:])], _HEADER.size)
        self._count += len(slots)
        write_all(file, [_HEADER.pack(_MAGIC, VERSION, SLOTS, self._count)], 0)

    def _open(self) -> File:
        """Open the ring, or begin it. OSError."""
        if self._fs.exists(self._path):
            file = self._fs.open(self._path, "rw")
            count = _count_in(file.pread(_HEADER.size, 0))
            self._count = 0 if count is None else count
        else:
            file = self._fs.open(self._path, "create")
            file.truncate(_HEADER.size + SLOTS * _SLOT_BYTES)
        self._file = file
        return file

    def close(self) -> None:
        """Let go of the file; what is noted later, by calls that were left, is not written."""
        with self._lock:
            self._broken = True
            self._file = None

    def forked(self) -> None:
        """In a forked child: nothing is written here."""
        self._lock = Lock()
        self._file = None
        self._broken = True


class TouchReader:
    """The ring of a sibling, for reading what is new. One thread at a time."""

    def __init__(self, fs: FileSystem, path: str) -> None:
        self._fs = fs
        self._path = path
        self._seen: int | None = None

    def news(self) -> list[TouchNote]:
        """The notes written since the last call, oldest first; nothing at the first call. I/O: one open, two reads."""
        try:
            file = self._fs.open(self._path)
            count = _count_in(file.pread(_HEADER.size, 0))
            if count is None:
                return []
            since, self._seen = self._seen, count
            if since is None or not count - since > 0:
                return []
            raw = _in_order(file, max(since, count - SLOTS), count)
        except OSError:  # there is none, or it cannot be read
            return []
        return _notes(raw)


def _count_in(header: bytes) -> int | None:
    """The count in a header, None if it is not one that we know."""
    if len(header) < _HEADER.size:
        return None
    magic, version, slots, count = _HEADER.unpack(header)
    return int(count) if (magic, version, slots) == (_MAGIC, VERSION, SLOTS) else None


def _in_order(file: File, start: int, stop: int) -> bytes:
    """The slots of the stream from ``start`` to ``stop``, at most as many as there are. OSError. I/O: one or two reads."""
    first, n = start % SLOTS, stop - start
    fit = min(n, SLOTS - first)
    raw = file.pread(fit * _SLOT_BYTES, _HEADER.size + first * _SLOT_BYTES)
    return raw if fit == n else raw + file.pread((n - fit) * _SLOT_BYTES, _HEADER.size)


def _notes(raw: bytes) -> list[TouchNote]:
    """The notes in these slots; keys whose note was overwritten are passed over."""
    notes: list[TouchNote] = []
    for at in range(0, len(raw) - _SLOT_BYTES + 1, _SLOT_BYTES):
        slot = raw[at : at + _SLOT_BYTES]
        what = int.from_bytes(slot[:4], "little")
        if what == _IS_NOTE:
            _, kind, thread, digest = _NOTE.unpack(slot)
            notes.append(TouchNote(kind, thread, digest, []))
        elif what == _IS_KEY and notes:
            notes[-1].keys.append(slot[4:])
    return notes
