"""A file system that fails on demand: rules as small objects around any :class:`~lsmkv.env.fs.FileSystem`.

::

    faults = FaultFileSystem(MemoryFileSystem())
    rule = faults.add(FailOp("sync", path="*.wal", nth=3, times=1))    # the third sync of a log fails, once, with EIO
    faults.add(FailOp("pwritev", errno=ENOSPC))                              # from now on the disk is full
    ...
    assert faults.hits(rule) == 1
    faults.remove(rule)

Operations are called by the names of the methods: ``open rename unlink link mkdir listdir exists isdir stat sync_dir
free_bytes lock`` of the file system (``stat`` is its ``size``) and ``pread preadv pwritev sync truncate allocate size close``
of files, ``pread_cached preadv_cached fetch holds`` of those with a page cache, and ``queued`` for a read in a queue, which asks
the rules when it begins. Paths are shell patterns, matched against the whole path and against its last part; a rename or link
matches by either of its paths. Calls are counted per rule from the moment it is added.

A ``sync`` that fails on a disk in memory loses what it should have written, as Linux does: readers still see it, the next sync
succeeds, and a power cut takes it away. What was synced before stays.
"""

from __future__ import annotations

import errno as codes
import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias

from lsmkv.env.fs import Advice, Buffer, CachedReads, File, FileLock, FileSystem, QueuedReads, ReadQueue
from lsmkv.env.hurry import HURRY
from lsmkv.env.rng import Rng, seeded
from lsmkv.env.sync import Event, RLock
from lsmkv.testing.memfile import MemoryFile
from lsmkv.testing.memtree import os_error
from lsmkv.testing.queues import EmulatedQueue, Fate

