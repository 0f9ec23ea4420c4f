"""The segments of a store: which is filled, which may be reused, which must go.

Used under the commit lock, except for :meth:`Space.acquire` and :meth:`Space.release`, by which readers hold a segment in
its generation, and :meth:`Space.sync_segment`.

The recycling rule: a segment is written again only after the index commits that emptied it are synced and every reader
that held it has let go. Its generation then grows, so nothing that still points at the old contents is believed.
"""

from __future__ import annotations

from lsmkv import DB, WriteBatch
from lsmkv.env.sync import Condition, Lock
from lsmkv_tensor.errors import CorruptionError, IOFailedError, NoSpaceError, PoisonedError, io_failed
from lsmkv_tensor.retention.fifo import next_victim
from lsmkv_tensor.retention.quota import Quota
from lsmkv_tensor.vlog.files import SegmentFiles
from lsmkv_tensor.vlog.layout import BLOCK, INDEX_KEY_BYTES, Place, SegmentHeader, unpack_segment_header
from lsmkv_tensor.vlog.liveness import Change, Liveness
from lsmkv_tensor.vlog.reserved import RESERVED
from lsmkv_tensor.vlog.scan import Frame, frames_of
from lsmkv_tensor.vlog.segment import ACTIVE, FREE, SEALED, Segment
from lsmkv_tensor.vlog.writer import FrameWriter

__all__ = ["DELETE_BATCH", "Space"]

DELETE_BATCH = 1024
"""Index entries deleted in one commit."""


