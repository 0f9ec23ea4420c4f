"""The write path: one commit order, group commit, log before memtable.

Writers queue their batch and take the commit lock. Whoever gets it is the leader: it numbers every queued batch, writes
all frames with one gathered write (two if they are several), syncs once if anybody asked, applies the batches to the
memtable in the same order and tells the others. A batch becomes visible by one dict update, so readers see all of it or nothing.

Order of durability: when a newer log acknowledges a sync, every older unflushed log has been synced before it; what
survives a crash is therefore always a prefix of the commit order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from lsmkv.base.alike import alike_of
from lsmkv.env.sync import Lock
from lsmkv.errors import BusyError, ClosedError, LsmError, PoisonedError
from lsmkv.framing import Frame
from lsmkv.live.batches import apply_batch, range_deletes
from lsmkv.live.core import Core
from lsmkv.live.state import Immutable, ReadState
from lsmkv.options import Options
from lsmkv.version.rangedeletes import NO_RANGES
from lsmkv.wal.batch import RangeAt
from lsmkv.wal.writer import WalBatch, WalWriter
from lsmkv.write.request import Narrow, Request, answer
from lsmkv.write.stall import StallGate

__all__ = ["Committer"]

LOG_FACTOR = 4
"""A memtable is also full when its log is this many times its limit: overwriting one key grows only the log."""

GROUP_BYTES = 8 << 20
"""Most bytes a leader takes from the queue at once: bounds what one failed write can refuse."""


class Committer:
    """Owns the commit order: sequence numbers, the active log, the active memtable's growth."""

    def __init__(self, core: Core, gate: StallGate, last_seq: int, on_work: Callable[[], None]) -> None:
        self._core = core
        self._clock = core.clock
        self._calls = core.ledger.calls
        self._box = core.box
        self._snapshots = core.snapshots
        self._gate = gate
        self._slow = gate.slow
        self._on_work = on_work
        self._queue: deque[Request] = deque()
        self._old: list[WalWriter] = []
        self._unsynced_since: float | None = None
        self._deleted_since: float | None = None  # wall time; only kept where the age of tombstones is bounded
        self._sealed = False
        self._apply_lock = Lock()
        self._old_lock = Lock()
        self.lock = Lock()
        self.last_seq = last_seq
        self.syncs = 0
        self._logging = False  # between log and memtable
        self.wal = core.new_wal(None)
        with self._box.lock:
            state = self._usable()
            self._box.swap(state._replace(wal_number=self.wal.number))
        self._slow.look()

    def commit_ranged(self, frame: Frame, ranges: Sequence[RangeAt], narrow: Narrow | None, sync: bool) -> None:
        """:meth:`commit` of a batch with range deletes; ``narrow`` is asked at its turn, None: not at all.

        Raises also BusyError when there are as many range deletes as may be, and what ``narrow`` raises.

        I/O: as :meth:`commit`, one log begun, and what ``narrow`` reads.
        """
        request = Request(frame, sync, ranges)
        request.narrow = narrow
        self._enter(request)

    def commit(self, frame: Frame, sync: bool) -> None:
        """Make one batch visible, and durable if ``sync`` (or the options) say so.

        Raises ClosedError, PoisonedError, NoSpaceError and IOFailedError (nothing of the batch is then visible),
        BusyError after a stall that lasted too long. While background work is behind it waits first, with no lock held.

        I/O: one gathered write for all batches queued at that moment, two if there are several; one fdatasync per log not yet
        durable if syncing.
        """
        self._enter(Request(frame, sync))

    def _enter(self, request: Request) -> None:
        """Queue a request and see it through."""
        if (courtesy := self._core.courtesy).gate is not None:
            courtesy.wait()
        if self._slow.on:
            self._slow.delay(request.nbytes)
        self._queue.append(request)
        try:
            with self.lock:
                while not request.done:
                    self._lead(request)
        except BaseException:
            request.cancelled = True  # if it still waits, no later leader may commit it
            raise
        if request.error is not None:
            raise request.error

    def _lead(self, own: Request) -> None:
        """Commit what is queued, up to GROUP_BYTES."""
        queue = self._queue
        group: list[Request] = []
        size = 0
        while queue and size < GROUP_BYTES and not (group and queue[0].ranges):
            request = queue.popleft()
            if not request.cancelled:
                group.append(request)
                size += request.nbytes
                if request.ranges:
                    break
        self._logging = False
        try:
            self._write(group, size)
        except LsmError as error:
            if isinstance(error, PoisonedError):
                self._core.poisoned(error)
            answer(group, error)
        except BaseException as error:
            if self._logging:  # Ctrl-C between log and memtable: what is in the log is then unknown to us
                answer(group, self._core.poisoned(error))
            else:
                queue.extendleft(request for request in reversed(group) if request is not own)
            raise
        else:
            answer(group, None)

    def _write(self, group: list[Request], size: int) -> None:
        """Log a group of ``size`` bytes, make it durable if asked, show it; one with range deletes is alone in its group."""
        state = self._ready()
        if group and group[0].ranges:
            only = group[0]
            frame = only.narrow(state) if only.narrow is not None else None
            if frame is None:
                self._write_ranged(only)
                return
            only.keys, only.values, size, only.widths = frame
            if not only.keys:
                self._log((), only.sync)  # nothing to delete; what was written before is still to be made durable
                return
        seq = self.last_seq + 1
        batches: list[WalBatch] = []
        for request in group:
            alike = alike_of(request.keys, request.values, request.widths) if request.widths is not None else None
            batches.append(WalBatch(seq, request.keys, request.values, (), alike))
            seq += len(request.keys)
        self._log(batches, any(request.sync for request in group))
        mem = state.mem
        with self._apply_lock:
            keep = self._snapshots.alive > 0 and self._snapshots.settle() > 0
            for batch in batches:
                mem.apply(batch.keys, batch.values, batch.first_seq, keep_versions=keep, alike=batch.alike)
            self._applied(seq - 1, size)

    def _write_ranged(self, request: Request) -> None:
        """:meth:`_write` of a batch with range deletes: it begins a memtable, and is shown by one swap of the state."""
        state = self._usable()
        batch = WalBatch(self.last_seq + 1, request.keys, request.values, request.ranges)
        deletes = range_deletes(batch)
        if (state.ranges or NO_RANGES).added(deletes).kept(self._snapshots.numbers()).full:
            raise BusyError(
                "as many range deletes are held as may be: snapshots and scans keep them, or compaction is behind; "
                "close those or compact(), then try again"
            )
        if state.mem.entries:
            self._gate.wait()
            self.rotate()
        self._log([batch], request.sync)
        mem = self._core.new_mem()
        with self._apply_lock:
            apply_batch(mem, batch, keep_versions=self._snapshots.settle() > 0)
            snapshots = self._snapshots.numbers()
            with self._box.lock:
                now = self._box.current
                if now is None:
                    raise ClosedError(self._core.path)
                ranges = (now.ranges or NO_RANGES).added(deletes).kept(snapshots)
                self._box.swap(now._replace(mem=mem, ranges=ranges, mem_ranges=(*now.mem_ranges, *deletes)))
            self._applied(batch.first_seq + len(batch.keys) - 1, request.nbytes)

    def _log(self, batches: Sequence[WalBatch], sync: bool) -> None:
        """Write batches to the log, and make them durable if asked or if the options say so."""
        self._logging = True
        self.wal.append(batches)
        mode = self._core.options.wal_sync
        if mode == "write" or sync:
            self._sync_logs()
        elif mode == "interval":
            self._sync_in_time()
        if self._core.options.tombstone_age_s is not None:
            self._note_deletions(batches)

    def _applied(self, last_seq: int, size: int) -> None:
        """Count what became visible, up to ``last_seq`` (apply lock held)."""
        self._calls.entries += last_seq - self.last_seq
        self._calls.entry_bytes += size
        self.last_seq = last_seq

    def register_snapshot(self) -> int:
        """Register the newest visible sequence number for reading; no write is half applied at that moment."""
        with self._snapshots.door, self._apply_lock:
            self._snapshots.acquire(self.last_seq)
            return self.last_seq

    def jump(self, seq: int, install: Callable[[], None]) -> None:
        """Have ``install`` show entries numbered up to ``seq``, in one moment for whoever takes a snapshot.

        With the commit lock and the install lock held, and nothing in the active log.
        """
        with self._snapshots.door, self._apply_lock:
            install()
            self.last_seq = seq

    def _sync_in_time(self) -> None:
        """Mode "interval": sync when the oldest unsynced write is old enough, else have a worker do it when it is."""
        now = self._clock.monotonic()
        if self._unsynced_since is None:
            self._unsynced_since = now
            self._on_work()
        elif now - self._unsynced_since >= self._core.options.wal_sync_interval_s:
            self._sync_logs()

    def _note_deletions(self, batches: Sequence[WalBatch]) -> None:
        """Remember when the active memtable got its first deletion."""
        if self._deleted_since is None and any(None in batch.values for batch in batches):
            self._deleted_since = self._clock.now()
            self._on_work()

    def options_changed(self, before: Options) -> None:
        """Keep from now on what was not promised before: an age of unsynced writes, an age of deletions. Takes no lock."""
        options = self._core.options
        if options.wal_sync == "interval" and before.wal_sync != "interval" and self._unsynced_since is None:
            self._unsynced_since = self._clock.monotonic()
        state = self._box.current
        if options.tombstone_age_s is not None and self._deleted_since is None and state is not None and state.mem.entries:
            self._deleted_since = self._clock.now()  # there may be deletions that nobody noted

    def deletion_due(self) -> float | None:
        """Seconds until the oldest deletion in the active memtable is half as old as it may get; None: there is none."""
        bound, since = self._core.options.tombstone_age_s, self._deleted_since
        return None if bound is None or since is None else since + bound / 2 - self._clock.now()

    def rotate_if_overdue(self) -> None:
        """Put the active memtable in line for its flush if a deletion in it is due.

        Never waits for the commit lock: a stalled writer holds it while it waits for the caller, who will come again.

        I/O: as :meth:`rotate`.
        """
        left = self.deletion_due()
        if left is None or left > 0 or not self.lock.acquire(blocking=False):
            return
        try:
            state = self._box.current
            if state is not None and not self._sealed and self._core.poison is None:
                self.rotate()
        finally:
            self.lock.release()

    def _ready(self) -> ReadState:
        """The state to write into, with room in its memtable."""
        state = self._usable()
        full = self._core.options.memtable_bytes
        if state.mem.bytes >= full or state.mem.applied_bytes >= LOG_FACTOR * full:
            self._gate.wait()
            self.rotate()
            state = self._usable()
        return state

    def _usable(self) -> ReadState:
        """The state, if writes are possible."""
        self._core.check_poison()
        state = self._box.current
        if state is None or self._sealed:
            raise ClosedError(self._core.path)
        return state

    def rotate(self) -> None:
        """Put the active memtable among those waiting for their flush (with the commit lock held).

        I/O: creates the next log.
        """
        state = self._usable()
        if not state.mem.entries and not state.mem_ranges:
            return
        try:
            self._begin_log()
        except LsmError:  # no new log
            raise
        except BaseException as error:  # Ctrl-C: a new log may say where this one ended, so this one must not go on
            self._core.poisoned(error)
            raise
        self._slow.look()
        self._on_work()

    def _begin_log(self) -> None:
        """The next log and memtable."""
        old = self.wal
        mem = self._core.new_mem()
        wal = self._core.new_wal((old.number, old.length))
        with self._old_lock:
            self._old = [*self._old, old]
        self.wal = wal
        deleted, self._deleted_since = self._deleted_since, None
        with self._box.lock:
            now = self._box.current
            assert now is not None
            full = (Immutable(now.mem, old.number, deleted or 0.0, now.mem_ranges), *now.imms)
            self._box.swap(now._replace(mem=mem, imms=full, wal_number=wal.number, mem_ranges=()))

    def forget_logs_below(self, floor: int) -> None:
        """Logs whose entries are in tables need no sync any more; their files close with the last reference."""
        with self._old_lock:
            self._old = [w for w in self._old if w.number >= floor]

    def sync(self) -> None:
        """Make everything committed so far durable. I/O: one fdatasync per log that is not."""
        with self.lock:
            self._usable()
            try:
                self._sync_logs()
            except PoisonedError as error:
                self._core.poisoned(error)
                raise

    def sync_due(self) -> float | None:
        """In mode "interval": sync if the oldest unsynced write is old enough; seconds until it will be, None if none.

        Never waits for the commit lock: a stalled writer holds it while it waits for the caller, the flush worker.

        I/O: as :meth:`sync`.
        """
        interval = self._core.options.wal_sync_interval_s
        if self._core.options.wal_sync != "interval" or self._unsynced_since is None:
            return None
        if not self.lock.acquire(blocking=False):
            return interval
        try:
            since = self._unsynced_since
            if since is None or self._sealed or self._box.current is None:
                return None
            left = since + interval - self._clock.monotonic()
            if left <= 0:
                self._sync_logs()
        except PoisonedError as error:
            self._core.poisoned(error)
            return None
        else:
            return left if left > 0 else None
        finally:
            self.lock.release()

    def _sync_logs(self) -> None:
        """Oldest first: a newer log must not become durable before an older one."""
        with self._old_lock:
            old = self._old
        for wal in old:
            wal.sync()
        self.wal.sync()
        self._unsynced_since = None
        self.syncs += 1

    def seal(self) -> None:
        """Take no more writes; what is in the active memtable joins those waiting for their flush."""
        with self.lock:
            if self._sealed:
                return
            self._usable()
            self._sealed = True
            with self._box.lock:
                now = self._box.current
                assert now is not None
                if now.mem.entries or now.mem_ranges:
                    full = (Immutable(now.mem, self.wal.number, self._deleted_since or 0.0, now.mem_ranges), *now.imms)
                    after = now._replace(mem=self._core.new_mem(), imms=full, wal_number=self.wal.number + 1, mem_ranges=())
                    self._box.swap(after)

    def sync_logs_finally(self) -> None:
        """Make the logs durable although the store is sealed. I/O: one fdatasync per log."""
        with self.lock:
            self._sync_logs()

    def forked(self) -> None:
        """In a forked child: locks may be held by threads that do not exist here. The logs are the parent's; let go of them."""
        self.lock, self._apply_lock, self._old_lock = Lock(), Lock(), Lock()
        self._queue.clear()
        self._slow.forked()
        self.close()

    def close(self) -> None:
        """Release the logs."""
        for wal in (*self._old, self.wal):
            wal.close()