__all__ = ["FailOp", "FaultFileSystem", "FlipByte", "Hang", "Rule", "ShortWrite"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _When:
    """Which calls a rule strikes: the ``nth`` matching one and those after it, ``times`` in all (None: until removed)."""

    path: str = "*"
    nth: int = 1
    times: int | None = None
    probability: float = 1.0


@dataclass(frozen=True, slots=True)
class FailOp(_When):
    """The operation does nothing and raises OSError with this ``errno``."""

    op: str
    errno: int = field(default=codes.EIO, kw_only=True)


@dataclass(frozen=True, slots=True)
class ShortWrite(_When):
    """A write takes only its first ``size`` bytes (0: it takes nothing and raises OSError ENOSPC, as the kernel does)."""

    size: int

    @property
    def op(self) -> str:
        """``pwritev``."""
        return "pwritev"


@dataclass(frozen=True, slots=True, eq=False)
class Hang(_When):
    """The operation waits for ``event`` before it begins; ``reached`` is set when it has arrived there."""

    op: str
    event: Event = field(default_factory=Event, kw_only=True)
    reached: Event = field(default_factory=Event, kw_only=True)


@dataclass(frozen=True, slots=True)
class FlipByte(_When):
    """A read that covers byte ``offset`` of the file returns it changed (exclusive or with ``mask``)."""

    offset: int
    mask: int = field(default=0xFF, kw_only=True)

    @property
    def op(self) -> str:
        """``read``: matches ``pread``, ``preadv`` and ``preadv_cached``."""
        return "read"


Rule: TypeAlias = FailOp | ShortWrite | Hang | FlipByte


class FaultFileSystem:
    """Passes everything to ``inner`` unless a rule says otherwise; rules come and go at run time.

    ``rng`` decides rules with a probability below 1.
    """

    def __init__(self, inner: FileSystem, rules: Iterable[Rule] = (), *, rng: Rng | None = None) -> None:
        self.inner = inner
        self._rules: list[_Armed] = [_Armed(rule) for rule in rules]
        self._rng = rng if rng is not None else seeded(0)
        self._lock = RLock()  # a store that nobody holds any more closes its files wherever the collector finds it

    def add(self, rule: Rule) -> Rule:
        """Arm a rule (a rule already armed starts to count anew); returns it."""
        with self._lock:
            self._rules = [armed for armed in self._rules if armed.rule != rule] + [_Armed(rule)]
        return rule

    def remove(self, rule: Rule) -> None:
        """Disarm a rule; nothing happens if it is not armed."""
        with self._lock:
            self._rules = [armed for armed in self._rules if armed.rule != rule]

    def clear(self) -> None:
        """Disarm every rule."""
        with self._lock:
            self._rules = []

    def hits(self, rule: Rule) -> int:
        """How often an armed rule has struck (0 if it is not armed)."""
        with self._lock:
            return sum(armed.hits for armed in self._rules if armed.rule == rule)

    def strike(self, op: str, *paths: str) -> list[Rule]:
        """Ask the rules before an operation: waits and raises as they say; the ones that change its data come back."""
        struck = self._struck(op, *paths)
        for rule in struck:
            if isinstance(rule, Hang):
                rule.reached.set()
                rule.event.wait()
        for rule in struck:
            if isinstance(rule, FailOp):
                raise os_error(rule.errno, paths[0])
        return [rule for rule in struck if isinstance(rule, ShortWrite | FlipByte)]

    def _struck(self, op: str, *paths: str) -> list[Rule]:
        """The rules that strike an operation."""
        with self._lock:
            return [armed.rule for armed in self._rules if armed.strikes(op, paths, self._rng)]

    @property
    def heeds_hurry(self) -> bool:
        """See :class:`lsmkv.env.fs.QueuedReads`."""
        return isinstance(self.inner, QueuedReads) and self.inner.heeds_hurry

    def read_queue(self, depth: int) -> ReadQueue | None:
        """See :class:`lsmkv.env.fs.QueuedReads`: an emulated one if the inner file system has any."""
        inner = self.inner.read_queue(1) if isinstance(self.inner, QueuedReads) else None
        if inner is None:
            return None
        inner.close()
        return EmulatedQueue(depth, self._fate)

    def _fate(self, file: File) -> Fate:
        """What the rules say of a read that begins in a queue."""
        rules = self._struck("queued", file.path)
        hangs = [rule for rule in rules if isinstance(rule, Hang)]
        for rule in hangs:
            rule.reached.set()
        fails = [rule.errno for rule in rules if isinstance(rule, FailOp)]
        assert isinstance(file, _FaultFile)
        return Fate(
            file.inner,
            [rule.event for rule in hangs],
            fails[0] if fails else 0,
            lambda memory, done, offset: _flip(rules, [memory], done, offset),
        )

    def open(self, path: str, mode: Literal["r", "rw", "create"] = "r", *, direct: bool = False) -> File:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        if not (HURRY.on and self.heeds_hurry):  # nothing is opened then
            self.strike("open", path)
        return _FaultFile(self, self.inner.open(path, mode, direct=direct))

    def rename(self, src: str, dst: str) -> None:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self.strike("rename", src, dst)
        self.inner.rename(src, dst)

    def unlink(self, path: str) -> None:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self.strike("unlink", path)
        self.inner.unlink(path)

    def link(self, src: str, dst: str) -> None:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self.strike("link", src, dst)
        self.inner.link(src, dst)

    def mkdir(self, path: str) -> None:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self.strike("mkdir", path)
        self.inner.mkdir(path)

    def listdir(self, path: str) -> list[str]:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self.strike("listdir", path)
        return self.inner.listdir(path)

    def exists(self, path: str) -> bool:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self.strike("exists", path)
        return self.inner.exists(path)

    def isdir(self, path: str) -> bool:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self.strike("isdir", path)
        return self.inner.isdir(path)

    def size(self, path: str) -> int:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self.strike("stat", path)
        return self.inner.size(path)

    def sync_dir(self, path: str) -> None:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self.strike("sync_dir", path)
        self.inner.sync_dir(path)

    def free_bytes(self, path: str) -> int:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self.strike("free_bytes", path)
        return self.inner.free_bytes(path)

    def lock(self, path: str) -> FileLock:
        """See :class:`lsmkv.env.fs.FileSystem`."""
        self.strike("lock", path)
        return self.inner.lock(path)


_READS = ("pread", "preadv", "pread_cached", "preadv_cached", "queued")
"""What a rule for ``read`` strikes."""


class _Armed:
    """A rule and how often it was asked and struck."""

    __slots__ = ("calls", "hits", "rule")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.calls = 0
        self.hits = 0

    def strikes(self, op: str, paths: Sequence[str], rng: Rng) -> bool:
        """Count a call if it matches; whether the rule strikes it."""
        rule = self.rule
        if rule.op != op and not (rule.op == "read" and op in _READS):
            return False
        if not any(fnmatchcase(path, rule.path) or fnmatchcase(posixpath.basename(path), rule.path) for path in paths):
            return False
        self.calls += 1
        if self.calls < rule.nth or (rule.times is not None and self.hits >= rule.times):
            return False
        if rule.probability < 1.0 and rng.random() >= rule.probability:
            return False
        self.hits += 1
        return True


class _FaultFile:
    """An open file whose operations ask the rules first; see :class:`lsmkv.env.fs.File`."""

    __slots__ = ("_faults", "_inner", "direct", "path")

    def __init__(self, faults: FaultFileSystem, inner: File) -> None:
        self._faults = faults
        self._inner = inner
        self.path = inner.path
        self.direct = inner.direct

    def pread(self, size: int, offset: int) -> bytes:
        """See :class:`lsmkv.env.fs.File`."""
        rules = self._faults.strike("pread_cached" if HURRY.on and self._faults.heeds_hurry else "pread", self.path)
        data = self._inner.pread(size, offset)
        if not rules:
            return data
        changed = bytearray(data)
        _flip(rules, [memoryview(changed)], len(data), offset)
        return bytes(changed)

    def preadv(self, buffers: Sequence[Buffer], offset: int) -> int:
        """See :class:`lsmkv.env.fs.File`."""
        rules = self._faults.strike("preadv", self.path)
        done = self._inner.preadv(buffers, offset)
        if rules:
            _flip(rules, [memoryview(b).cast("B") for b in buffers if memoryview(b).nbytes], done, offset)
        return done

    @property
    def inner(self) -> File:
        """The file without rules."""
        return self._inner

    @property
    def tells_cached(self) -> bool:
        """See :class:`lsmkv.env.fs.CachedReads`."""
        return isinstance(self._inner, CachedReads) and self._inner.tells_cached

    def preadv_cached(self, buffers: Sequence[Buffer], offset: int) -> int:
        """See :class:`lsmkv.env.fs.CachedReads`."""
        rules = self._faults.strike("preadv_cached", self.path)
        done = self._inner.preadv_cached(buffers, offset) if isinstance(self._inner, CachedReads) else 0
        if rules:
            _flip(rules, [memoryview(b).cast("B") for b in buffers if memoryview(b).nbytes], done, offset)
        return done

    def holds(self, offset: int, size: int) -> bool | None:
        """See :class:`lsmkv.env.fs.CachedReads`."""
        self._faults.strike("holds", self.path)
        return self._inner.holds(offset, size) if isinstance(self._inner, CachedReads) else None

    def fetch(self, offset: int, size: int) -> None:
        """See :class:`lsmkv.env.fs.CachedReads`."""
        self._faults.strike("fetch", self.path)
        if isinstance(self._inner, CachedReads):
            self._inner.fetch(offset, size)

    def pwritev(self, buffers: Sequence[Buffer], offset: int) -> int:
        """See :class:`lsmkv.env.fs.File`."""
        sizes = [rule.size for rule in self._faults.strike("pwritev", self.path) if isinstance(rule, ShortWrite)]
        if not sizes:
            return self._inner.pwritev(buffers, offset)
        data = b"".join(memoryview(b).cast("B") for b in buffers if memoryview(b).nbytes)[: min(sizes)]
        if not data:
            raise os_error(codes.ENOSPC, self.path)
        return self._inner.pwritev([data], offset)

    def sync(self) -> None:
        """See :class:`lsmkv.env.fs.File`."""
        try:
            self._faults.strike("sync", self.path)
        except OSError:
            if isinstance(self._inner, MemoryFile):
                self._inner.forsake()
            raise
        self._inner.sync()

    def truncate(self, size: int) -> None:
        """See :class:`lsmkv.env.fs.File`."""
        self._faults.strike("truncate", self.path)
        self._inner.truncate(size)

    def allocate(self, size: int) -> None:
        """See :class:`lsmkv.env.fs.File`."""
        self._faults.strike("allocate", self.path)
        self._inner.allocate(size)

    def size(self) -> int:
        """See :class:`lsmkv.env.fs.File`."""
        self._faults.strike("size", self.path)
        return self._inner.size()

    def advise(self, advice: Advice, offset: int = 0, size: int = 0) -> None:
        """See :class:`lsmkv.env.fs.File`."""
        self._inner.advise(advice, offset, size)

    def close(self) -> None:
        """Close the inner file even if a rule then raises, as the kernel does."""
        try:
            self._faults.strike("close", self.path)
        finally:
            self._inner.close()


def _flip(rules: Sequence[Rule], views: Sequence[memoryview], done: int, offset: int) -> None:
    """Change the bytes that the rules name, among the ``done`` bytes just read from ``offset``."""
    for rule in rules:
        at = rule.offset - offset if isinstance(rule, FlipByte) else -1
        if not isinstance(rule, FlipByte) or not 0 <= at < done:
            continue
        for view in views:
            if at < len(view):
                view[at] ^= rule.mask
                break
            at -= len(view)