class Space:
    """Allocates, seals, empties and recycles segments within a quota."""

    def __init__(
        self, db: DB, files: SegmentFiles, writer: FrameWriter, liveness: Liveness, quota: Quota, store_id: bytes
    ) -> None:
        self._db = db
        self._files = files
        self._writer = writer
        self._liveness = liveness
        self._quota = quota
        self._store_id = store_id
        self._generation = 0
        self._released = Condition()
        self._sync_lock = Lock()
        self.active: Segment | None = None
        self.poison: PoisonedError | None = None
        self.evicted: list[tuple[bytes, int]] = []
        """(index key, bytes) of pages evicted and not yet told to anybody."""
        self.evicted_pages = 0
        self.recycled = 0
        self.syncs = 0

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
        for segment in list(self.segments.values()):
            missing = segment.number not in on_disk
            if segment.pages and (missing or segment.state == FREE):
                lost += len(self._drop_pages(segment, self._entries_by_index(segment)))
            if missing:
                self._liveness.forget(segment)
        for segment in [s for s in self.segments.values() if s.state == FREE]:
            if on_disk[segment.number] != self._files.segment_bytes:
                self._files.unlink(segment.number)
                self._liveness.forget(segment)
        self._generation = max((s.generation for s in self.segments.values()), default=0)
        active = [s for s in self.segments.values() if s.state == ACTIVE]
        self.active = max(active, key=lambda s: s.generation, default=None)
        for segment in active:
            if segment is not self.active:
                self._set_state(segment, SEALED)
        self._shrink()
        if self.active is not None:
            self._resume(self.active, on_disk[self.active.number])
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
                victim = next_victim(self.segments.values()) or self.active
                assert victim is not None
                if victim is self.active:
                    self.active = None
                self.empty(victim)
                continue
            self._files.unlink(free.number)
            self._liveness.forget(free)

    # filling

    def room(self) -> int:
        """Bytes left for frames in the active segment (the end mark's block set aside)."""
        return self._files.segment_bytes - BLOCK - self.active.tail if self.active is not None else 0

    def roll(self, *, spare: bool = False, keep_from: int | None = None) -> bool:
        """Seal the active segment and start another; False if there is none to be had.

        ``spare``: the spare segment may be used and nothing is evicted (garbage collection); otherwise the oldest sealed
        segments are emptied until one is free, but none of generation ``keep_from`` or later. Raises NoSpaceError,
        IOFailedError, PoisonedError.

        I/O: end mark, fdatasync, header; on eviction index commits and a sync of the log.
        """
        self.seal()
        limit = self._quota.segments - (0 if spare else 1)
        while self.in_use() >= limit:
            victim = None if spare else next_victim(self.segments.values(), keep_from)
            if victim is None:
                return False
            self.empty(victim)
        segment = self._free() or self._create()
        if segment is None:  # the disk is full before the capacity is: make do with the segments there are
            victim = None if spare else next_victim(self.segments.values(), keep_from)
            if victim is None:
                return False
            self.empty(victim)
            segment = victim
        self._start(segment)
        return True

    def _free(self) -> Segment | None:
        """A segment that holds nothing, if there is one."""
        return next((s for s in self.segments.values() if s.state == FREE), None)

    def _create(self) -> Segment | None:
        """A segment with a new file; None if the disk has no room for it. IOFailedError."""
        number = next(n for n in range(1, len(self.segments) + 2) if n not in self.segments)
        try:
            self._files.create(number)
        except NoSpaceError:
            return None
        segment = self.segments[number] = Segment(number)
        return segment

    def seal(self) -> None:
        """End the active segment and make it durable. IOFailedError, PoisonedError. I/O: end mark, fdatasync."""
        segment, self.active = self.active, None
        if segment is None:
            return
        self._set_state(segment, SEALED)
        try:
            self._writer.seal(segment)
        finally:
            self.sync_segment(segment)

    def sync_segment(self, segment: Segment) -> None:
        """Make a segment durable. A failure poisons: what is on disk is then unknown, and asking again would lie.

        Needs no commit lock; syncs go one after the other, so a segment found clean is on disk.

        I/O: one fdatasync if it was written to; one directory sync after segments were created.
        """
        path = self._files.path(segment.number)
        with self._sync_lock:
            if not segment.dirty:
                return
            try:
                file = self._files.writer(segment.number)
            except OSError as error:  # nothing was asked of the disk: it may be asked again
                op = "opening a segment to sync it"
                raise io_failed(op, path, error) from error
            segment.dirty = False
            try:
                self._files.sync_names()
                file.sync()
                self.syncs += 1
            except OSError as error:
                op = "syncing a segment"
                self.poison = self.poison or PoisonedError(path, io_failed(op, path, error))
                raise self.poison from error

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
        self.active = segment

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
        self.recycle(segment)

    def recycle(self, segment: Segment) -> None:
        """Make an empty segment free under the recycling rule. I/O: one sync of the log; waits for readers.

        Its generation ends here: what still points at its old contents is not believed from now on.
        """
        assert segment.pages == 0
        assert segment.copies == 0
        assert segment is not self.active
        self._db.sync()
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
        return items

    def _recount(self, segment: Segment, entries: dict[bytes, Place]) -> None:
        """Believe what was found of a segment rather than what was counted; damage may have made the two differ."""
        segment.pages = len(entries)
        segment.live_bytes = sum(place.disk_bytes for place in entries.values())
        self._liveness.note(segment)

    def live_pages(self, segment: Segment) -> list[tuple[bytes, Place]]:
        """Index key and place of every live page of a segment, in no order. I/O: its frame headers, index lookups."""
        return list(self._live(segment).items()) if segment.pages else []

    def _live(self, segment: Segment) -> dict[bytes, Place]:
        """Live pages by index key, counted right."""
        entries = self._entries_by_frames(segment)
        if len(entries) != segment.pages:  # a header is damaged: ask the whole index
            entries = self._entries_by_index(segment)
            self._recount(segment, entries)
        return entries

    def _entries_by_frames(self, segment: Segment) -> dict[bytes, Place]:
        """Live pages of a segment, found through its frame headers."""
        header = SegmentHeader(segment.number, segment.generation, self._files.segment_bytes, self._store_id)
        found: dict[bytes, Place] = {}
        try:
            file = self._files.reader(segment.number)
            for frame in frames_of(file, header, BLOCK, segment.tail):
                if isinstance(frame, Frame):
                    found |= self._live_entries(segment, frame)
        except OSError:
            return {}
        return found

    def _live_entries(self, segment: Segment, frame: Frame) -> dict[bytes, Place]:
        """The pages of a frame that the index still finds there. I/O: one batched index lookup."""
        offsets = {entry.key: at for entry, at in frame.payloads()}
        keys = list(offsets)
        found: dict[bytes, Place] = {}
        for key, value in zip(keys, self._db.get_many(keys), strict=True):
            place = None if value is None else Place.unpack(value)
            if place is not None and (place.segment, place.generation) == (segment.number, segment.generation):
                found[key] = place
        return found

    def _entries_by_index(self, segment: Segment) -> dict[bytes, Place]:
        """Live pages of a segment, found by reading the whole index: slow and certain."""
        found: dict[bytes, Place] = {}
        for key, value in self._db.scan(start=RESERVED + b"\xff"):
            place = Place.unpack(value) if len(key) == INDEX_KEY_BYTES else None
            if place is not None and (place.segment, place.generation) == (segment.number, segment.generation):
                found[key] = place
        return found

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
