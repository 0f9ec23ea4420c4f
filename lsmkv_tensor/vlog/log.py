"""Storing pages: the part of the value log that callers wait for most. What else changes it: :mod:`lsmkv_tensor.vlog.changes`.

The order of a put: payloads and frame header are written, then the index batch with the liveness records is committed.
A crash between the two leaves bytes that nothing names. A power cut may keep the index commit and lose the bytes (neither
was synced): the check in the index value then fails, and the page is a miss, never a wrong page.

A put that finds no free segment lets go of the lock, has one reclaimed, and goes on; what it stored itself is held meanwhile.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

import numpy as np

from lsmkv import WriteBatch
from lsmkv_tensor.errors import BusyError, IOFailedError, NoSpaceError, PoisonedError
from lsmkv_tensor.retention.gatekeeper import Gatekeeper
from lsmkv_tensor.retention.protocol import Seen
from lsmkv_tensor.vlog.changes import ENTRY_BYTES, Changes, size_of, with_records
from lsmkv_tensor.vlog.layout import PLACE_COLUMNS, padded
from lsmkv_tensor.vlog.liveness import Change
from lsmkv_tensor.vlog.writer import Page

__all__ = ["ValueLog"]

QUOTA_RELIEF = 64
"""When a namespace's quota is full this part of it goes at a time: looking for its coldest pages costs a look at all pages."""


class _Put:
    """A call that stores pages, on its way."""

    __slots__ = (
        "blocked",
        "ended",
        "held",
        "judged",
        "pages",
        "records",
        "refused",
        "stored",
        "stored_bytes",
        "stored_pages",
        "todo",
    )

    def __init__(self, pages: Sequence[Page], records: Mapping[bytes, bytes | None]) -> None:
        self.pages = pages
        self.records = dict(records)
        """Not yet written."""
        self.todo = list(range(len(pages)))
        """Positions of pages not yet stored."""
        self.stored: list[bytes] = []
        self.held: list[bytes] = []
        """Stored by this call, and not to be evicted until it ends."""
        self.ended: list[tuple[bytes, int]] = []
        """(index key, bytes) of pages that had ended and made way for these."""
        self.blocked = False
        """It stopped for want of a free segment."""
        self.judged = False
        self.refused: list[int] = []
        """Positions of pages that are not worth a write."""
        self.stored_pages = 0
        self.stored_bytes = 0

    def note(self, pages: Sequence[Page]) -> None:
        """These were stored."""
        self.stored += [page.key for page in pages]
        self.stored_pages += len(pages)
        self.stored_bytes += sum(page.length for page in pages)


