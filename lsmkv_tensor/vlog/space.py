"""The segments of a store: which is filled, which may be reused, which must go.

Used under the commit lock, except for :meth:`Space.acquire` and :meth:`Space.release`, by which readers hold a segment in
its generation, and :meth:`Space.sync_segment`.

The recycling rule: a segment is written again only after the index commits that emptied it are synced and every reader
that held it has let go. Its generation then grows, so nothing that still points at the old contents is believed.
"""

from __future__ import annotations

from collections.abc import Callable

from lsmkv import DB, WriteBatch
from lsmkv.env.sync import Condition
from lsmkv_tensor.errors import CorruptionError, IOFailedError, NoSpaceError
from lsmkv_tensor.retention.fifo import oldest_sealed
from lsmkv_tensor.retention.keeper import Keeper
from lsmkv_tensor.retention.quota import Quota
from lsmkv_tensor.vlog.files import SegmentFiles
from lsmkv_tensor.vlog.inhabitants import Inhabitants
from lsmkv_tensor.vlog.layout import BLOCK, Place, unpack_segment_header
from lsmkv_tensor.vlog.liveness import Change, Liveness
from lsmkv_tensor.vlog.segment import ACTIVE, FREE, SEALED, Segment
from lsmkv_tensor.vlog.syncing import Syncing
from lsmkv_tensor.vlog.writer import FrameWriter

__all__ = ["AHEAD_FROM", "DELETE_BATCH", "Space"]

DELETE_BATCH = 1024
"""Index entries deleted in one commit."""
AHEAD_FROM = 16
"""Segments from which on one is kept free ahead of need."""


