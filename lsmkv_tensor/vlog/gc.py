"""Garbage collection: move the survivors of mostly dead segments, then reuse the segments.

For each victim: read its live pages, append them to the active segment, make them durable, then commit their new places by
compare-and-set under the commit lock. A page deleted, replaced or evicted meanwhile stays so: its copy is just dead bytes.
The lock is not held while reading and syncing, so calls go on. A crash at any step leaves the victim's pages where they were
or at their synced copies.

Victims are chosen by benefit over cost: bytes that come free over bytes that must be read and written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lsmkv.env.sync import Lock
from lsmkv_tensor.vlog.bounce import AlignedBuffer
from lsmkv_tensor.vlog.files import SegmentFiles
from lsmkv_tensor.vlog.layout import Place
from lsmkv_tensor.vlog.log import ValueLog
from lsmkv_tensor.vlog.reader import Want, read_pages
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
    """Live bytes over segment bytes of the victims together; 0.0 without victims."""
    bytes_read: int
    bytes_moved: int
    """Bytes of pages that took a new place."""
    bytes_freed: int
    """Bytes of segments freed, less the bytes moved."""
    reason: str
    """Why it stopped."""


def next_victim(segments: Iterable[Segment], segment_bytes: int, max_live: float) -> Segment | None:
    """The sealed segment with the best benefit over cost among those at most ``max_live`` (fraction) alive; None: none is.

    With live fraction u: benefit 1 - u (space), cost 2u (read and written once) and a little for the headers. Pure.
    """
    best: tuple[float, Segment] | None = None
    for segment in segments:
        u = segment.live_bytes / segment_bytes
        if segment.state != SEALED or u > max_live:
            continue
        score = (1 - u) / (2 * u + 0.01)
        if best is None or score > best[0]:
            best = (score, segment)
    return best[1] if best is not None else None


class Collector:
    """Collects one store; one collection at a time."""

    def __init__(self, log: ValueLog, files: SegmentFiles) -> None:
        self._log = log
        self._files = files
        self._lock = Lock()
        self._scratch: AlignedBuffer | None = None
        self._read = 0

    def run(self, max_live: float) -> GcReport:
        """Collect every sealed segment at most ``max_live`` alive, best first. Errors as the engine's ``write``.

        I/O: reads the frame headers and live pages of the victims, writes the pages again, syncs once a victim.
        """
        size = self._files.segment_bytes
        victims: list[int] = []
        live = moved = 0
        self._read = 0
        with self._lock:
            self._log.check_usable()
            tried: set[int] = set()
            newest = max((s.generation for s in list(self._log.space.segments.values())), default=0)
            while True:  # segments started by this run hold its own copies: collecting them would never end
                segments = list(self._log.space.segments.values())
                candidates = [s for s in segments if s.number not in tried and s.generation <= newest]
                victim = next_victim(candidates, size, max_live)
                if victim is None:
                    reason = self._why_none(max_live, victims)
                    break
                tried.add(victim.number)
                before = victim.live_bytes
                done = self._collect(victim)
                if done is None:
                    reason = f"no free segment to move the survivors of segment {victim.number} to"
                    break
                moved += done
                if self._free(victim):
                    victims.append(victim.number)
                    live += before
            counters = self._log.counters
            counters.gc_runs += 1
            counters.gc_segments += len(victims)
            counters.gc_moved_bytes += moved
            counters.gc_read_bytes += self._read
            self._scratch = None
        freed = len(victims) * size - moved
        return GcReport(tuple(victims), live / (len(victims) * size) if victims else 0.0, self._read, moved, freed, reason)

    def _why_none(self, max_live: float, victims: list[int]) -> str:
        """Say why there is no victim, or no further one."""
        size = self._files.segment_bytes
        sealed = [s.live_bytes / size for s in list(self._log.space.segments.values()) if s.state == SEALED]
        if victims:
            return f"no further sealed segment is at most {max_live:.0%} alive"
        if not sealed:
            return "no segment is sealed yet"
        return f"the emptiest of {len(sealed)} sealed segments is {min(sealed):.0%} alive, the limit is {max_live:.0%}"

    def _collect(self, victim: Segment) -> int | None:
        """Move the survivors of one segment; bytes moved, None if there was no room."""
        space = self._log.space
        with self._log.lock:
            if victim.state != SEALED:
                return 0
            survivors = sorted(space.live_pages(victim), key=lambda item: item[1].block)
        moves: list[tuple[bytes, Place, Place]] = []
        pinned: list[Segment] = []
        try:
            for part in _portions(survivors):
                copied = self._copy(part, pinned)
                if copied is None:
                    return None
                moves += copied
            for segment in pinned:
                space.sync_segment(segment)
            return self._log.move(moves)
        finally:
            self._log.unpin(pinned)

    def _copy(self, part: Sequence[tuple[bytes, Place]], pinned: list[Segment]) -> list[tuple[bytes, Place, Place]] | None:
        """Append copies of these pages; where each now also is. Unreadable pages stay behind. None: no room.

        ``pinned`` gains the segments written to, one entry a frame.
        """
        pages = self._load(part)
        moves: list[tuple[bytes, Place, Place]] = []
        with self._log.lock:
            while pages:
                done = self._log.append_copies([(want.key, want.place, want.spans) for want in pages])
                if done is None:
                    return None
                segment, places = done
                pinned.append(segment)
                moves += [(w.key, w.place, p) for w, p in zip(pages, places, strict=False)]
                pages = pages[len(places) :]
        return moves

    def _load(self, part: Sequence[tuple[bytes, Place]]) -> list[Want]:
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
        self._read += total
        return [want for want, verdict in results if verdict == "ok"]

    def _free(self, victim: Segment) -> bool:
        """Recycle the victim if nothing lives in it any more."""
        with self._log.lock:
            if victim.state != SEALED or victim.pages:
                return False
            self._log.space.recycle(victim)
            return True


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
