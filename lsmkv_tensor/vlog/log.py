"""Everything that changes the value log and its index: put, delete, drop, sync. One change at a time.

The order of a put: payloads and frame header are written, then the index batch with the liveness records is committed.
A crash between the two leaves bytes that nothing names. A power cut may keep the index commit and lose the bytes (neither
was synced): the check in the index value then fails, and the page is a miss, never a wrong page.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from lsmkv import DB, WriteBatch
from lsmkv.env.sync import Lock
from lsmkv_tensor.errors import BusyError, ClosedError, IOFailedError, NoSpaceError, PoisonedError, io_failed
from lsmkv_tensor.retention.fifo import next_victim
from lsmkv_tensor.vlog.counters import Counters
from lsmkv_tensor.vlog.layout import Place
from lsmkv_tensor.vlog.liveness import Change, Liveness
from lsmkv_tensor.vlog.reserved import owner_of
from lsmkv_tensor.vlog.segment import Segment
from lsmkv_tensor.vlog.space import DELETE_BATCH, Space
from lsmkv_tensor.vlog.writer import FrameWriter, Page, frame_bytes

__all__ = ["ValueLog"]

_ENTRY_BYTES = 32 + 56
"""Bytes of a page's index entry."""
_COMMIT_BYTES = 256
"""Bytes of the segment records that a commit may carry along."""


