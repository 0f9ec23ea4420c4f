"""Reclaiming: give up what is cold in a segment, move what is wanted, then reuse the segment.

For each victim: its pages that nobody wants are evicted; the others are read, appended to the *survivors' segment* (apart from
fresh pages: what survived once lives long, so segments of survivors are seldom reclaimed), made durable, then their new places
are committed by compare-and-set under the commit lock. A page deleted, replaced or evicted meanwhile stays so: its copy is just
dead bytes. The lock is not held while reading and syncing, so calls go on. A crash at any step leaves the victim's pages where
they were or at their synced copies.

Three occasions. *Need*: a put finds no free segment; the victim is the one of :mod:`lsmkv_tensor.retention.victims`, and cold
pages go. *Ahead*: the same in the background, before anybody needs it (:meth:`Collector.step`). *Asked for*
(:meth:`Collector.run`): mostly dead segments, by benefit over cost; nothing is evicted but what has expired or belongs to
namespaces that nobody uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from lsmkv.env.sync import RLock
from lsmkv_tensor.retention.keeper import Slots
from lsmkv_tensor.retention.victims import CHEAP, MOVE_SHARE, Pick, most_kept, pick_victim
from lsmkv_tensor.vlog.bounce import AlignedBuffer
from lsmkv_tensor.vlog.files import SegmentFiles
from lsmkv_tensor.vlog.layout import Place
from lsmkv_tensor.vlog.log import ValueLog
from lsmkv_tensor.vlog.pieces import Want
from lsmkv_tensor.vlog.reader import read_pages
from lsmkv_tensor.vlog.segment import SEALED, Segment

__all__ = ["Collector", "GcReport", "next_victim"]

COPY_BYTES = 8 << 20
"""Bytes of survivors moved at a time: bounds memory and the time the commit lock is held."""


@dataclass(frozen=True, slots=True)
class GcReport:
    """What one collection did, or why it did nothing."""

    victims: tuple[int, ...]
    """Numbers of the segments freed, in order."""
    live_fraction: float
    """Live bytes over segment bytes of the victims together, before; 0.0 without victims."""
    bytes_read: int
    bytes_moved: int
    """Bytes of pages that took a new place."""
    pages_moved: int
    bytes_dropped: int
    """Bytes of pages that were given up: cold, expired, or of a namespace that nobody uses."""
    pages_dropped: int
    bytes_freed: int
    """Bytes of segments freed, less the bytes moved."""
    reason: str
    """Why it stopped, or why it did nothing."""


@dataclass(slots=True)
class _Work:
    """What a collection has done so far."""

    victims: list[int] = field(default_factory=list)
    live: int = 0
    read: int = 0
    moved: int = 0
    pages_moved: int = 0
    dropped: int = 0
    pages_dropped: int = 0

    def report(self, segment_bytes: int, reason: str) -> GcReport:
        """As the caller sees it."""
        total = len(self.victims) * segment_bytes
        return GcReport(
            victims=tuple(self.victims),
            live_fraction=self.live / total if total else 0.0,
            bytes_read=self.read,
            bytes_moved=self.moved,
            pages_moved=self.pages_moved,
            bytes_dropped=self.dropped,
            pages_dropped=self.pages_dropped,
            bytes_freed=total - self.moved,
            reason=reason,
        )


def next_victim(segments: Iterable[Segment], segment_bytes: int, max_live: float) -> Segment | None:
    """The sealed segment with the best benefit over cost among those at most ``max_live`` (fraction) alive; None: none is.

    With live fraction u: benefit 1 - u (space), cost 2u (read and written once) and a little for the headers. Pure.
    """
    best: tuple[float, Segment] | None = None
    for segment in segments:
        u = segment.live_bytes / segment_bytes
        if segment.state != SEALED or segment.copies or u > max_live:
            continue
        score = (1 - u) / (2 * u + 0.01)
        if best is None or score > best[0]:
            best = (score, segment)
    return best[1] if best is not None else None


class Collector:
    """Collects one store; one victim at a time."""

    def __init__(self, log: ValueLog, files: SegmentFiles) -> None:
        self._log = log
        self._files = files
        self._lock = RLock()  # reentrant: whoever watches the file system may store pages in the middle of a collection
        self._scratch: AlignedBuffer | None = None
        self._credit = files.segment_bytes // 2
        self._seen = 0  # bytes stored by callers when the credit was last counted
        self.move_share = MOVE_SHARE
        """Bytes that may be moved for each byte that callers store; may be changed at any time, as the next two."""
        self.live_limit = 1.0
        """Part of a segment that may be wanted for it to be a victim where room is needed, unless there is no other."""
        self.cheap = CHEAP
        """Live fraction up to which a segment is collected though nobody needs it."""
        self.on_moved: Callable[[Slots], None] = lambda _: None
        """Told of pages that were moved, with the lock held."""

    def bound_moves(self, share: float, live_limit: float, cheap: float) -> None:
        """Set the three bounds above."""
        self.move_share, self.live_limit, self.cheap = share, live_limit, cheap

    # occasions

    def run(self, max_live: float) -> GcReport:
        """Collect every sealed segment at most ``max_live`` alive, best first. Errors as the engine's ``write``.

        A segment that is still being filled is sealed first if it holds that many dead bytes itself.

        I/O: reads the live pages of the victims and writes them again; one fdatasync and one log sync a victim.
        """
        work = _Work()
        size = self._files.segment_bytes
        with self._log.lock:
            self._log.check_usable()
            self._log.keeper.fill()
            self._log.space.seal_if_dead(round((1 - max_live) * size))
            self._drop(self._log.keeper.lapsed(self._log.minute()), work)
            untried = dict(self._log.space.segments)
        while True:
            with self._lock:
                with self._log.lock:
                    victim = next_victim(untried.values(), size, max_live)
                if victim is None:
                    reason = self._why_none(max_live, work.victims)
                    break
                del untried[victim.number]
                if not self._reclaim(Pick(victim, np.empty(0, np.int64), victim.live_bytes), work, must=False):
                    reason = f"no free segment to move the survivors of segment {victim.number} to"
                    break
        return self._done(work, reason)

    def make_room(self) -> bool:
        """Reclaim segments until one may be filled; whether there is one now. Errors as the engine's ``write``.

        I/O: as :meth:`run` for each victim; survivors are at most half of a segment.
        """
        work = _Work()
        space = self._log.space
        with self._lock:
            self._earn()
            for _ in range(len(space.segments) + 1):
                with self._log.lock:
                    if space.has_free():
                        break
                    pick = self._pick(self._credit - work.moved)
                    if pick is None:
                        if not space.seal_survivors():
                            break
                        continue
                if not self._reclaim(pick, work, must=True):
                    break
            self._done(work, "")
            with self._log.lock:
                return space.has_free()

    def step(self, budget_bytes: int | None = None) -> GcReport:
        """One piece of background work: at most one victim, and at most about ``budget_bytes`` of reads and writes (None: any).

        A free segment is kept ahead of need; without need, segments that are nearly dead are collected. Errors as :meth:`run`.

        I/O: as :meth:`run` for at most one victim.
        """
        work = _Work()
        space = self._log.space
        with self._lock:
            self._earn()
            with self._log.lock:
                self._log.check_usable()
                space.give_back()
                need = space.short_of_free()
                if need:
                    pick = self._pick(self._credit)
                    idle = "no segment can be reclaimed: too much of each must stay"
                else:
                    victim = next_victim(space.segments.values(), self._files.segment_bytes, self.cheap)
                    pick = None if victim is None else Pick(victim, np.empty(0, np.int64), victim.live_bytes)
                    idle = f"segments are free, and none is at most {self.cheap:.0%} alive"
            if pick is None:
                return self._done(work, idle)
            cost = 2 * pick.moved_bytes
            if budget_bytes is not None and cost > budget_bytes:
                return self._done(
                    work, f"segment {pick.segment.number} would take {cost} bytes of I/O, the budget is {budget_bytes}"
                )
            done = self._reclaim(pick, work, must=need)
            return self._done(work, "one segment a step" if done else f"no room for the survivors of {pick.segment.number}")

    def rescue(self) -> None:
        """Write again, elsewhere, what lives in segments of which a sync failed.

        What finds no room, or cannot be read, is given up, pinned or not. Before the store is open for business: nobody reads.
        Errors as the engine's ``write``.

        I/O: as :meth:`run` for each such segment; none without one.
        """
        space, work = self._log.space, _Work()
        if not space.failed_syncs:
            return
        self._log.keeper.fill()
        for segment in [s for s in space.segments.values() if space.sync_failed(s)]:
            self._reclaim(Pick(segment, np.empty(0, np.int64), segment.live_bytes), work, must=True)
            with self._log.lock:
                if space.sync_failed(segment):
                    self._drop(self._log.keeper.in_segment(segment.number), work)
        space.forget_failed_syncs()
        self._done(work, "")

    def _pick(self, credit: int) -> Pick | None:
        """The victim when room is needed and ``credit`` bytes may be moved (lock held)."""
        keeper = self._log.keeper
        keeper.fill()
        minute = self._log.minute()
        return pick_victim(
            list(self._log.space.segments.values()),
            lambda nbytes: keeper.coldest(nbytes, minute),
            keeper.sizes,
            keeper.table.segments,
            keeper.used_bytes,
            max(min(credit, round(self.live_limit * self._files.segment_bytes)), 0),
            round(most_kept(len(self._log.space.segments)) * self._files.segment_bytes),
            len(keeper.lapsed(minute)),
        )

    def _earn(self) -> None:
        """Credit for what callers stored since the last time."""
        stored = self._log.space.fresh_bytes
        self._credit += round(self.move_share * (stored - self._seen))
        self._credit = min(self._credit, self._files.segment_bytes)
        self._seen = stored

    def _done(self, work: _Work, reason: str) -> GcReport:
        """Count the work."""
        counters = self._log.counters
        with self._log.lock:
            counters.gc_runs += bool(work.victims or work.pages_dropped)
            counters.gc_segments += len(work.victims)
            counters.gc_moved_bytes += work.moved
            counters.gc_read_bytes += work.read
            counters.gc_dropped_pages += work.pages_dropped
        self._credit -= work.moved
        return work.report(self._files.segment_bytes, reason)

    def _why_none(self, max_live: float, victims: list[int]) -> str:
        """Say why there is no victim, or no further one."""
        size = self._files.segment_bytes
        with self._log.lock:
            sealed = [s.live_bytes / size for s in self._log.space.segments.values() if s.state == SEALED]
        if victims:
            return f"no further sealed segment is at most {max_live:.0%} alive"
        if not sealed:
            return "no segment is sealed yet"
        return f"the emptiest of {len(sealed)} sealed segments is {min(sealed):.0%} alive, the limit is {max_live:.0%}"

    # one victim

    def _reclaim(self, pick: Pick, work: _Work, *, must: bool) -> bool:
        """Free one segment; False if there was no room for what must move.

        Cold pages are evicted last, when all others are safe: nothing goes in vain. ``must``: what found no room, or could not
        be read, goes with them, unless some of it is pinned. False also if that kept the segment from coming free.
        """
        victim = pick.segment
        space, keeper = self._log.space, self._log.keeper
        with self._log.lock:
            if victim.state != SEALED or victim.copies:
                return True
            live, generation = victim.live_bytes, victim.generation
            cold = set(keeper.keys(pick.cold))
            survivors = [item for item in space.live_pages(victim) if item[0] not in cold]
        moves: list[tuple[bytes, Place, Place]] = []
        copied_to: list[Segment] = []
        room = True
        try:
            for part in _portions(survivors):
                copied, room = self._copy(part, copied_to, work)
                moves += copied
                if not room:
                    break
            for segment in copied_to:
                space.sync_segment(segment)
            pages, nbytes = self._log.move(moves)
        finally:
            self._log.unpin(copied_to)
        work.pages_moved += pages
        work.moved += nbytes
        with self._log.lock:
            if victim.generation != generation:
                return True
            self.on_moved(keeper.find([key for key, _, _ in moves]))
            left = keeper.in_segment(victim.number)
            if must and not keeper.table.pins[left].any():
                self._drop(left, work)
            else:
                self._drop(left[np.isin(left, keeper.find(list(cold)))] if room else left[:0], work)
            if victim.state != SEALED or victim.pages or victim.copies:
                return room and not must
        self._log.db.sync()  # without the lock: puts go on
        with self._log.lock:
            if victim.generation == generation and victim.state == SEALED and not victim.copies:
                space.recycle(victim)
                work.victims.append(victim.number)
                work.live += live
        return True

    def _drop(self, slots: Slots, work: _Work) -> None:
        """Evict pages (lock held)."""
        if len(slots):
            work.dropped += int(self._log.keeper.sizes(slots).sum())
            work.pages_dropped += len(slots)
            self._log.evict(slots)

    def _copy(
        self, part: Sequence[tuple[bytes, Place]], copied_to: list[Segment], work: _Work
    ) -> tuple[list[tuple[bytes, Place, Place]], bool]:
        """Append copies of these pages; where each now also is, and whether there was room for all. Unreadable ones stay behind.

        ``copied_to`` gains the segments written to, one entry a frame.
        """
        pages = self._load(part, work)
        moves: list[tuple[bytes, Place, Place]] = []
        with self._log.lock:
            while pages:
                done = self._log.append_copies([(want.key, want.place, want.spans) for want in pages])
                if done is None:
                    return moves, False
                segment, places = done
                copied_to.append(segment)
                moves += [(w.key, w.place, p) for w, p in zip(pages, places, strict=False)]
                pages = pages[len(places) :]
        return moves, True

    def _load(self, part: Sequence[tuple[bytes, Place]], work: _Work) -> list[Want]:
        """Read and check pages into the scratch buffer; those that arrived."""
        total = sum(place.disk_bytes for _, place in part)
        if self._scratch is None or self._scratch.size < total:
            self._scratch = AlignedBuffer(max(total, COPY_BYTES))
        wants: list[Want] = []
        at = 0
        for i, (key, place) in enumerate(part):
            wants.append(Want(i, key, place, [self._scratch.view[at : at + place.length]]))
            at += place.disk_bytes
        if not wants or not self._log.space.acquire(wants[0].place):
            return []
        try:
            results = read_pages(self._files.reader(wants[0].place.segment), wants)
        except OSError:
            return []
        finally:
            self._log.space.release(wants[0].place.segment)
        work.read += total
        return [want for want, verdict in results if verdict == "ok"]


def _portions(survivors: Sequence[tuple[bytes, Place]]) -> Iterable[Sequence[tuple[bytes, Place]]]:
    """Cut at COPY_BYTES (a larger page goes alone)."""
    start = size = 0
    for i, (_, place) in enumerate(survivors):
        if size and size + place.disk_bytes > COPY_BYTES:
            yield survivors[start:i]
            start, size = i, 0
        size += place.disk_bytes
    if size:
        yield survivors[start:]
