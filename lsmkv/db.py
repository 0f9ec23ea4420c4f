"""The engine's door: a sorted map from bytes to bytes that survives.

Data flows one way: a write goes to the log, then to the memtable; a full memtable becomes a table; tables are merged down
the levels. A read asks the memtables, then the runs, newest first. Any thread may call anything.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, overload

from lsmkv.arguments import PathArgument, check_bounds, checked_keys, checked_path
from lsmkv.base.keys import MAX_KEY_BYTES, MAX_VALUE_BYTES, check_key, check_value
from lsmkv.batch import WriteBatch, check_batch
from lsmkv.env.gate import CallGate
from lsmkv.env.posix import anchored
from lsmkv.env.process import watch_forks
from lsmkv.env.scheduling import Scheduler
from lsmkv.env.sync import Lock
from lsmkv.errors import InvalidArgumentError
from lsmkv.follow import Follower
from lsmkv.framing import Frame, frames_of_keys, frames_of_pairs, only_frame
from lsmkv.iterator import Scan
from lsmkv.live.snapshots import Pin
from lsmkv.live.state import ReadState
from lsmkv.live.tables import TableCache
from lsmkv.maintain.look import seen_shape
from lsmkv.maintain.rangework import commit_ranged
from lsmkv.maintain.scheduler import ThreadedScheduler
from lsmkv.maintain.upkeep import Upkeep
from lsmkv.observe.gather import gather
from lsmkv.observe.integrity import check_store
from lsmkv.observe.stats import Stats
from lsmkv.observe.status import report_to
from lsmkv.options import Options, checked_options, checked_policy
from lsmkv.policy.base import Policy, Task
from lsmkv.policy.transition import Pace, TransitionReport
from lsmkv.read.lookup import find_at
from lsmkv.read.multiget import find_many
from lsmkv.read.scan import prefix_range
from lsmkv.reading import Reading
from lsmkv.recover.checkpoint import write_checkpoint
from lsmkv.recover.ending import abandon, flush_finally
from lsmkv.recover.opening import Opened, open_store
from lsmkv.snapshot import Snapshot
from lsmkv.verbs import OwnerCalls
from lsmkv.version.shape import TreeShape
from lsmkv.write.commit import Committer
from lsmkv.write.stall import StallGate

__all__ = ["DB", "open"]


@overload
def open(path: PathArgument, options: Options | None = None, *, read_only: Literal[False] = False) -> DB: ...  # noqa: A001 - as below


@overload
def open(path: PathArgument, options: Options | None = None, *, read_only: Literal[True]) -> Follower: ...  # noqa: A001 - as below


def open(path: PathArgument, options: Options | None = None, *, read_only: bool = False) -> DB | Follower:  # noqa: A001 - the door of design: lsmkv.open(path)
    """Open the store at ``path``, creating it if needed. Use it as a context manager.

    A relative path counts from the working directory of this moment, also if that changes later.
    ``read_only``: follow the store instead, beside the process that has it open for writing, if any. See :class:`Follower`.

    Raises LockedError if another process has it open, CorruptionError naming file and offset, FormatTooNewError,
    InvalidArgumentError, IOFailedError.

    I/O: reads the manifest and the logs; writes tables of replayed entries if there are any, appends one edit to the manifest
    (synced), begins a log. Read-only: reads the manifest and the logs.
    """
    path, options = checked_path(path), checked_options(options)
    path = anchored(path, options.fs)
    if not isinstance(read_only, bool):
        msg = f"read_only = {read_only!r}: must be True or False"
        raise InvalidArgumentError(msg)
    if read_only:
        return Follower(path, options)
    opened = open_store(path, options)
    try:
        return DB(opened, options)
    except BaseException:
        opened.release()
        raise


class DB(Reading, OwnerCalls):
    """An open store. Made by :func:`open`. Each ``I/O:`` line is held against the ledger by a test; see docs/ledger.md."""

    __slots__ = (
        "_calls",
        "_close_lock",
        "_committer",
        "_core",
        "_finalizer",
        "_gate",
        "_opened",
        "_upkeep",
    )

    def __init__(self, opened: Opened, options: Options) -> None:
        core = opened.core
        self._opened = opened
        self._core = core
        self._path = core.path
        self._box = core.box
        self._tables = core.tables
        self._close_lock = Lock()
        self._upkeep = Upkeep(core)
        scheduler: Scheduler = options.scheduler if options.scheduler is not None else ThreadedScheduler()
        upkeep = self._upkeep
        inline = (lambda: upkeep.step() is not None) if scheduler.manual else None
        self._calls = CallGate(core.path)
        self._gate = StallGate(core, upkeep.wake, inline)
        self._committer = Committer(core, self._gate, opened.last_seq, upkeep.wake)
        upkeep.attach(self._committer, self._gate)
        try:
            upkeep.start(scheduler)
            report_to(scheduler, core, self._committer, self._gate, upkeep, opened.report)
        except BaseException:
            upkeep.stop()
            self._committer.close()
            raise
        self._finalizer = weakref.finalize(self, abandon, upkeep, self._committer, opened)
        watch_forks(self)

    @property
    def options(self) -> Options:
        """The options in force now. I/O: none."""
        return self._core.options

    # reading (see Reading)

    def snapshot(self) -> Snapshot:
        """A view that keeps showing this moment; close it. I/O: none."""
        return Snapshot(self, self._pin())

    # reading at a snapshot (what Snapshot calls)

    def get_at(self, key: bytes, seq: int) -> bytes | None:
        """The value of ``key`` as of a registered sequence number. I/O: as ``get``."""
        check_key(key)
        entry = find_at(self._state(), self._tables, key, seq)
        return None if entry is None else entry[1]

    def get_many_at(self, keys: Sequence[bytes], seq: int) -> list[bytes | None]:
        """Values as of a registered sequence number. I/O: as ``get_many``."""
        return find_many(self._state(), self._tables, checked_keys(keys), seq)

    def scan_at(self, seq: int, start: bytes | None, stop: bytes | None, *, prefix: bytes | None, reverse: bool) -> Scan:
        """Scan as of a registered sequence number. I/O: as ``scan``."""
        check_bounds(start, stop, prefix)
        snapshots = self._core.snapshots
        with snapshots.door:
            snapshots.acquire(seq)
        return Scan(self._box, self._tables, Pin(snapshots, seq), prefix_range(start, stop, prefix), reverse=reverse)

    def _pin(self) -> Pin:
        """A registration of the newest visible sequence number."""
        self._state()
        return Pin(self._core.snapshots, self._committer.register_snapshot())

    def _moment(self, bounds: tuple[bytes | None, bytes | None]) -> tuple[ReadState | None, TableCache, Pin]:
        """See :class:`Reading`: the newest visible sequence number."""
        del bounds
        return None, self._tables, self._pin()

    # writing

    def put(self, key: bytes, value: bytes, *, sync: bool = False) -> None:
        """Store ``value`` under ``key``; durable on return if ``sync``.

        Raises InvalidArgumentError beyond the limits, NoSpaceError, BusyError (stalled too long), PoisonedError.

        I/O: one log write; one fdatasync per log not durable if syncing; one log begun if the memtable is full.
        """
        if type(key) is not bytes or len(key) > MAX_KEY_BYTES:
            check_key(key)
        if type(value) is not bytes or len(value) > MAX_VALUE_BYTES:
            check_value(value)
        self._committer.commit(Frame((key,), (value,), len(key) + len(value)), sync)

    def delete(self, key: bytes, *, sync: bool = False) -> None:
        """Remove ``key`` if it exists. Errors as ``put``. I/O: as ``put``."""
        check_key(key)
        self._committer.commit(Frame((key,), (None,), len(key)), sync)

    def put_many(self, pairs: Iterable[tuple[bytes, bytes]], *, sync: bool = False) -> None:
        """Store many pairs; later ones win. Atomic per frame of at most 4 MiB and 4,096 pairs, in order.

        A generator is drawn one frame at a time; if it raises midway, the frames that were full before are stored.
        InvalidArgumentError for what is not pairs of bytes (give a mapping's ``items()``); other errors as ``put``.

        I/O: one log write per frame; one fdatasync per log not durable if syncing; one log begun if the memtable is full.
        """
        self._state()
        if (frame := only_frame(pairs)) is not None:
            self._committer.commit(frame, sync)
        else:
            self._commit_all(frames_of_pairs(pairs), sync)

    def delete_many(self, keys: Iterable[bytes], *, sync: bool = False) -> None:
        """Remove many keys. Atomicity and memory as ``put_many``. I/O: as ``put_many``."""
        self._state()
        self._commit_all(frames_of_keys(keys), sync)

    def delete_range(self, start: bytes | None, stop: bytes | None, *, sync: bool = False) -> None:
        """Remove every key with start <= key < stop (None: unbounded), at a cost that does not grow with their number.

        What is written later stays; snapshots taken before keep seeing what was there. InvalidArgumentError if the range is
        empty (start at or beyond stop), BusyError also when as many ranges as may be are held for snapshots; else as ``put``.

        I/O: one log write; one log begun; one fdatasync per log not durable if syncing; one fdatasync of the log before, if
        syncing; up to 32 blocks, twice, to see whether the range is small; one flush and compactions if many ranges are held.
        """
        self.write(WriteBatch().delete_range(start, stop), sync=sync)

    def _commit_all(self, frames: Iterable[Frame], sync: bool) -> None:
        """Commit frames as they come, then sync once if asked."""
        written = False
        for frame in frames:
            self._committer.commit(frame, sync=False)
            written = True
        if sync and written:
            self._committer.sync()

    def write(self, batch: WriteBatch, *, sync: bool = False) -> None:
        """Apply a batch: all of it or nothing, also across a crash. Errors as ``put``; with range deletes as ``delete_range``.

        I/O: as ``put``.
        """
        self._state()
        check_batch(batch)
        if batch.ranges:
            with self._calls:
                commit_ranged(self._core, self._committer, self._upkeep, batch, sync=sync)
        elif batch.keys:
            self._committer.commit(Frame(tuple(batch.keys), tuple(batch.values), batch.nbytes), sync)

    @contextmanager
    def batch(self, *, sync: bool = False) -> Iterator[WriteBatch]:
        """``with db.batch() as b: b.put(...); b.delete(...)``: written on leaving, else dropped. I/O: as ``write``."""
        batch = WriteBatch()
        yield batch
        self.write(batch, sync=sync)

    def sync(self) -> None:
        """Make everything written so far durable. I/O: one fdatasync per log not durable."""
        with self._calls:
            self._committer.sync()

    # upkeep

    def flush(self) -> None:
        """Turn everything in memory into tables.

        I/O: one table per memtable; one manifest edit per memtable; one log removed per memtable; one log begun.
        """
        with self._calls:
            self._state()
            self._upkeep.flush_all()

    def compact(self, start: bytes | None = None, stop: bytes | None = None) -> None:
        """Merge the tables that overlap [start, stop), and the older ones they meet further down, into the deepest level.

        Nothing newer may pass what is older, so a table that meets one that sinks goes along; the rest stays.

        I/O: as ``flush``; each table that overlaps, and each older one that meets one of these, read once; the result written
        once; one manifest edit.
        """
        check_bounds(start, stop, None)
        with self._calls:
            self.flush()
            self._upkeep.compact_range(start, stop)

    def set_policy(self, policy: Policy, pace: Pace = "greedy") -> TransitionReport:
        """Change what shapes the tree, while it is in use: what that will cost. Ordinary compactions do the work.

        ``pace`` "greedy": what is surplus under the new policy is merged now; "lazy": each level is brought in line by the
        first arrival that reaches it. Policy and progress survive a crash; ``stats().transition`` tells what is left.
        Waits for a compaction in flight. Raises InvalidArgumentError for a policy that fails on this tree or never rests.

        I/O: one manifest edit.
        """
        policy = checked_policy(policy, pace)
        with self._calls:
            return self._upkeep.set_policy(policy, pace)

    def pending(self) -> Task | None:
        """The next unit of background work, None when the tree is settled. I/O: none."""
        with self._calls:
            return self._upkeep.pending()

    def step(self) -> Task | None:
        """Do one unit of background work now; what it was. I/O: one flush or one compaction; one manifest edit."""
        with self._calls:
            return self._upkeep.step()

    def settle(self) -> None:
        """Do all background work that is due. I/O: as ``step`` until ``pending()`` is None."""
        while self.step() is not None:
            pass

    def checkpoint(self, dest: PathArgument) -> None:
        """Write a consistent copy of the store to the new directory ``dest``; it opens as a store of its own.

        I/O: as ``flush``; one link per table (a copy where links are refused); one manifest written.
        """
        dest = checked_path(dest, "dest")
        with self._calls:
            self.flush()
            write_checkpoint(self._core, dest)

    # looking

    def stats(self) -> Stats:
        """Counters, sizes, levels, stalls. I/O: none."""
        return gather(self._core, self._state(), self._committer, self._gate, self._upkeep, self._opened.report)

    def tree(self) -> TreeShape:
        """Levels, runs and tables as policies see them. I/O: none."""
        self._state()
        return seen_shape(self._core)

    def check(self) -> None:
        """Assert every invariant of the live store: level rule, files present, memtable structure.

        Raises CorruptionError (files) or AssertionError (structures in memory). I/O: one listing of the directory.
        """
        with self._calls:
            with self._committer.lock:  # the writer would change what is being walked
                self._state().mem.check()
            check_store(self._core, self._state())

    # the end

    def close(self) -> None:
        """Flush, make durable, give the lock back. A second call does nothing; later calls raise ClosedError.

        Waits for calls inside (a compaction gives up at its next slice). If the flush fails (a full disk, say) the log is
        synced instead and nothing is lost; an error is raised only if that fails too, or if a file cannot be closed. BusyError if
        called from inside another call of the same thread (by an iterable that ``load_sorted`` draws from, a signal handler).

        I/O: one table per memtable; one manifest edit per memtable, one if there is none; one log removed per
        memtable.
        """
        with self._close_lock:
            if not self._calls.bar():
                return
            self._gate.close()
            self._upkeep.stop()
            self._calls.drain()
            try:
                flush_finally(self._core, self._committer, self._upkeep)
            finally:
                self._finalizer()

    def forked(self) -> None:
        """In a forked child: closed, without touching what belongs to the parent. I/O: none."""
        self._finalizer.detach()
        self._close_lock = Lock()
        self._calls.forked()
        self._core.forked()
        self._committer.forked()
