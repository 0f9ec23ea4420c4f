"""Live pages and bytes of every segment, exact: each change is committed together with the record that counts it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from lsmkv import DB, WriteBatch
from lsmkv_tensor.vlog.layout import Place
from lsmkv_tensor.vlog.reserved import SEGMENTS
from lsmkv_tensor.vlog.segment import FREE, Segment
from lsmkv_tensor.vlog.share import IndexShare

__all__ = ["Change", "Liveness"]


class Change:
    """What one batch adds to and takes from the live counts."""

    __slots__ = ("bytes", "pages")

    def __init__(self) -> None:
        self.pages: Counter[int] = Counter()
        self.bytes: Counter[int] = Counter()

    def add(self, segment: int, pages: int, nbytes: int) -> None:
        """Pages come alive in a segment (or die: negative counts)."""
        self.pages[segment] += pages
        self.bytes[segment] += nbytes

    def remove(self, places: Iterable[Place]) -> None:
        """These pages die."""
        for place in places:
            self.add(place.segment, -1, -place.disk_bytes)


class Liveness:
    """The segments of a store and their records. Used under the commit lock."""

    def __init__(self, db: DB, share: IndexShare) -> None:
        self._db = db
        self.share = share
        self.segments: dict[int, Segment] = {}
        self._unrecorded: set[int] = set()
        self.commits = 0
        """Batches committed since opening: unchanged means that nothing changed."""

    def load(self, path: str) -> None:
        """Read every record. CorruptionError for an impossible one. I/O: one scan of a few records."""
        for key, value in self._db.scan(prefix=SEGMENTS):
            segment = Segment.from_record(key, value, path)
            self.segments[segment.number] = segment

    def note(self, segment: Segment) -> None:
        """The segment changed (state, tail): the next commit records it, whatever it is about."""
        self._unrecorded.add(segment.number)

    def forget(self, segment: Segment) -> None:
        """The segment's file is gone; its record goes at once. Errors as the engine's ``delete``."""
        self._db.delete(segment.key)
        self._unrecorded.discard(segment.number)
        del self.segments[segment.number]

    def is_current(self, place: Place) -> bool:
        """Whether the segment still holds the generation the place speaks of."""
        segment = self.segments.get(place.segment)
        return segment is not None and segment.generation == place.generation and segment.state != FREE

    def commit(self, batch: WriteBatch, change: Change) -> None:
        """Write the batch with the records it changes: all of it or nothing. Errors as the engine's ``write``.

        I/O: one log append.
        """
        touched = {n for n in (*change.pages, *self._unrecorded) if n in self.segments}
        for number in sorted(touched):
            segment = self.segments[number]
            batch.put(segment.key, segment.record(change.pages[number], change.bytes[number]))
        self.share.count(batch.nbytes, len(batch))
        self.commits += 1  # before: a batch must never be visible under the old number
        self._db.write(batch)
        self._unrecorded.clear()
        for number in touched:
            segment = self.segments[number]
            segment.pages, segment.live_bytes = segment.after(change.pages[number], change.bytes[number])