class Space(Syncing):
    """Allocates, seals, empties and recycles segments within a quota."""

    def __init__(
        self,
        db: DB,
        files: SegmentFiles,
        writer: FrameWriter,
        liveness: Liveness,
        quota: Quota,
        store_id: bytes,
        keeper: Keeper,
        floor_bytes: int = 0,
        failed_syncs: dict[int, int] | None = None,
    ) -> None:
        super().__init__(db, files, failed_syncs)
        self._writer = writer
        self._liveness = liveness
        self._quota = quota
        self._inhabitants = Inhabitants(db, files, keeper, store_id)
        self._keeper = keeper
        self._floor_bytes = floor_bytes
        self._generation = 0
        self._released = Condition()
        self.active: Segment | None = None
        """Where fresh pages go."""
        self.survivors: Segment | None = None
        """Where pages go that outlived their segment."""
        self.on_roll: Callable[[], None] = lambda: None
        """Called when fresh pages go to another segment, and when that is half full, with the lock held."""
        self.ahead_bytes = files.segment_bytes // 2
        """Room left in the active segment from which on the next is needed soon: not before, a free one holds no page."""
        self.fresh_bytes = 0
        """Bytes of frames that callers' pages were written in."""
        self.untried: dict[int, int] = {}
        """Segments (number to generation) that were being filled when the store was opened: whether the bytes of their pages
        arrived is not known, a power cut may have torn them."""
        self.tried: set[bytes] = set()
        """Index keys of their pages that were read since, and are whole."""
        self.evicted: list[tuple[bytes, int]] = []
        """(index key, bytes) of pages evicted and not yet told to anybody."""
        self.evicted_pages = 0
        self.evicted_bytes = 0
        self.recycled = 0

    @property
    def segments(self) -> dict[int, Segment]:
        """All segments by number; each has a file."""
        return self._liveness.segments

    def in_use(self) -> int:
        """Segments that hold data."""
        return sum(s.state != FREE for s in self.segments.values())

    # opening

    def load(self) -> int:
        """Bring records and files together after opening; pages lost with missing files are dropped, their number returned.

        Files without a record are removed. One active segment is resumed at its recorded tail: what lies beyond was never
        named by the index. More segments than the quota allows are evicted.

        I/O: one listing; one header write if a segment is resumed.
        """
        on_disk = self._files.on_disk()
        for number in on_disk.keys() - self.segments.keys():
            self._files.unlink(number)
        lost = 0
        bare = [s for s in self.segments.values() if s.pages and (s.number not in on_disk or s.state == FREE)]
        for segment, entries in zip(bare, self._inhabitants.all_by_index(bare), strict=True):
            lost += len(self._drop_pages(segment, entries))
        for segment in [s for s in self.segments.values() if s.number not in on_disk]:
            self._liveness.forget(segment)
        for segment in [s for s in self.segments.values() if s.state == FREE]:
            if on_disk[segment.number] != self._files.segment_bytes:
                self._files.unlink(segment.number)
                self._liveness.forget(segment)
        self._generation = max((s.generation for s in self.segments.values()), default=0)
        self.load_failed_syncs()
        active = [s for s in self.segments.values() if s.state == ACTIVE]
        self.active = max((s for s in active if not self.sync_failed(s)), key=lambda s: s.generation, default=None)
        self.untried = {s.number: s.generation for s in active if s.pages}
        for segment in active:
            segment.dirty = True  # by whom it was written last time, and whether that was synced, is not known
            if segment is not self.active:
                self._set_state(segment, SEALED)
        self._shrink()
        if self.active is not None:
            self._resume(self.active, on_disk[self.active.number])
        most = self._files.segment_bytes // BLOCK  # whatever a damaged record says
        self._keeper.expect(sum(min(s.pages, most) for s in self.segments.values()))
        return lost

    def _resume(self, segment: Segment, size: int) -> None:
        """Go on filling a segment; one that cannot be brought to its length is sealed instead."""
        try:
            if size < self._files.segment_bytes:
                self._files.restore_length(segment.number)
            self._writer.start(segment)
        except IOFailedError:
            self.active = None
            self._set_state(segment, SEALED)

    def _shrink(self) -> None:
        """Fewer segments if the quota is smaller than when they were made."""
        while len(self.segments) > self._quota.segments:
            free = next((s for s in self.segments.values() if s.state == FREE), None)
            if free is None:
                victim = oldest_sealed(self.segments.values()) or self.active
                assert victim is not None
                if victim is self.active:
                    self.active = None
                self.empty(victim)
                continue
            self._files.unlink(free.number)
            self._liveness.forget(free)

    # filling

    def room(self, segment: Segment | None) -> int:
        """Bytes left for frames in an open segment (the end mark's block set aside)."""
        return self._files.segment_bytes - BLOCK - segment.tail if segment is not None else 0

    def has_free(self) -> bool:
        """Whether a segment that holds nothing may be filled with fresh pages."""
        return self.in_use() < self._quota.segments - 1 and self._free() is not None

    def short_of_free(self) -> bool:
        """Whether fresh pages will soon find no segment: in a store of many one is kept ahead of need, but not long before."""
        many = self._quota.segments >= AHEAD_FROM and not self._below_floor()
        ahead = 1 if many and self.room(self.active) <= self.ahead_bytes else 0
        return self._quota.segments - 1 - self.in_use() < ahead

    def roll(self) -> bool:
        """Seal the active segment and start another; False if there is none to be had: one must be reclaimed first.

        Raises IOFailedError, PoisonedError. I/O: end mark, fdatasync, header.
        """
        self.seal()
        if self.in_use() >= self._quota.segments - 1:
            return False
        self.active = self._begin()
        self.on_roll()
        return self.active is not None

    def roll_survivors(self) -> bool:
        """Seal the survivors' segment and start another, the spare one if need be; False if there is none. As :meth:`roll`."""
        segment, self.survivors = self.survivors, None
        self._close(segment)
        if self.in_use() >= self._quota.segments:
            return False
        self.survivors = self._begin()
        return self.survivors is not None

    def _begin(self) -> Segment | None:
        """A segment with a new generation; None if the disk has no room for one. IOFailedError."""
        while (segment := self._free() or self._create()) is not None:
            try:
                self._start(segment)
            except IOFailedError:
                if not self._files.disks.give_up(segment.number):
                    raise
            else:
                return segment
        return None

    def _free(self) -> Segment | None:
        """A segment that holds nothing, if there is one."""
        works = self._files.disks.works
        return next((s for s in self.segments.values() if s.state == FREE and works(s.number)), None)

    def _create(self) -> Segment | None:
        """A segment with a new file; None if the disk has no room for it above the floor. IOFailedError."""
        if len(self.segments) >= self._quota.segments or self._below_floor(self._files.segment_bytes):
            return None
        for number in self._files.new_numbers(self.segments):
            try:
                self._files.create(number)
            except NoSpaceError:
                continue
            except IOFailedError:
                if not self._files.disks.give_up(number):
                    raise
                continue
            segment = self.segments[number] = Segment(number)
            return segment
        return None

    def _below_floor(self, more: int = 0) -> bool:
        """Whether the disk would have less free space than is to be left to others, with ``more`` bytes taken."""
        return self._floor_bytes > 0 and self._files.free_bytes() - more < self._floor_bytes

    def give_back(self) -> int:
        """Remove files of free segments while the disk has too little free space; how many went. IOFailedError.

        I/O: one question to the file system; an unlink and an index commit a segment.
        """
        given = 0
        while self._below_floor() and (segment := self._free()) is not None:
            self._files.unlink(segment.number)
            self._liveness.forget(segment)
            given += 1
        return given

    def seal(self) -> None:
        """End the active segment and make it durable. IOFailedError, PoisonedError. I/O: end mark, fdatasync."""
        segment, self.active = self.active, None
        self._close(segment)

    def seal_if_dead(self, dead_bytes: int) -> None:
        """Seal an open segment that holds at least so many dead bytes: only sealed ones are collected. As :meth:`seal`."""
        if self.active is not None and self.active.used_bytes - self.active.live_bytes >= dead_bytes:
            self.seal()
        if self.survivors is not None and self.survivors.used_bytes - self.survivors.live_bytes >= dead_bytes:
            self.seal_survivors()

    def seal_survivors(self) -> bool:
        """Seal the survivors' segment, if there is one: only sealed ones are reclaimed. As :meth:`seal`."""
        segment, self.survivors = self.survivors, None
        self._close(segment)
        return segment is not None

    def _close(self, segment: Segment | None) -> None:
        """Write the end mark of an open segment, and make it durable."""
        if segment is None:
            return
        self._set_state(segment, SEALED)
        try:
            self._writer.seal(segment)
        finally:
            self.sync_segment(segment)

    def _start(self, segment: Segment) -> None:
        """Begin a new generation of a free segment. IOFailedError: it stays free."""
        generation = max(self._generation, self._generation_on_disk(segment)) + 1
        before = segment.generation
        segment.generation = generation
        segment.tail = BLOCK
        segment.frames = 0
        try:
            self._writer.start(segment)
        except IOFailedError:
            segment.generation = before
            raise
        self._generation = generation
        self._set_state(segment, ACTIVE)

    def _generation_on_disk(self, segment: Segment) -> int:
        """What the file says: after a power cut it may be ahead of the index. 0 if it says nothing."""
        try:
            raw = self._files.reader(segment.number).pread(BLOCK, 0)
            return unpack_segment_header(raw, self._files.path(segment.number)).generation
        except (OSError, CorruptionError):
            return 0

    def _set_state(self, segment: Segment, state: int) -> None:
        """Change the state and have it recorded with the next commit."""
        segment.state = state
        self._liveness.note(segment)

    # emptying

    def empty(self, segment: Segment) -> None:
        """Evict what still lives in a sealed segment and make it free. Errors as the engine's ``write`` and ``sync``.

        I/O: reads its frame headers; index commits; one sync of the log; waits for readers of the segment.
        """
        if segment.pages:
            entries = self._live(segment)
            self.evicted += [(key, place.length) for key, place in self._drop_pages(segment, entries)]
            self.evicted_pages += len(entries)
        self._db.sync()
        self.recycle(segment)

    def recycle(self, segment: Segment) -> None:
        """Make an empty segment free under the recycling rule: the log was synced since it is empty. I/O: waits for readers.

        Its generation ends here: what still points at its old contents is not believed from now on.
        """
        assert segment.pages == 0
        assert segment.copies == 0
        assert segment is not self.active
        with self._released:
            while segment.readers:
                self._released.wait()
            segment.state = FREE
            self._generation += 1
            segment.generation = self._generation
        self._liveness.note(segment)
        self._files.drop_cached(segment.number)
        self.recycled += 1

    def _drop_pages(self, segment: Segment, entries: dict[bytes, Place]) -> list[tuple[bytes, Place]]:
        """Delete all live entries of a segment from the index."""
        self._recount(segment, entries)
        items = list(entries.items())
        for start in range(0, len(items), DELETE_BATCH):
            part = items[start : start + DELETE_BATCH]
            batch = WriteBatch()
            change = Change()
            for key, _ in part:
                batch.delete(key)
            change.remove(place for _, place in part)
            self._liveness.commit(batch, change)
            self._keeper.forget([key for key, _ in part], evicted=True)
        return items

    def _recount(self, segment: Segment, entries: dict[bytes, Place]) -> None:
        """Believe what was found of a segment rather than what was counted; damage may have made the two differ."""
        segment.pages = len(entries)
        segment.live_bytes = sum(place.disk_bytes for place in entries.values())
        self._liveness.note(segment)

    def live_pages(self, segment: Segment) -> list[tuple[bytes, Place]]:
        """Index key and place of every live page of a segment, as they lie. I/O: index lookups (:class:`Inhabitants`)."""
        return sorted(self._live(segment).items(), key=lambda item: item[1].block) if segment.pages else []

    def _live(self, segment: Segment) -> dict[bytes, Place]:
        """Live pages by index key, counted right."""
        entries = self._inhabitants.of(segment)
        if len(entries) != segment.pages:
            self._recount(segment, entries)
        return entries

    # readers

    def acquire(self, place: Place) -> bool:
        """Hold a segment in the generation a place speaks of; False if it is gone."""
        with self._released:
            segment = self.segments.get(place.segment)
            if segment is None or segment.generation != place.generation or segment.state == FREE:
                return False
            segment.readers += 1
            return True

    def release(self, number: int) -> None:
        """Let a segment go."""
        with self._released:
            segment = self.segments[number]
            segment.readers -= 1
            if not segment.readers:
                self._released.notify_all()
