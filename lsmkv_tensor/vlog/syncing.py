"""Making segments durable, and what a failed sync means.

After a sync that failed the kernel calls the pages clean that it could not write: readers still see them, a later sync succeeds,
and a power cut takes them away. So a failure poisons the store, and that segment is never synced again: it is noted, here and by
a record in the index, sealed at the next opening, and what lives in it is written again elsewhere
(:meth:`lsmkv_tensor.vlog.gc.Collector.rescue`) before anything else is acknowledged.
"""

from __future__ import annotations

from contextlib import suppress

from lsmkv import DB, WriteBatch
from lsmkv.env.sync import Lock
from lsmkv_tensor.errors import LsmError, PoisonedError, io_failed
from lsmkv_tensor.vlog.files import SegmentFiles
from lsmkv_tensor.vlog.reserved import FAILED_SYNCS, number_key, number_of
from lsmkv_tensor.vlog.segment import FREE, Segment

__all__ = ["Syncing"]


class Syncing:
    """The part of :class:`lsmkv_tensor.vlog.space.Space` that makes segments durable."""

    def __init__(self, db: DB, files: SegmentFiles, failed_syncs: dict[int, int] | None) -> None:
        self._db = db
        self._files = files
        self._sync_lock = Lock()
        self.poison: PoisonedError | None = None
        """What forbids writing until the store is opened again."""
        self.failed_syncs = failed_syncs if failed_syncs is not None else {}
        """Segments of which a sync failed, and in which generation: what is in them is not on disk, whatever later syncs say."""
        self.syncs = 0

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
                self._files.synced(file)
                self.syncs += 1
            except OSError as error:
                op = "syncing a segment"
                self.failed_syncs[segment.number] = segment.generation
                with suppress(LsmError):  # then only this process knows
                    self._db.put(number_key(FAILED_SYNCS, segment.number), segment.generation.to_bytes(4, "little"))
                self.poison = self.poison or PoisonedError(path, io_failed(op, path, error))
                raise self.poison from error

    def load_failed_syncs(self) -> None:
        """Learn from the index which syncs failed before it was opened. I/O: one short scan."""
        for key, value in self._db.scan(prefix=FAILED_SYNCS):
            self.failed_syncs[number_of(FAILED_SYNCS, key)] = int.from_bytes(value, "little")

    def sync_failed(self, segment: Segment) -> bool:
        """Whether a sync of what is in this segment now failed."""
        return segment.state != FREE and self.failed_syncs.get(segment.number) == segment.generation

    def forget_failed_syncs(self) -> None:
        """What was in these segments is elsewhere. Errors as the engine's ``write``. I/O: one index commit, if there are any."""
        if self.failed_syncs:
            self._db.write(WriteBatch().delete_many([number_key(FAILED_SYNCS, number) for number in self.failed_syncs]))
            self.failed_syncs.clear()
