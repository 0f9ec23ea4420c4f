"""What changes the value log and its index beside puts: evict, delete, move, records, sync. One change at a time.

Every change is one index batch that also holds the live counts it changes; when it is committed, the keeper is told.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lsmkv import DB, WriteBatch
from lsmkv.env.sync import Lock
from lsmkv_tensor.errors import BusyError, ClosedError, IOFailedError, PoisonedError, io_failed
from lsmkv_tensor.retention.keeper import Keeper, Slots
from lsmkv_tensor.retention.terms import Terms
from lsmkv_tensor.vlog.counters import Counters
from lsmkv_tensor.vlog.layout import Place
from lsmkv_tensor.vlog.liveness import Change, Liveness
from lsmkv_tensor.vlog.pinning import Pinning
from lsmkv_tensor.vlog.reserved import owner_of
from lsmkv_tensor.vlog.segment import Segment
from lsmkv_tensor.vlog.space import DELETE_BATCH, Space
from lsmkv_tensor.vlog.writer import FrameWriter, Page, frame_bytes

__all__ = ["ENTRY_BYTES", "Changes", "size_of", "with_records"]

EVICT_BATCH = 256
"""Pages evicted in one commit."""
INDEX_RELIEF = 32
"""When the index is full this part of all pages goes at a time."""

DRAIN_KEYS = 2048
"""Keys that calls used, at which the background is asked to tell the policy."""

ENTRY_BYTES = 32 + 56
"""Bytes of a page's index entry."""
_COMMIT_BYTES = 256
"""Bytes of the segment records that a commit may carry along."""

SideBySide: TypeAlias = Callable[[Sequence[Callable[[], None]]], object]


def _in_order(work: Sequence[Callable[[], None]]) -> None:
    """One after the other."""
    for part in work:
        part()


