"""Pages of a namespace read beside a live writer, without a lock: its index is followed, its segments are only read.

Pages move and segments are used again meanwhile. Each page is checked against its key as the index has it; one that fails is
looked up once more in a newer index, and left out if that does not help.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from posixpath import join
from typing import Self

from lsmkv.env.clock import SystemClock
from lsmkv.env.fs import FileSystem
from lsmkv_tensor.cli.survey import follow_index
from lsmkv_tensor.passage import StoredPage
from lsmkv_tensor.registry import NamespaceInfo
from lsmkv_tensor.vlog.disks import known_disks, segment_home
from lsmkv_tensor.vlog.layout import Place, minute_of
from lsmkv_tensor.vlog.pieces import Want
from lsmkv_tensor.vlog.reader import read_pages
from lsmkv_tensor.vlog.reserved import RECORDS, number_key

__all__ = ["FollowedPages"]

ATTEMPTS = 3


class FollowedPages:
    """A :class:`lsmkv_tensor.packs.PackSource` over the files of a store; a context manager."""

    def __init__(self, fs: FileSystem, path: str, info: NamespaceInfo) -> None:
        self.info = info
        self._fs = fs
        self._index = follow_index(fs, path)
        self._homes = known_disks(self._index, path)
        self._prefix = info.number.to_bytes(4, "big")

    def keys(self) -> Iterator[bytes]:
        """Its pages, as of the call."""
        return (key[4:] for key, _ in self._index.scan(prefix=self._prefix))

    def count(self) -> int:
        """How many pages there are. I/O: a scan of their index entries."""
        return sum(1 for _ in self._index.scan(prefix=self._prefix))

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """Its records, as of the call."""
        prefix = number_key(RECORDS, self.info.number)
        return ((key[len(prefix) :], value) for key, value in self._index.scan(prefix=prefix))

    def read(self, keys: Sequence[bytes]) -> list[StoredPage | None]:
        """See :class:`lsmkv_tensor.packs.PackSource`."""
        found: dict[int, StoredPage] = {}
        now = minute_of(SystemClock().now())
        for attempt in range(ATTEMPTS):
            todo = [i for i in range(len(keys)) if i not in found]
            if not todo:
                break
            if attempt:
                self._index.refresh()
            values = self._index.get_many([self._prefix + keys[i] for i in todo])
            places = {i: Place.unpack(value) for i, value in zip(todo, values, strict=True) if value is not None}
            there = {i: place for i, place in places.items() if place is not None and not 0 < place.expiry <= now}
            wants = [_want(i, self._prefix + keys[i], place) for i, place in there.items()]
            if not wants:
                break
            for want in self._sound(wants):
                place, (memory,) = want.place, want.spans
                found[want.position] = StoredPage(keys[want.position], place.parent, place.codec, memory, place.expiry)
        return [found.get(i) for i in range(len(keys))]

    def _sound(self, wants: list[Want]) -> Iterator[Want]:
        """Those that could be read and are what they should be."""
        by_segment: dict[int, list[Want]] = {}
        for want in sorted(wants, key=lambda want: want.place):
            by_segment.setdefault(want.place.segment, []).append(want)
        for segment, members in by_segment.items():
            try:
                file = self._fs.open(join(segment_home(self._homes, segment), f"{segment:06d}.seg"))
            except OSError:  # emptied and unlinked since
                continue
            try:
                yield from (want for want, verdict in read_pages(file, members) if verdict == "ok")
            finally:
                file.close()

    def __enter__(self) -> Self:
        """The source itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop following."""
        self._index.close()


def _want(position: int, key: bytes, place: Place) -> Want:
    """A page to read into memory of its own."""
    return Want(position, key, place, [memoryview(bytearray(place.length))])