class ValueLog:
    """Pages by 32-byte index key. ``lock`` orders all changes; readers never take it except to drop what is corrupt."""

    def __init__(self, db: DB, space: Space, liveness: Liveness, writer: FrameWriter) -> None:
        self.db = db
        self.space = space
        self.writer = writer
        self.counters = Counters()
        self.lock = Lock()
        self.dropped: set[int] = set()
        """Numbers of namespaces that are being dropped, or were: nothing is written to them any more."""
        self._liveness = liveness

    def contains(self, keys: Sequence[bytes]) -> NDArray[np.bool_]:
        """Which keys have a page. I/O: as the engine's ``contains_many``."""
        return self.db.contains_many(keys)

    @property
    def liveness(self) -> Liveness:
        """The counts that every change is committed with; under the lock."""
        return self._liveness

    @property
    def commits(self) -> int:
        """Grows with every change of the index."""
        return self._liveness.commits

    def put(
        self,
        pages: Sequence[Page],
        records: Mapping[bytes, bytes | None],
        *,
        absent_at: int | None = None,
        page_bytes: int | None = None,
    ) -> tuple[list[bool], list[bytes]]:
        """Store pages of distinct keys; a page already there is left as it is. True: it was stored or there before.

        Also returns the index keys of the pages that this call evicted.

        ``absent_at``: the value of :attr:`commits` before the caller found all of them absent (spares asking again).
        ``page_bytes``: of each page before it was encoded, for the counters; None: as they are.

        ``records`` (reserved index keys to small values, None deletes) become visible with or before the first page. Pages
        that find no space, or whose write fails, are declined: False. PoisonedError if the store can take no more writes;
        NoSpaceError if there are only records to write, and no room for them. ClosedError if the namespace was dropped.

        I/O: one gathered write and one index commit per frame.
        """
        with self.lock:
            self.check_usable()
            self._refuse_dropped([page.key for page in pages[:1]], records)
            told = len(self.space.evicted)
            stored = [False] * len(pages)
            if absent_at != self.commits:
                stored = self.contains([page.key for page in pages]).tolist()
            todo = [i for i, there in enumerate(stored) if not there]
            self.counters.present_pages += len(pages) - len(todo)
            pending = dict(records)
            kept: list[int] = []
            first: int | None = None  # generation of the first segment this call wrote to: it must not evict its own pages
            try:
                while todo or pending:
                    now = self._frame([pages[i].length for i in todo], pending, first)
                    if todo and not now:
                        break
                    self._append([pages[i] for i in todo[:now]], pending)
                    pending = {}
                    if first is None and self.space.active is not None:
                        first = self.space.active.generation
                    for i in todo[:now]:
                        stored[i] = True
                    kept += [pages[i].length for i in todo[:now]]
                    todo = todo[now:]
            except PoisonedError:
                raise
            except NoSpaceError:
                if not pages:
                    raise
            except (IOFailedError, BusyError):  # counted below; what was stored before stays stored
                pass
            self.counters.declined_pages += len(todo)
            self.counters.put_stored_bytes += sum(kept)
            self.counters.put_bytes += sum(kept) if page_bytes is None else len(kept) * page_bytes
            return stored, [key for key, _ in self.space.evicted[told:]]

    def _frame(self, lengths: Sequence[int], records: Mapping[bytes, bytes | None], keep_from: int | None) -> int:
        """How many of the pages go into the next frame, after making room; 0 if there is no space to be had.

        NoSpaceError if there are records only, and no room in the index.
        """
        if not lengths:
            self._room_for_records(records)
            return 0
        lengths = lengths[: self._most()]
        if not self._index_room(len(lengths) * _ENTRY_BYTES + _size_of(records), len(lengths) + len(records), keep_from):
            return 0
        n = self._fit(lengths)
        if not n and self.space.roll(keep_from=keep_from):
            n = self._fit(lengths)
        return n

    def _most(self) -> int:
        """Pages in one frame and one index commit: bounds headers, batches, and what is evicted for them."""
        return self._liveness.share.entries_at_once(_ENTRY_BYTES)

    def _fit(self, lengths: Sequence[int]) -> int:
        """How many of the pages fit into one frame in the active segment."""
        room = self.space.room()
        most = min(len(lengths), self._most())
        if frame_bytes(lengths[:most]) <= room:
            return most
        low, high = 0, most  # low fits, high does not
        while high - low > 1:
            middle = (low + high) // 2
            if frame_bytes(lengths[:middle]) <= room:
                low = middle
            else:
                high = middle
        return low

    def _index_room(self, nbytes: int, entries: int, keep_from: int | None = None) -> bool:
        """Keep the index inside its share, evicting if need be, at last the active segment; False if that is not enough."""
        while not self._liveness.share.room(nbytes + _COMMIT_BYTES, entries + 2):
            victim = next_victim(self.space.segments.values(), keep_from)
            if victim is not None:
                self.space.empty(victim)
                continue
            active = self.space.active
            if active is None or not active.pages or active.copies or (keep_from is not None and active.generation >= keep_from):
                return False
            self.space.seal()
        return True

    def _room_for_records(self, records: Mapping[bytes, bytes | None]) -> None:
        """Make room for records; NoSpaceError if what cannot be evicted fills the index. Deleting needs no leave."""
        if any(value is not None for value in records.values()) and not self._index_room(_size_of(records), len(records)):
            share = self._liveness.share
            full = OSError(errno.ENOSPC, f"{share.limit_bytes} bytes are its share (StoreOptions.index_bytes), all in use")
            op = "making room in the index"
            raise io_failed(op, self.db.path, full)

    def _append(self, pages: Sequence[Page], records: Mapping[bytes, bytes | None]) -> None:
        """Write a frame (if there are pages) and commit it. IOFailedError, BusyError: nothing happened."""
        batch = WriteBatch()
        change = Change()
        segment = self.space.active
        before = (segment.tail, segment.frames) if segment is not None else (0, 0)
        if pages:
            assert segment is not None
            try:
                values, size = self.writer.append(segment, pages)
            except IOFailedError:
                self.space.seal()  # that stretch of the disk is not to be trusted with the next batch
                raise
            for page, value in zip(pages, values, strict=True):
                batch.put(page.key, value)
            change.add(segment.number, len(pages), size)
        _with_records(batch, records)
        try:
            self._liveness.commit(batch, change)
        except BaseException:
            if segment is not None:
                segment.tail, segment.frames = before
            raise
        self.counters.put_pages += len(pages)

    def delete(self, keys: Sequence[bytes], records: Sequence[bytes] = ()) -> int:
        """Delete pages (and records); the number of pages that were there. Errors as the engine's ``write``.

        I/O: one batched index lookup and one commit per 1024 keys.
        """
        deleted = 0
        with self.lock:
            self.check_usable()
            for start in range(0, len(keys), DELETE_BATCH):
                part = list(dict.fromkeys(keys[start : start + DELETE_BATCH]))
                found = self.places(part)
                deleted += self._delete({k: p for k, p in zip(part, found, strict=True) if p is not None})
            if records:
                self._liveness.commit(_with_records(WriteBatch(), dict.fromkeys(records)), Change())
            self.counters.deleted_pages += deleted
        return deleted

    def drop_corrupt(self, key: bytes, place: Place) -> bool:
        """Forget a page whose bytes failed the check, if the index still says the same; whether it did. I/O: one commit."""
        with self.lock:
            if self.space.poison is not None or self.places([key]) != [place]:
                return False
            try:
                self._delete({key: place})
            except (IOFailedError, BusyError):  # it stays in the index and stays a miss
                return False
            self.counters.corrupt += 1
            return True

    def _delete(self, found: Mapping[bytes, Place]) -> int:
        """Delete these pages from the index; how many."""
        if found:
            batch = WriteBatch()
            change = Change()
            for key in found:
                batch.delete(key)
            change.remove(place for place in found.values() if self._liveness.is_current(place))
            self._liveness.commit(batch, change)
        return len(found)

    def move(self, moves: Sequence[tuple[bytes, Place, Place]]) -> int:
        """Point the index at copies: for each (key, old, new) only if it still says ``old`` and the copy still exists.

        Returns the bytes that took their new place. The caller has synced the copies.

        I/O: one batched index lookup and one commit per 1024 pages.
        """
        moved = 0
        with self.lock:
            self.check_usable()
            for start in range(0, len(moves), DELETE_BATCH):
                part = moves[start : start + DELETE_BATCH]
                batch = WriteBatch()
                change = Change()
                for (key, old, new), now in zip(part, self.places([m[0] for m in part]), strict=True):
                    if now == old and self._liveness.is_current(new):
                        batch.put(key, new.pack())
                        change.remove([old])
                        change.add(new.segment, 1, new.disk_bytes)
                        moved += new.disk_bytes
                if len(batch):
                    self._liveness.commit(batch, change)
        return moved

    def append_copies(self, copies: Sequence[tuple[bytes, Place, Sequence[memoryview]]]) -> tuple[Segment, list[Place]] | None:
        """Write one frame with copies of as many of the pages as fit, with the lock held; the index does not name them yet.

        Returns the segment and the new places of the first pages, None if no segment is left. The segment is pinned
        (``copies``) until :meth:`unpin`. IOFailedError.

        I/O: one gathered write.
        """
        self.check_usable()
        lengths = [place.length for _, place, _ in copies]
        n = self._fit(lengths)
        if not n and self.space.roll(spare=True):
            n = self._fit(lengths)
        segment = self.space.active
        if not n or segment is None:
            return None
        pages = [Page(key, p.parent, p.length, p.codec, p.check, spans) for key, p, spans in copies[:n]]
        values, _ = self.writer.append(segment, pages)
        segment.copies += 1
        self._liveness.note(segment)
        return segment, [place for place in map(Place.unpack, values) if place is not None]

    def unpin(self, segments: Sequence[Segment]) -> None:
        """Let go of segments that :meth:`append_copies` returned, once for each time."""
        with self.lock:
            for segment in segments:
                segment.copies -= 1

    def forget_gone(self, key: bytes, place: Place) -> None:
        """Forget a page whose segment is in another generation, if the index still says so: it can never be read again.

        Only a damaged index says that; left there it would pass for a stored page. I/O: one lookup, one commit.
        """
        with self.lock:
            if self.space.poison is None and not self._liveness.is_current(place) and self.places([key]) == [place]:
                with suppress(IOFailedError, BusyError):  # it stays a miss
                    self._delete({key: place})
                    self.counters.lost += 1

    def places(self, keys: Sequence[bytes]) -> list[Place | None]:
        """What the index says of each key. I/O: as the engine's ``get_many``."""
        return [None if value is None else Place.unpack(value) for value in self.db.get_many(keys)]

    def write_records(self, records: Mapping[bytes, bytes | None], *, sync: bool = False) -> None:
        """Write small records under reserved keys, all or nothing (None deletes), durable on return if ``sync``.

        Pages are evicted if the index needs the room; NoSpaceError if that is not enough. Other errors as the engine's
        ``write``. I/O: one commit.
        """
        with self.lock:
            self.check_usable()
            self._refuse_dropped((), records)
            self._room_for_records(records)
            self._liveness.commit(_with_records(WriteBatch(), records), Change())
            if sync:
                self.db.sync()

    def sync(self) -> None:
        """Make everything stored so far durable. IOFailedError, PoisonedError.

        I/O: one fdatasync of each segment written to, one of the log.
        """
        with self.lock:
            self.check_usable()
            segments = list(self.space.segments.values())
        for segment in segments:
            self.space.sync_segment(segment)
        self.db.sync()

    def take_evicted(self) -> list[tuple[bytes, int]]:
        """(index key, bytes) of pages evicted since the last call; the list is handed over once."""
        if not self.space.evicted:
            return []
        with self.lock:
            evicted, self.space.evicted = self.space.evicted, []
        return evicted

    def _refuse_dropped(self, keys: Iterable[bytes], records: Iterable[bytes]) -> None:
        """ClosedError if these belong to a dropped namespace."""
        if self.dropped and not self.dropped.isdisjoint(map(owner_of, (*keys, *records))):
            what = "the namespace was dropped: this view of it"
            raise ClosedError(what)

    def check_usable(self) -> None:
        """PoisonedError if an earlier failure forbids writing."""
        if self.space.poison is not None:
            raise PoisonedError(self.space.poison.path, self.space.poison.first)


def _size_of(records: Mapping[bytes, bytes | None]) -> int:
    """Bytes of these records."""
    return sum(len(key) + len(value or b"") for key, value in records.items())


def _with_records(batch: WriteBatch, records: Mapping[bytes, bytes | None]) -> WriteBatch:
    """The batch with these records added (None: deleted)."""
    for key, value in records.items():
        if value is None:
            batch.delete(key)
        else:
            batch.put(key, value)
    return batch
