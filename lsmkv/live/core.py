"""What flush, compaction and installation share: the open store seen from below."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

from lsmkv.base.events import EventLog
from lsmkv.base.ledger import Ledger
from lsmkv.base.status import StatusFile
from lsmkv.cache.blockcache import BlockCache
from lsmkv.env.clock import Clock
from lsmkv.env.fs import FileSystem
from lsmkv.env.rng import Rng
from lsmkv.env.sync import Lock
from lsmkv.errors import PoisonedError, io_failed
from lsmkv.live.courtesy import Courtesy
from lsmkv.live.helping import Helping
from lsmkv.live.snapshots import SnapshotRegistry
from lsmkv.live.state import StateBox, View
from lsmkv.live.tables import TableCache
from lsmkv.live.throttle import Throttle
from lsmkv.memtable import Memtable, new_memtable
from lsmkv.options import Options
from lsmkv.policy.base import Policy
from lsmkv.policy.transition import TransitionReport
from lsmkv.version.manifest import Manifest, ManifestState
from lsmkv.version.shape import TreeShape
from lsmkv.wal.writer import WalWriter

__all__ = ["Core", "Work", "wal_path"]


def wal_path(directory: str, number: int) -> str:
    """Where log ``number`` lives."""
    return f"{directory}/{number:06d}.wal"


@dataclass(slots=True)
class Work:
    """What background work did since opening; bytes are file bytes."""

    flushes: int = 0
    flush_bytes: int = 0
    compactions: int = 0
    merges_apart: int = 0
    """Compactions that the helper process did."""
    moves: int = 0
    """Tables moved a level down without being rewritten."""
    read_bytes: int = 0
    written_bytes: int = 0
    """Read and written by compactions."""
    failures: int = 0
    unlinked: int = 0
    range_deleted: int = 0
    """Entries that compactions dropped because a range delete covers them, those of tables dropped whole included."""


@dataclass(slots=True)
class Core:
    """The parts of an open store. Built by opening, shared by flows, torn down by close."""

    fs: FileSystem
    path: str
    options: Options
    """In force now. Whoever needs one asks here, each time: they change while the store is open."""
    policy: Policy
    """What shapes the tree; changed by a switch, with no compaction in flight."""
    clock: Clock
    rng: Rng
    ledger: Ledger
    cache: BlockCache | None
    tables: TableCache
    manifest: Manifest
    state: ManifestState
    """What the manifest says; changed only under ``install_lock``."""
    numbers: itertools.count[int]
    """Next file number (taking one is atomic)."""
    box: StateBox
    snapshots: SnapshotRegistry
    work: Work = field(default_factory=Work)
    throttle: Throttle = field(default_factory=Throttle)
    """The limit on background reading and writing."""
    courtesy: Courtesy = field(default_factory=Courtesy)
    """By which writers let a flush have the interpreter for a moment."""
    hurried: int = 0
    """Calls that wait for a flush with writers behind them: it does not wait for the limit."""
    install_lock: Lock = field(default_factory=Lock)
    logs_named: int = 0
    """Logs with smaller numbers have durable names."""
    obsolete: set[int] = field(default_factory=set)
    """Tables no version names any more but some reader may still use."""
    building: set[int] = field(default_factory=set)
    """Tables being written, or written and not installed yet."""
    stopping: bool = False
    """Asks a compaction in flight to give up between slices."""
    closing: bool = False
    """Edits also record what was counted: each may be the last."""
    helping: Helping = field(default_factory=Helping)
    """The process that does large merges, if it may."""
    poison: PoisonedError | None = None
    """The failure after which nothing may be written: what is on disk is then unknown."""
    transition: TransitionReport | None = None
    """The last change of policy, as the manifest has it; None: there was none. Changed under ``install_lock``."""
    events: EventLog | None = None
    """None: the owner wants no log of events."""
    journal: EventLog | None = None
    """What the controller decided; None: it has not written anything."""
    status: StatusFile | None = None
    """What onlookers in other processes read; None: the owner wants none."""
    probes_seen: dict[int, int] = field(default_factory=dict)
    """Absent keys that the filters of each level had been asked about when they were last looked at."""

    def forked(self) -> None:
        """In a forked child: nothing is current, descriptors are given back. Takes no lock, touches no file's contents."""
        self.box.current = None
        self.stopping = True
        self.snapshots.forked()
        self.tables.forked()
        self.manifest.close()
        self.helping.forked()
        self.courtesy.forked()
        self.events = self.journal = self.status = None

    def view(self, shape: TreeShape) -> View:
        """The tables of ``shape`` as lookups use them, with the memtables that are kept for some of them."""
        return View(shape, self.tables.kept)

    def check_poison(self) -> None:
        """Raise PoisonedError if writing is unsafe."""
        if self.poison is not None:
            raise PoisonedError(self.path, self.poison.first)

    def poisoned(self, cause: BaseException) -> PoisonedError:
        """Refuse all further writes; the first cause counts."""
        if self.poison is None:
            self.poison = cause if isinstance(cause, PoisonedError) else PoisonedError(self.path, cause)
        return self.poison

    def note(self, kind: str, fields: Mapping[str, object]) -> None:
        """Log an event, with the tree as it is now. Never fails. I/O: one unsynced write."""
        if self.events is not None:
            self.events.note(kind, lambda: {**fields, **_picture(self.state.shape)})

    def new_mem(self) -> Memtable:
        """An empty memtable of the chosen kind."""
        return new_memtable(self.options.memtable, self.rng)

    def name_logs(self) -> None:
        """Make the names of all logs begun so far durable.

        Before a table is begun with entries that no table holds yet: so a crash never leaves it without the logs of its time.
        IOFailedError. I/O: one sync of the directory.
        """
        try:
            self.fs.sync_dir(self.path)
        except OSError as error:
            raise io_failed("sync", self.path, error) from error

    def new_wal(self, previous: tuple[int, int] | None) -> WalWriter:
        """A fresh log that names its predecessor (number, length). I/O: creates a file."""
        number = next(self.numbers)
        return WalWriter(self.fs, wal_path(self.path, number), number=number, previous=previous, counts=self.ledger.wal)


def _picture(shape: TreeShape) -> dict[str, object]:
    """The tree as every event tells it: each run of each level as [bytes, entries, tables]."""
    levels = [[[run.bytes, run.entries, len(run.tables)] for run in level.runs] for level in shape.levels]
    return {"buffer_entries": shape.buffer_entries, "levels": levels}