class Changes(Pinning):
    """Pages by 32-byte index key. ``lock`` orders all changes; readers never take it except to drop what is corrupt."""

    def __init__(self, db: DB, space: Space, liveness: Liveness, writer: FrameWriter, keeper: Keeper, terms: Terms) -> None:
        self.db = db
        self.space = space
        self.keeper = keeper
        self.terms = terms
        self.writer = writer
        self.counters = Counters()
        self.lock = Lock()
        self.dropped: set[int] = set()
        """Numbers of namespaces that are being dropped, or were: nothing is written to them any more."""
        self.on_corrupt: Callable[[bytes], None] = _nobody
        """Called with the index key of each page that is dropped because its bytes failed the check."""
        self.side_by_side: SideBySide = _in_order
        """Runs work that need not wait for each other, and returns when all of it is done; raises the first error."""
        self.on_many_touches: Callable[[], None] = _nothing
        """Called when many uses of pages wait to be told to the policy."""
        self._liveness = liveness

    def minute(self) -> int:
        """The present minute, as expiries count them."""
        return self.terms.minute()

    def contains(self, keys: Sequence[bytes]) -> NDArray[np.bool_]:
        """Which of these keys of one namespace have a page. I/O: as the engine's ``contains_many``."""
        if keys and self.may_expire(keys[0]):
            return np.array([place is not None for place in self.current_places(keys)], np.bool_)
        return self.db.contains_many(keys)

    def may_expire(self, key: bytes) -> bool:
        """Whether pages of this key's namespace may end."""
        return bool(self.terms.expiring) and int.from_bytes(key[:4], "big") in self.terms.expiring

    def current_places(self, keys: Sequence[bytes]) -> list[Place | None]:
        """:meth:`places`, None for pages that have ended. I/O: as the engine's ``get_many``."""
        return self.valid(self.db.get_many(keys))

    def valid(self, values: Sequence[bytes | None]) -> list[Place | None]:
        """The places in these index values, None for pages that have ended."""
        places = [None if value is None else Place.unpack(value) for value in values]
        if not self.terms.expiring:
            return places
        now = self.minute()
        return [None if p is not None and 0 < p.expiry <= now else p for p in places]

    @property
    def liveness(self) -> Liveness:
        """The counts that every change is committed with; under the lock."""
        return self._liveness

    @property
    def commits(self) -> int:
        """Grows with every change of the index."""
        return self._liveness.commits

    def touch(self, kind: int, keys: Sequence[bytes], prefix: bytes = b"", thread: int | None = None) -> None:
        """Pages were used (see :class:`~lsmkv_tensor.retention.touches.Touches`): noted, and told to the policy later."""
        touches = self.keeper.touches
        touches.note(kind, keys, prefix, thread)
        if touches.waiting >= DRAIN_KEYS:
            self.on_many_touches()

    def evict(self, slots: Slots) -> None:
        """Give up these pages (slots of the keeper), with the lock held. Errors as the engine's ``write``.

        I/O: one index commit per 256 pages.
        """
        for start in range(0, len(slots), EVICT_BATCH):
            part = slots[start : start + EVICT_BATCH]
            keys, lengths = self.keeper.keys(part), self.keeper.table.lengths[part].tolist()
            self._drop(part, keys, evicted=True)
            self.space.evicted += zip(keys, lengths, strict=True)
            self.space.evicted_pages += len(keys)
            self.space.evicted_bytes += sum(lengths)

    def _drop(self, slots: Slots, keys: list[bytes], *, evicted: bool) -> None:
        """Delete pages that the keeper knows from the index, in one commit."""
        batch = WriteBatch().delete_many(keys)
        change = Change()
        homes, sizes = self.keeper.table.segments[slots], self.keeper.sizes(slots)
        for number in homes[:1].tolist() if (homes == homes[0]).all() else sorted(set(homes.tolist())):
            mine = sizes[homes == number]
            change.add(number, -len(mine), -int(mine.sum()))
        self._liveness.commit(batch, change)
        self.keeper.gone(slots, evicted=evicted)

    def delete(self, keys: Sequence[bytes], records: Sequence[bytes] = ()) -> int:
        """Delete pages (and records); the number of pages that were there. Errors as the engine's ``write``.

        I/O: one commit per 1024 keys; before the keeper is filled also one batched index lookup.
        """
        deleted = 0
        with self.lock:
            self.check_usable()
            for start in range(0, len(keys), DELETE_BATCH):
                part = list(dict.fromkeys(keys[start : start + DELETE_BATCH]))
                if self.keeper.filled:
                    slots = self.keeper.find(part)
                    ends = self.keeper.table.expiries[slots]
                    deleted -= int(np.count_nonzero((ends > 0) & (ends <= self.minute())))  # they were not there any more
                    if len(slots):
                        self._drop(slots, part if len(slots) == len(part) else self.keeper.keys(slots), evicted=False)
                    deleted += len(slots)
                else:
                    found = self.places(part)
                    now = self.minute()
                    deleted -= sum(p is not None and 0 < p.expiry <= now for p in found)
                    deleted += self._delete({k: p for k, p in zip(part, found, strict=True) if p is not None})
            if records:
                self._liveness.commit(with_records(WriteBatch(), dict.fromkeys(records)), Change())
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
            self.on_corrupt(key)
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
            self.keeper.forget(list(found), evicted=False)
        return len(found)

    def move(self, moves: Sequence[tuple[bytes, Place, Place]]) -> tuple[int, int]:
        """Point the index at copies: for each (key, old, new) only if it still says ``old`` and the copy still exists.

        Returns how many pages and bytes took their new place. The caller has synced the copies.

        I/O: one batched index lookup and one commit per 1024 pages.
        """
        pages = nbytes = 0
        with self.lock:
            self.check_usable()
            for start in range(0, len(moves), DELETE_BATCH):
                part = moves[start : start + DELETE_BATCH]
                batch = WriteBatch()
                change = Change()
                taken: dict[int, list[bytes]] = {}
                for (key, old, new), now in zip(part, self.places([m[0] for m in part]), strict=True):
                    if now == old and self._liveness.is_current(new):
                        batch.put(key, new.pack())
                        change.remove([old])
                        change.add(new.segment, 1, new.disk_bytes)
                        taken.setdefault(new.segment, []).append(key)
                        pages += 1
                        nbytes += new.disk_bytes
                if len(batch):
                    self._liveness.commit(batch, change)
                for number, keys in taken.items():
                    self.keeper.moved(keys, number)
        return pages, nbytes

    def append_copies(self, copies: Sequence[tuple[bytes, Place, Sequence[memoryview]]]) -> tuple[Segment, list[Place]] | None:
        """Write one frame with copies of as many of the pages as fit, with the lock held; the index does not name them yet.

        Returns the segment and the new places of the first pages, None if no segment is left. The segment is pinned
        (``copies``) until :meth:`unpin`. IOFailedError.

        I/O: one gathered write.
        """
        self.check_usable()
        lengths = [place.length for _, place, _ in copies]
        n = self.fit(lengths, self.space.survivors)
        if not n and self.space.roll_survivors():
            n = self.fit(lengths, self.space.survivors)
        segment = self.space.survivors
        if not n or segment is None:
            return None
        pages = [Page(key, p.parent, p.length, p.kind, p.check, spans) for key, p, spans in copies[:n]]
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

    def most(self) -> int:
        """Pages in one frame and one index commit: bounds headers, batches, and what is evicted for them."""
        return self._liveness.share.entries_at_once(ENTRY_BYTES)

    def fit(self, lengths: Sequence[int], segment: Segment | None) -> int:
        """How many of the pages fit into one frame in an open segment."""
        room = self.space.room(segment)
        most = min(len(lengths), self.most())
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

    def index_room(self, nbytes: int, entries: int, hold: Callable[[], None] | None = None) -> bool:
        """Keep the index inside its share, evicting the coldest pages if need be; False if that is not enough.

        ``hold`` is called before anything is evicted.
        """
        while not self._liveness.share.room(nbytes + _COMMIT_BYTES, entries + 2):
            self.keeper.fill()
            if hold is not None:
                hold()
            victims = self.keeper.coldest(max(self.keeper.used_bytes // INDEX_RELIEF, 1), self.minute())
            if not len(victims):
                return False
            self.evict(victims)
        return True

    def room_for_records(self, records: Mapping[bytes, bytes | None]) -> None:
        """Make room for records; NoSpaceError if what cannot be evicted fills the index. Deleting needs no leave."""
        if any(value is not None for value in records.values()) and not self.index_room(size_of(records), len(records)):
            share = self._liveness.share
            full = OSError(errno.ENOSPC, f"{share.limit_bytes} bytes are its share (StoreOptions.index_bytes), all in use")
            op = "making room in the index"
            raise io_failed(op, self.db.path, full)

    def write_records(self, records: Mapping[bytes, bytes | None], *, sync: bool = False) -> None:
        """Write small records under reserved keys, all or nothing (None deletes), durable on return if ``sync``.

        Pages are evicted if the index needs the room; NoSpaceError if that is not enough. Other errors as the engine's
        ``write``. I/O: one commit.
        """
        with self.lock:
            self.check_usable()
            self.refuse_dropped((), records)
            self.room_for_records(records)
            self._liveness.commit(with_records(WriteBatch(), records), Change())
            if sync:
                self.db.sync()

    def sync(self) -> None:
        """Make everything stored so far durable. IOFailedError, PoisonedError.

        I/O: one fdatasync of each segment written to, one of the log.
        """
        with self.lock:
            self.check_usable()
            segments = list(self.space.segments.values())

        def data() -> None:
            """Segments go one after the other; the log needs not wait for them: a page is not there before both are."""
            for segment in segments:
                self.space.sync_segment(segment)

        self.side_by_side([data, self.db.sync])

    def take_evicted(self) -> list[tuple[bytes, int]]:
        """(index key, bytes) of pages evicted since the last call; the list is handed over once."""
        if not self.space.evicted:
            return []
        with self.lock:
            evicted, self.space.evicted = self.space.evicted, []
        return evicted

    def refuse_dropped(self, keys: Iterable[bytes], records: Iterable[bytes]) -> None:
        """ClosedError if these belong to a dropped namespace."""
        if self.dropped and not self.dropped.isdisjoint(map(owner_of, (*keys, *records))):
            what = "the namespace was dropped: this view of it"
            raise ClosedError(what)

    def check_usable(self) -> None:
        """PoisonedError if an earlier failure forbids writing."""
        if self.space.poison is not None:
            raise PoisonedError(self.space.poison.path, self.space.poison.first)


def size_of(records: Mapping[bytes, bytes | None]) -> int:
    """Bytes of these records."""
    return sum(len(key) + len(value or b"") for key, value in records.items())


def with_records(batch: WriteBatch, records: Mapping[bytes, bytes | None]) -> WriteBatch:
    """The batch with these records added (None: deleted)."""
    for key, value in records.items():
        if value is None:
            batch.delete(key)
        else:
            batch.put(key, value)
    return batch


def _nobody(key: bytes) -> None:
    """Nobody keeps an account of what was corrupt."""
    del key


def _nothing() -> None:
    """There is no background."""
