"""Reading the segments of a store that somebody else writes.

Its writer overwrites segments in place, and may remove a file and make another of the same name. So a handle belongs to one
generation of a segment: a place that names another opens the file anew. A handle may have been opened for a generation that had
just ended, and be that of a later file; then what it reads fails its check, and no place names that generation any more.
"""

from __future__ import annotations

from collections import OrderedDict
from posixpath import join

from lsmkv.env.fs import File, FileSystem
from lsmkv.env.sync import Lock
from lsmkv_tensor.vlog.bounce import AlignedBuffer
from lsmkv_tensor.vlog.disks import DISK_SHIFT, segment_home
from lsmkv_tensor.vlog.layout import Place, payload_check

__all__ = ["MAX_OPEN", "OpenSegments"]

MAX_OPEN = 32
"""Segment files of one sibling held open; the least recently used is let go."""


class OpenSegments:
    """Read-only handles on the segments of one store. Any thread may call anything."""

    def __init__(self, fs: FileSystem, directory: str) -> None:
        self._fs = fs
        self.homes = {0: directory}
        """Where the segments of each disk lie; the first is the store's own directory."""
        self._lock = Lock()
        self._files: OrderedDict[int, tuple[int, File]] = OrderedDict()
        self._used: set[int] = set()

    def path(self, number: int) -> str:
        """Path of a segment."""
        return join(segment_home(self.homes, number), f"{number:06d}.seg")

    def knows(self, number: int) -> bool:
        """Whether the disk of a segment is known."""
        return number >> DISK_SHIFT in self.homes

    def reader(self, place: Place) -> File:
        """The file to read a page from. OSError if it cannot be opened. I/O: at most one open."""
        number, generation = place.segment, place.generation
        with self._lock:
            self._used.add(number)
            held = self._files.get(number)
            if held is not None and held[0] == generation:
                self._files.move_to_end(number)
                return held[1]
        file = self._fs.open(self.path(number), "r")
        file.advise("random")  # what lies beyond a page may not be written yet: do not read ahead
        with self._lock:
            self._files[number] = (generation, file)
            self._files.move_to_end(number)
            while len(self._files) > MAX_OPEN:
                self._files.popitem(last=False)
        return file

    def forget_unused(self) -> None:
        """Give up the handles that nobody asked for since the last call: they might keep removed files on the disk."""
        with self._lock:
            for number in self._files.keys() - self._used:
                del self._files[number]
            self._used.clear()

    def read_past_cache(self, key: bytes, place: Place) -> memoryview | None:
        """A page read into memory of our own and checked, past the page cache where that is possible; None: not sound.

        OSError if it cannot be opened or read. I/O: one open and read, two where direct reads are refused.
        """
        own = AlignedBuffer(place.length)
        for direct in (True, False):
            try:
                file = self._fs.open(self.path(place.segment), "r", direct=direct)
                done = file.preadv([own.view if direct else own.view[: place.length]], place.offset)
            except OSError:
                if not direct:
                    raise
                continue
            sound = done >= place.length and payload_check(key, [own.view[: place.length]]) == place.check
            return own.view[: place.length] if sound else None
        raise AssertionError  # pragma: no cover - the loop returns or raises

    def close(self) -> None:
        """Give up everything."""
        with self._lock:
            self._files.clear()
            self._used.clear()

    def forked(self) -> None:
        """In a forked child: give back the copies of the descriptors, whoever held the lock."""
        self._lock = Lock()
        self._files = OrderedDict()
