"""The follower: reads of a store that somebody else writes. What it promises, and why that holds: :mod:`lsmkv.follow`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from lsmkv.arguments import checked_keys
from lsmkv.base.filenames import parse_name
from lsmkv.base.ledger import Ledger
from lsmkv.cache.blockcache import BlockCache
from lsmkv.env.clock import Clock, SystemClock
from lsmkv.env.fs import FileSystem
from lsmkv.env.posix import PosixFileSystem
from lsmkv.env.process import watch_forks
from lsmkv.env.rng import seeded
from lsmkv.env.sync import Lock
from lsmkv.errors import BusyError, CorruptionError, IOFailedError, LsmError
from lsmkv.follow.moment import Moment, tables_between
from lsmkv.follow.refusals import WRITES, refuse
from lsmkv.follow.stats import FollowerStats
from lsmkv.follow.trail import Part, Trail, UnsettledError
from lsmkv.live.snapshots import Pin, SnapshotRegistry
from lsmkv.live.state import Immutable, ReadState, StateBox, View
from lsmkv.live.tables import TableCache
from lsmkv.memtable import Memtable, new_memtable
from lsmkv.observe.files import check_is_store
from lsmkv.observe.gather import level_stats
from lsmkv.observe.readonly import ReadOnly
from lsmkv.options import Options
from lsmkv.reading import Reading
from lsmkv.snapshot import Snapshot
from lsmkv.version.rules import check_level_rule
from lsmkv.version.shape import TreeShape
from lsmkv.version.state import ManifestState
from lsmkv.wal.tail import LogTail

__all__ = ["Follower"]

T = TypeVar("T")
Bounds = tuple[bytes | None, bytes | None]

ATTEMPTS = 8
"""Times something that may be a writer at work is tried before it is believed."""


class Follower(Reading):
    """A store opened with ``read_only=True``: it shows what its writer has committed, a little later.

    Any thread may call anything. Of the options it heeds ``refresh_s``, ``memtable``, ``block_cache_bytes``,
    ``hash_column_bytes``, ``max_open_tables`` and the seams ``fs``, ``clock`` and ``rng``. A read that finds the last look older
    than ``refresh_s`` looks first, which may raise what :meth:`refresh` raises.
    """

    __slots__ = (
        "_apply_lock",
        "_cache",
        "_clock",
        "_counts",
        "_due_s",
        "_fs",
        "_last_seq",
        "_ledger",
        "_looked_s",
        "_manifest",
        "_named",
        "_new_mem",
        "_refresh_lock",
        "_snapshots",
        "_trail",
        "options",
    )

    def __init__(self, path: str, options: Options) -> None:
        """Follow the store at ``path`` (``lsmkv.open(path, options, read_only=True)`` checks its arguments first).

        Raises InvalidArgumentError if there is no store, and as :meth:`refresh`.

        I/O: reads the manifest and the logs.
        """
        self._fs: FileSystem = ReadOnly(options.fs if options.fs is not None else PosixFileSystem())
        check_is_store(self._fs, path)
        self._path = path
        self.options = options
        """The options it was opened with."""
        self._clock: Clock = options.clock if options.clock is not None else SystemClock()
        self._ledger = Ledger()
        self._cache = BlockCache(options.block_cache_bytes, seeded().getrandbits(64)) if options.block_cache_bytes else None
        self._tables = TableCache(self._fs, path, self._cache, self._ledger, options.max_open_tables, options.hash_column_bytes)
        self._snapshots = SnapshotRegistry()
        self._refresh_lock = Lock()
        self._apply_lock = Lock()  # while the newest sequence number and the state do not belong together
        self._manifest = ManifestState()
        self._last_seq = 0
        self._named: set[int] = set()
        self._counts = [0, 0, 0]  # looks, those with news, those from scratch
        self._looked_s = 0.0
        self._due_s = float("inf")
        rng = options.rng if options.rng is not None else seeded()
        self._new_mem: Callable[[], Memtable] = partial(new_memtable, options.memtable, rng)
        self._trail = self._new_trail()
        self._box = StateBox(ReadState(self._new_mem(), (), View(self._manifest.shape), 0))
        try:
            self.refresh()
        except BaseException:
            self._trail.close()
            raise
        watch_forks(self)

    @property
    def last_seq(self) -> int:
        """Sequence number of the newest entry shown: it grows when a look shows new writes. I/O: none."""
        return self._last_seq

    # reading: look, if it is time, then as every reader

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key``, or None. I/O: as ``DB.get``; a look if one is due."""
        if self._clock.monotonic() >= self._due_s:
            self._catch_up()
        try:
            return Reading.get(self, key)
        except IOFailedError as error:
            return self._over_again(partial(Reading.get, self, key), error)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of many keys, None where absent. I/O: as ``DB.get_many``; a look if one is due."""
        return self._read(partial(Reading.get_many, self, checked_keys(keys)))

    def contains_many(self, keys: Sequence[bytes]) -> NDArray[np.bool_]:
        """Which of the keys exist, as booleans in their order. I/O: as ``get_many``."""
        return self._read(partial(Reading.contains_many, self, checked_keys(keys)))

    def count_leading(self, keys: Sequence[bytes], *, prefix: bytes = b"") -> int:
        """How many keys from the first on exist without a gap. I/O: as ``DB.count_leading``; a look if one is due."""
        return self._read(partial(Reading.count_leading, self, keys, prefix=prefix))

    def snapshot(self) -> Snapshot:
        """A view that keeps showing this moment; close it. It holds every table open.

        I/O: a look if one is due; opens the tables that are not open.
        """
        state, tables, pin = self._moment((None, None))
        pin.holds = state
        return Snapshot(Moment(self._path, self._box, state, tables, self._snapshots), pin)

    def _moment(self, bounds: Bounds) -> tuple[ReadState, TableCache, Pin]:
        """The present, with the tables of a range held open, and the registration of its sequence number."""
        return self._read(partial(self._held, bounds))

    def _held(self, bounds: Bounds) -> tuple[ReadState, TableCache, Pin]:
        """:meth:`_moment` without a look; IOFailedError if a table is gone."""
        with self._snapshots.door, self._apply_lock:
            state, seq = self._state(), self._last_seq
            self._snapshots.acquire(seq)
        pin = Pin(self._snapshots, seq)
        try:
            return state, self._tables.hold(tables_between(state, *bounds)), pin
        except BaseException:
            pin.release()
            raise

    def _read(self, read: Callable[[], T]) -> T:
        """Look if it is time, then read; again in a newer state if a table vanished."""
        self._state()  # before any lock: in a forked child somebody who is not here may hold it
        if self._clock.monotonic() >= self._due_s:
            self._catch_up()
        try:
            return read()
        except IOFailedError as error:
            return self._over_again(read, error)

    def _over_again(self, read: Callable[[], T], error: IOFailedError) -> T:
        """Read once more after a table was not there to be opened: in the state after the edit that dropped it.

        Raises ``error`` if that is something else, CorruptionError if no edit dropped the table, BusyError if the writer drops
        tables faster than they can be opened.
        """
        for _ in range(ATTEMPTS):
            name = parse_name(error.path.rpartition("/")[2])
            if not isinstance(error.__cause__, FileNotFoundError) or name is None or name.kind != "sst":
                raise error
            self.refresh()
            if name.number in self._state().view.numbers:
                raise CorruptionError(error.path, -1, "the manifest names this table, but it is missing") from error
            try:
                return read()
            except IOFailedError as later:
                error = later.with_traceback(None)  # that leads to this frame: a cycle, which keeps tables open for a while
        raise BusyError(f"{self._path}: its tables are merged away faster than they can be read")

    # looking for news

    def refresh(self) -> bool:
        """Look for what the writer has done since the last look; whether anything was new.

        Afterwards everything is shown that was acknowledged before the call. Raises ClosedError, CorruptionError (damage, or a
        store that has become older than what was shown), FormatTooNewError, IOFailedError, BusyError (files change faster than
        they can be read); reads then go on from what was shown before.

        I/O: one listing; three small reads of the manifest and one of each log; what is new is read once.
        """
        self._state()
        with self._refresh_lock:
            return self._look_until_sound()

    def _catch_up(self) -> None:
        """Look, unless another thread is at it."""
        if self._refresh_lock.acquire(blocking=False):
            try:
                if self._box.current is not None:
                    self._look_until_sound()
            finally:
                self._refresh_lock.release()

    def _look_until_sound(self) -> bool:
        """One look; from scratch, up to ATTEMPTS times, while what was read contradicts itself (lock held)."""
        failure: LsmError | None = None
        for _ in range(ATTEMPTS):
            try:
                news = self._look()
            except UnsettledError:
                failure = BusyError(f"{self._path}: its logs are replaced faster than they can be read")
            except CorruptionError as error:
                failure = error
            except BaseException:
                self._from_scratch()
                raise
            else:
                failure = None  # as above
                if news:
                    self._forget_dead()
                return news
            self._from_scratch()
        assert failure is not None
        raise failure

    def _from_scratch(self) -> None:
        """Distrust all that was read. Readers keep what they see until the next look succeeds."""
        self._trail.close()
        self._trail = self._new_trail()
        self._counts[2] += 1

    def _look(self) -> bool:
        """Read on, and show what is new; whether anything was."""
        state, now = self._state(), self._clock.monotonic()
        every = self.options.refresh_s
        self._due_s = float("inf") if every is None else now + every
        self._counts[0] += 1
        trail = self._trail
        trail.look()
        manifest, logs = trail.manifest.state, trail.logs()
        last = max([manifest.last_seq, *(log.last_seq or 0 for log in logs)])
        if last < self._last_seq:
            what = f"ends at sequence number {last}, but {self._last_seq} was read before: not the same store any more"
            raise CorruptionError(trail.manifest.path, -1, what)
        news = last > self._last_seq or manifest != self._manifest
        if news or [trail.parts(log.number)[-1].mem for log in logs[-1:]] != [state.mem][: len(logs)]:
            self._show(manifest, logs, last)
        self._looked_s = now
        self._counts[1] += news
        return news

    def _show(self, manifest: ManifestState, logs: Sequence[LogTail], last: int) -> None:
        """Apply the new batches, oldest first, and let readers see tables and memtables together."""
        before = self._state()
        with self._apply_lock:
            keep = self._snapshots.alive > 0 and self._snapshots.settle() > 0
            for log in logs:
                while log.fresh:  # each makes a longer prefix of the commits, also for who reads it while it is applied
                    self._trail.apply(log.number, log.fresh[0], keep_versions=keep)
                    log.fresh.popleft()
            parts = [(part, log.number) for log in logs for part in self._trail.parts(log.number)]
            newest, number = parts.pop() if parts else (Part(self._new_mem(), ()), 0)
            filled = [(part, of) for part, of in reversed(parts) if part.mem.entries or part.ranges]
            imms = tuple(Immutable(part.mem, of, ranges=part.ranges) for part, of in filled)
            view = before.view if before.view.shape == manifest.shape else View(manifest.shape)
            if view is not before.view:
                self._tables.place(manifest.as_edit().added)
            with self._box.lock:
                if self._box.current is not None:
                    self._box.swap(ReadState(newest.mem, imms, view, number, mem_ranges=newest.ranges).ranged())
            self._last_seq = last
            self._manifest = manifest

    def _forget_dead(self) -> None:
        """Let go of tables that no reader can reach; what a scan or snapshot holds goes with it."""
        self._named |= self._state().view.numbers
        for number in self._named - self._box.numbers_in_use():
            self._tables.forget(number)
            self._named.discard(number)

    def _new_trail(self) -> Trail:
        """A trail that has read nothing."""
        return Trail(self._fs, self._path, self._new_mem)

    # about the store

    def stats(self) -> FollowerStats:
        """Sizes, levels, what reading cost, how old the last look is. I/O: none; a look if one is due."""
        return self._read(self._gather)

    def _gather(self) -> FollowerStats:
        """The record of this moment."""
        with self._apply_lock:
            state, last, manifest = self._state(), self._last_seq, self._manifest
        since = self._ledger.account()
        counters = since.gets + since.range_reads
        mems = [state.mem, *(imm.mem for imm in state.imms)]
        looks, news, reloads = self._counts
        return FollowerStats(
            path=self._path,
            policy=manifest.policy,
            last_seq=last,
            levels=level_stats(manifest.shape, since),
            entries=manifest.shape.entries,
            bytes=manifest.shape.bytes,
            memtable_entries=sum(mem.entries for mem in mems),
            memtable_bytes=sum(mem.bytes for mem in mems),
            range_deletes=len(state.ranges.fragments) if state.ranges is not None else 0,
            logs=sum(mem.entries > 0 for mem in mems),
            snapshots=self._snapshots.settle(),
            open_tables=len(self._tables),
            looks=looks,
            news=news,
            reloads=reloads,
            age_s=self._clock.monotonic() - self._looked_s,
            cache_hits=counters.cache_hits,
            cache_bytes=self._cache.bytes + self._cache.lent if self._cache is not None else 0,
            cache_capacity_bytes=self.options.block_cache_bytes,
            hash_column_bytes=self._tables.directory.taken,
            block_reads=counters.block_reads,
            block_read_bytes=counters.block_bytes,
            ledger=since,
        )

    def tree(self) -> TreeShape:
        """Levels, runs and tables as the manifest has them. I/O: none; a look if one is due."""
        return self._read(lambda: self._state().view.shape)

    def check(self) -> None:
        """Assert what can be asserted in memory: the level rule, the structure of the memtables.

        Raises CorruptionError (the tree) or AssertionError (memtables). I/O: none.
        """
        with self._refresh_lock:
            state = self._state()
            check_level_rule(state.view.shape)
            for mem in (state.mem, *(imm.mem for imm in state.imms)):
                mem.check()

    # the end

    def close(self) -> None:
        """Let go of every file. A second call does nothing; later calls raise ClosedError, scans end with it. I/O: none."""
        with self._refresh_lock:
            with self._box.lock:
                self._box.swap(None)
            self._trail.close()
            self._tables.clear()

    def forked(self) -> None:
        """In a forked child: closed, without touching what belongs to the parent. I/O: none."""
        self._box.current = None
        self._refresh_lock = Lock()  # another thread may have held it, and is not here

    if not TYPE_CHECKING:  # type checkers are to say that these do not exist

        def __getattr__(self, name: str) -> object:
            """Methods that write are there to say why they are not."""
            if name in WRITES:
                return partial(refuse, self._path, name)
            msg = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(msg)
