"""What a helper process does: one merge after the other, as told by the store that it belongs to.

It reads the inputs by their names, which the store keeps in place meanwhile, and merges them as the store would. For each output
it asks for a number and an open file; it creates, renames and unlinks nothing, so that after its store's death it writes into
files that the next opening has removed, and nothing else. Outputs are synced here and become the store's business then.

Beside the tables it can make what single gets find their keys by (:mod:`lsmkv.sstable.finder`): a table is warm when it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from lsmkv.base.columns import Columns
from lsmkv.base.counters import Counters, WorkCounters, WorkCounts
from lsmkv.env.clock import Clock, SystemClock
from lsmkv.env.helper import Channel, Memory
from lsmkv.env.posix import PosixFile, PosixFileSystem
from lsmkv.live.tables import table_path
from lsmkv.maintain.build import Part, Plan, write_tables
from lsmkv.options import Options
from lsmkv.read.merge import merge_streams, visible
from lsmkv.sstable.compression import Compression
from lsmkv.sstable.finder import FinderMaker, UnfitError, suits
from lsmkv.sstable.finderbytes import PackedFinder, pack
from lsmkv.sstable.reader import TableReader
from lsmkv.sstable.scan import everything
from lsmkv.version.shape import TableMeta

__all__ = ["ALIVE", "READY", "TABLE", "Done", "Failed", "Job", "Signs", "main"]

READY = "ready"
"""Said once, when jobs are welcome."""

TABLE = "table"
"""Said for each output: a number and then an open file are waited for."""

ALIVE = "alive"
"""Said now and then during a merge: it goes on."""

SIGN_S = 2.0
"""Seconds from one such word to the next: each takes the interpreter of the store's process for a moment."""


@dataclass(frozen=True, slots=True)
class Job:
    """One merge."""

    path: str
    """The store's directory, whatever the working directory."""
    inputs: tuple[tuple[int, ...], ...]
    """Tables of each run in key order, the newest run first."""
    chunk_bytes: int
    slice_bytes: int
    snapshots: tuple[int, ...]
    """When it was given out: those taken later need nothing that they do not need."""
    bottom: bool
    """Whether nothing older lies below: tombstones go."""
    level: int
    table_bytes: int | None
    filter_bits_per_key: float
    block_bytes: int
    compression: Compression
    finders: tuple[int, int] | None
    """Seeds of hashes and of seals of the finders to make; None: make none."""


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it."""

    tables: tuple[TableMeta, ...]
    counts: WorkCounts
    opens: WorkCounts
    """Opening the inputs."""
    finders: tuple[PackedFinder, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """It did not work out, for a reason that the store will meet itself when it does the merge."""

    why: str


class Signs:
    """What tells the store that a merge goes on: who is silent for long is taken for stopped, and killed."""

    def __init__(self, channel: Channel, clock: Clock) -> None:
        """A merge begins."""
        self._channel = channel
        self._clock = clock
        self._said_s = clock.monotonic()

    def give(self) -> None:
        """Say so, unless it was said a moment ago. OSError if nobody is there."""
        now_s = self._clock.monotonic()
        if now_s - self._said_s >= SIGN_S:
            self._said_s = now_s
            self._channel.send(ALIVE)


def main(descriptor: int, memory: int) -> None:
    """The process: jobs until nobody is there any more."""
    channel, shared = Channel.of(descriptor), Memory(memory)
    with suppress(EOFError, ConnectionError):
        channel.send(READY)
        while True:
            job = channel.hear()
            assert isinstance(job, Job)
            answer: Done | Failed
            try:
                answer = merged(job, channel, shared)
            except (EOFError, ConnectionError):
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the store does the merge itself and will see
                answer = Failed(repr(error))
            channel.send(answer)


class _GivenFiles(PosixFileSystem):
    """The machine's files to read, and those that were given to write."""

    __slots__ = ("given",)

    def __init__(self) -> None:
        self.given: dict[str, int] = {}

    def open(self, path: str, mode: Literal["r", "rw", "create"] = "r", *, direct: bool = False) -> PosixFile:
        """Open to read; to create is to take what was given. I/O: 1 open, or none."""
        if mode == "create":
            return PosixFile(self.given.pop(path), path, direct=False)
        return super().open(path, "r", direct=direct)

    def unlink(self, path: str) -> None:
        """Leave the file: it has an owner."""


@dataclass(slots=True)
class _Site:
    """What this process knows of the store: see :class:`lsmkv.maintain.build.Site`."""

    fs: _GivenFiles
    path: str
    options: Options
    channel: Channel
    stopping: bool = field(default=False)

    @property
    def numbers(self) -> Iterator[int]:
        """A number and its file, asked for when they are needed."""
        return iter(self._next, None)

    def _next(self) -> int:
        """Ask for one output. EOFError."""
        self.channel.send(TABLE)
        number = self.channel.hear()
        assert isinstance(number, int)
        self.fs.given[table_path(self.path, number)] = self.channel.receive_file()
        return number


def merged(job: Job, channel: Channel, memory: Memory) -> Done:
    """Carry a job out. LsmError, OSError as the store would have them; EOFError when it is gone."""
    fs, counts, opens = _GivenFiles(), WorkCounters(), WorkCounters()
    signs = Signs(channel, SystemClock())
    site = _Site(fs, job.path, Options(block_bytes=job.block_bytes, compression=job.compression), channel)
    plan = Plan(
        level=job.level,
        table_bytes=job.table_bytes,
        filter_bits_per_key=job.filter_bits_per_key,
        stamped=lambda table: table,  # the store knows more of its inputs
        counts=counts,
        work=None,
    )
    runs = [_run(fs, job, tables, counts, opens) for tables in job.inputs]
    tables = write_tables(site, _kept(job, merge_streams(runs, job.slice_bytes), signs), plan, lambda _: None, None)
    return Done(tuple(tables), counts.counts(), opens.counts(), tuple(_finders(fs, job, tables, memory, signs)))


def _kept(job: Job, parts: Iterator[Columns], signs: Signs) -> Iterator[Part]:
    """What somebody may still read."""
    for part in parts:
        signs.give()
        yield visible(part, job.snapshots, bottom=job.bottom), bool(job.snapshots)


def _run(fs: PosixFileSystem, job: Job, tables: tuple[int, ...], counts: WorkCounters, opens: WorkCounters) -> Iterator[Columns]:
    """The entries of disjoint tables in key order."""
    for number in tables:
        reader = _opened(fs, job, number)
        opens.tasks += 1
        opens.reads += reader.file.load_reads
        opens.read_bytes += reader.file.load_bytes
        try:
            yield from everything(reader, job.chunk_bytes, counts)
        finally:
            reader.close()


def _opened(fs: PosixFileSystem, job: Job, number: int) -> TableReader:
    """A table."""
    return TableReader(fs, table_path(job.path, number), number, None, Counters())


def _finders(fs: PosixFileSystem, job: Job, tables: list[TableMeta], memory: Memory, signs: Signs) -> Iterator[PackedFinder]:
    """Finders of the outputs that can have one."""
    at = 0
    for table in tables if job.finders is not None else ():
        assert job.finders is not None
        reader = _opened(fs, job, table.number)
        each = suits(reader.file)
        finder = None
        if each >= 0:
            maker = FinderMaker(reader.file, each, *job.finders)
            with suppress(UnfitError):
                while finder is None:
                    signs.give()
                    finder = maker.advance(reader.counters)
        reader.close()
        if finder is not None:
            packed, at = pack(finder, table.number, job.finders[1], at, memory.write)
            yield packed