class ValueLog(Changes):
    """Pages by 32-byte index key. ``lock`` orders all changes; readers never take it except to drop what is corrupt."""

    gatekeeper: Gatekeeper | None = None
    """Judges what is offered; None: everything is stored. Set by the store."""
    make_room: Callable[[], bool] = staticmethod(lambda: False)
    """Has segments reclaimed until one is free, if that can be; called without the lock. Set by the store."""

    def put(
        self,
        pages: Sequence[Page],
        records: Mapping[bytes, bytes | None],
        *,
        absent_at: int | None = None,
        page_bytes: int | None = None,
        refused: list[bytes] | None = None,
    ) -> tuple[list[bool], list[bytes]]:
        """Store pages of distinct keys; a page already there is left as it is. True: it was stored or there before.

        Also returns the index keys of the pages that were evicted meanwhile.

        ``absent_at``: the value of :attr:`commits` before the caller found all of them absent (spares asking again).
        ``page_bytes``: of each page before it was encoded, for the counters; None: as they are. ``refused`` gains the keys of
        pages that admission did not want.

        ``records`` (reserved index keys to small values, None deletes) become visible with or before the first page. Pages
        that find no space, or whose write fails, are declined: False. PoisonedError if the store can take no more writes;
        NoSpaceError if there are only records to write, and no room for them. ClosedError if the namespace was dropped.

        I/O: one gathered write and one index commit per frame; if no segment is free what :attr:`make_room` does.
        """
        call = _Put(pages, records)
        with self.lock:
            evicted = self.space.evicted
            told = len(evicted)
            self._go_on(call, absent_at)
        try:
            while call.blocked and self._room_made():
                with self.lock:
                    before = len(call.todo)
                    self._go_on(call, None)
                if len(call.todo) == before:
                    break
        finally:
            todo = {*call.todo, *call.refused}
            with self.lock:
                self.keeper.let_go(call.held)
                self._count(call, page_bytes)
                if call.ended:  # what had ended and is there again is not gone: its owner would be told of the page that is there
                    stored = {page.key for i, page in enumerate(pages) if i not in todo}
                    self.space.evicted += [page for page in call.ended if page[0] not in stored]
        if refused is not None:
            refused += [pages[i].key for i in call.refused]
        now = self.space.evicted
        gone = evicted[told:] if now is evicted else evicted[told:] + now  # somebody else may have taken the first list
        return [i not in todo for i in range(len(pages))], [key for key, _ in gone]

    def _room_made(self) -> bool:
        """Have segments reclaimed; False if that did not help. PoisonedError."""
        try:
            return self.make_room()
        except PoisonedError:
            raise
        except (IOFailedError, BusyError) as error:  # the pages are declined
            self.counters.write_errors += isinstance(error, IOFailedError) and not isinstance(error, NoSpaceError)
            return False

    def _count(self, call: _Put, page_bytes: int | None) -> None:
        """Add a call to the counters."""
        counters = self.counters
        counters.declined_pages += len(call.todo)
        counters.put_stored_bytes += call.stored_bytes
        counters.put_bytes += call.stored_bytes if page_bytes is None else call.stored_pages * page_bytes

    def _go_on(self, call: _Put, absent_at: int | None) -> None:
        """Store what is left of a call, as far as there is a segment to fill (lock held)."""
        self.check_usable()
        pages = call.pages
        self.refuse_dropped([page.key for page in pages[:1]], call.records)
        if absent_at is None or absent_at != self.commits:
            there = self.contains([pages[i].key for i in call.todo]).tolist() if call.todo else []
            self.counters.present_pages += sum(there)
            call.todo = [i for i, stored in zip(call.todo, there, strict=True) if not stored]
        self._judge(call)
        call.blocked = False
        try:
            if call.todo and self.may_expire(pages[0].key):
                call.ended += self._forget_ended([pages[i].key for i in call.todo])
            while call.todo or call.records:
                now = self._frame([pages[i].length for i in call.todo], call)
                if call.todo and not now:
                    break
                self._append([pages[i] for i in call.todo[:now]], call.records)
                call.records = {}
                call.note([pages[i] for i in call.todo[:now]])
                call.todo = call.todo[now:]
        except PoisonedError:
            raise
        except NoSpaceError:
            if not pages:
                raise
        except (IOFailedError, BusyError) as error:  # counted as declined; what was stored before stays stored
            self.counters.write_errors += isinstance(error, IOFailedError)
        if call.blocked:
            self._hold(call)

    def seen(self, capacity_bytes: int, now_s: float) -> Seen:
        """What the admission policy may know of a store of this capacity."""
        return Seen(
            now_s=now_s,
            capacity_bytes=capacity_bytes,
            used_bytes=self.keeper.used_bytes,
            written_bytes=self.writer.bytes_written,
            evicted_bytes=self.space.evicted_bytes,
            ghost_hits=getattr(self.keeper.policy, "ghost_hits", 0),
            hits=self.counters.hits,
        )

    def _judge(self, call: _Put) -> None:
        """Leave out what is not worth a write, once a call."""
        if call.judged or self.gatekeeper is None:
            return
        call.judged = True
        pages = [call.pages[i] for i in call.todo]
        flags = self.gatekeeper.admitted([page.key for page in pages], [page.length for page in pages])
        call.refused = [i for i, flag in zip(call.todo, flags, strict=True) if not flag]
        call.todo = [i for i, flag in zip(call.todo, flags, strict=True) if flag]
        self.counters.refused_pages += len(call.refused)

    def _forget_ended(self, keys: Sequence[bytes]) -> list[tuple[bytes, int]]:
        """Pages that have ended are absent to everybody, but the index and the counts still have them; which they were."""
        self.keeper.fill()
        evicted = self.space.evicted
        before = len(evicted)
        self.evict(self.keeper.find(keys))
        ended = evicted[before:]
        del evicted[before:]
        return ended

    def _within_quota(self, lengths: Sequence[int], call: _Put) -> int:
        """How many of the pages their namespace's quota has room for, after evicting its coldest ones."""
        space = int.from_bytes(call.pages[0].key[:4], "big")
        quota = self.terms.quotas.get(space)
        if quota is None:
            return len(lengths)
        self.keeper.fill()
        ends = list(accumulate(map(padded, lengths)))
        over = self.keeper.space_bytes(space) + ends[-1] - quota
        if over > 0:
            self._hold(call)
            self.evict(self.keeper.coldest_of(space, max(over, quota // QUOTA_RELIEF), self.minute()))
        return bisect_right(ends, quota - self.keeper.space_bytes(space))

    def _hold(self, call: _Put) -> None:
        """What the call has stored must not be what makes room for the rest of it."""
        self.keeper.hold(call.stored)
        call.held += call.stored
        call.stored = []

    def _frame(self, lengths: Sequence[int], call: _Put) -> int:
        """How many of the pages go into the next frame; 0 if a segment must be reclaimed first or the index is full.

        NoSpaceError if there are records only, and no room in the index.
        """
        if not lengths:
            self.room_for_records(call.records)
            return 0
        lengths = lengths[: self._within_quota(lengths[: self.most()], call)]
        if not lengths:
            return 0
        if not self.index_room(
            len(lengths) * ENTRY_BYTES + size_of(call.records), len(lengths) + len(call.records), lambda: self._hold(call)
        ):
            return 0
        n = self.fit(lengths, self.space.active)
        if not n and self.space.roll():
            n = self.fit(lengths, self.space.active)
        call.blocked = not n
        return n

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
            batch.keys += [page.key for page in pages]  # not one by one: all are bytes of one width each
            batch.values += values
            batch.nbytes += len(pages) * ENTRY_BYTES
            change.add(segment.number, len(pages), size)
        with_records(batch, records)
        try:
            self._liveness.commit(batch, change)
        except BaseException:
            if segment is not None:
                segment.tail, segment.frames = before
            raise
        self.terms.written(records)
        self.counters.put_pages += len(pages)
        if pages:
            self.space.fresh_bytes += size
            if (
                segment is not None
                and (room := self.space.room(segment)) <= self.space.ahead_bytes < room + segment.tail - before[0]
            ):
                self.space.on_roll()
            self.keeper.stored([page.key for page in pages], np.frombuffer(b"".join(values), PLACE_COLUMNS))
