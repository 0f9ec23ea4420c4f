"""The controller at work: windows from the ledger into :func:`lsmkv.controller.decide.decide`, decisions into switches and tasks.

A switch is the manifest edit of :mod:`lsmkv.maintain.switching`, lazy; a merge is an ordinary task that waits here until the
compaction worker has nothing due by the policy. So a crash at any moment finds a tree that is in line with the recorded policy,
or on its way there; what only the controller remembered (books, waiting merges) begins anew, and costs nothing but time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from lsmkv.base.ledger import Account
from lsmkv.controller.act import merge_task, policy_at, sized, steered, window_of
from lsmkv.controller.constants import OUTCOME_AFTER
from lsmkv.controller.decide import Books, Decision, Merge, Reshape, decide
from lsmkv.controller.journal import Record, last_number, new_journal, read_journal
from lsmkv.controller.sensors import Window, window_operations
from lsmkv.controller.settings import Adaptive
from lsmkv.controller.split import Memory, Split
from lsmkv.controller.told import ControllerStats
from lsmkv.live.core import Core
from lsmkv.maintain.look import seen_shape
from lsmkv.maintain.settings import change_if
from lsmkv.maintain.switching import switch_if
from lsmkv.options import Options
from lsmkv.policy.base import Task
from lsmkv.policy.geometry import Geometry
from lsmkv.version.shape import TreeShape

__all__ = ["Pilot"]


@dataclass(slots=True)
class _Wanted:
    """A merge that was decided and waits."""

    record: Record
    runs: tuple[int, ...]
    settings: Adaptive
    """It was decided with these."""
    task: Task | None = None


class Pilot:
    """Looks, decides, acts and keeps the journal. All but :meth:`stats` is called with the compaction lock held."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._since: Account | None = None
        self._counted = 0
        """Operations when the last window ended."""
        self.look_s = 0.0
        self._books = Books()
        self._number: int | None = None
        self._advised: dict[type, Decision] = {}
        self._waiting: deque[_Wanted] = deque()
        self._open: list[Record] = []
        self._windows = self._merges = self._reshapes = self._splits = self._overtaken = self._decisions = 0
        self._idle = ""

    def look(self, settings: Adaptive) -> None:
        """Decide if enough operations have passed since the last time."""
        core = self._core
        if settings.mode != "on":
            self._give_up()
        counted = core.ledger.operations()
        if self._since is not None and counted - self._counted < window_operations(core.state.shape.entries):
            return
        account, since, self._counted = core.ledger.account(), self._since, counted
        self._since = account
        if since is None:
            return
        window, shape = window_of(account - since, settings.prices), seen_shape(core)
        self._windows += 1
        point = steered(core.policy)
        self._idle = point if isinstance(point, str) else ""
        if not isinstance(point, Geometry):
            return
        self._follow(window, settings, shape)
        memory, cached = _memory(core.options), min(1.0, core.options.block_cache_bytes / shape.bytes) if shape.bytes else 0.0
        books, decisions = decide(self._books, sized(shape, point), window, settings, memory, _entry_bytes(shape), cached)
        for one in decisions:
            self._take(one, books, settings, shape, point)
        self._books = books

    def wanted(self, shape: TreeShape) -> Task | None:
        """The next waiting merge that the tree still allows."""
        while self._waiting:
            first = self._waiting[0]
            first.task = merge_task(shape, first.runs, _reason(first)) if self._stands(first) else None
            if first.task is not None:
                return first.task
            self._overtake()
        return None

    def peek(self, shape: TreeShape) -> Task | None:
        """What :meth:`wanted` would give, without letting go of anything (no lock needed)."""
        tasks = (merge_task(shape, one.runs, _reason(one)) for one in tuple(self._waiting) if self._stands(one))
        return next((task for task in tasks if task is not None), None)

    def owns(self, task: Task) -> bool:
        """Whether a task is the first waiting merge."""
        return bool(self._waiting) and self._waiting[0].task is task

    def merged_entries(self) -> int:
        """Entries that merges have written since opening."""
        return self._core.ledger.account().merges.written_entries

    def ran(self, entries: int) -> None:
        """The first waiting merge is done and wrote so many entries."""
        done = self._waiting.popleft().record
        settings = self._core.options.controller
        done.paid = entries * (settings.prices.merged if settings is not None else 0.0)
        self._merges += 1
        self._open.append(done)

    def stats(self, settings: Adaptive) -> ControllerStats:
        """What it has done so far."""
        books, journal = self._books, self._core.journal
        averages = books.averages
        return ControllerStats(
            mode=settings.mode,
            idle=self._idle,
            windows=self._windows,
            changes=averages.changes,
            mix=averages.fast._asdict(),
            usual_mix=averages.slow._asdict(),
            drift=averages.drift,
            decisions=self._decisions,
            merges=self._merges,
            reshapes=self._reshapes,
            splits=self._splits,
            overtaken=self._overtaken,
            waiting=len(self._waiting),
            seen_blocks=books.blocks,
            spent_blocks=books.spent,
            journal_failures=journal.failures if journal is not None else 0,
            look_s=self.look_s,
        )

    def _overtake(self) -> None:
        """The first waiting merge will not be done."""
        given_up = self._waiting.popleft()
        self._overtaken += 1
        self._note("outcome", {"decision": given_up.record.number, "overtaken": True})

    def _stands(self, one: _Wanted) -> bool:
        """Whether the owner has left the settings it was decided with, and a policy that is the controller's to steer."""
        return self._core.options.controller is one.settings and isinstance(steered(self._core.policy), Geometry)

    def _give_up(self) -> None:
        """The controller may not touch the tree any more: no waiting merge will be done."""
        while self._waiting:
            self._overtake()

    def _take(self, one: Decision, books: Books, settings: Adaptive, shape: TreeShape, point: Geometry) -> None:
        """Put a decision on record and, if the mode is "on", carry it out or queue it."""
        acting = settings.mode == "on"
        if not isinstance(one, Merge) and not acting:
            if _aim(self._advised.get(type(one))) == _aim(one):
                return
            self._advised[type(one)] = one
        if acting and not self._act(one, settings):
            return  # the owner changed something meanwhile: what was decided is out of date
        record = Record(self._next(), one, books.averages.fast, geometry=point)
        self._decisions += 1
        self._note(type(one).__name__.lower(), record.told(settings.mode, _arrivals(shape)))
        if isinstance(one, Merge) and acting:
            self._waiting.append(_Wanted(record, one.runs, settings))
        elif acting:
            self._open.append(record)

    def _act(self, one: Decision, settings: Adaptive) -> bool:
        """Carry a decision out, unless the owner's options are not those any more that it was made for; whether they were.

        A merge waits for its turn, and is given up then if the controller may not act any more.
        """
        core = self._core
        if isinstance(one, Reshape):
            done = switch_if(core, lambda now: now.controller is settings, policy_at(one.geometry), "lazy") is not None
            self._reshapes += done
        elif isinstance(one, Split):
            before = one.before
            done = change_if(core, lambda now: now.controller is settings and _memory(now) == before, one.memory._asdict())
            self._splits += done
        else:
            done = core.options.controller is settings
        return done

    def _follow(self, window: Window, settings: Adaptive, shape: TreeShape) -> None:
        """Count a window toward the outcomes of earlier decisions, and write those that are due."""
        for record in self._open:
            record.done, record.blocks = record.done.plus(window.done), record.blocks + window.blocks
            record.windows += 1
            if record.windows == OUTCOME_AFTER:
                self._note("outcome", record.outcome(settings.prices, _arrivals(shape)))
        self._open = [record for record in self._open if record.windows < OUTCOME_AFTER]

    def _next(self) -> int:
        """The next decision's number. I/O: the first time, reads the journal."""
        if self._number is None:
            try:
                self._number = last_number(read_journal(self._core.fs, self._core.path))
            except OSError:
                self._number = 0
        self._number += 1
        return self._number

    def _note(self, kind: str, fields: dict[str, object]) -> None:
        """Append a line to the journal; never fails."""
        core = self._core
        if core.journal is None:
            core.journal = new_journal(core.fs, core.path, core.clock)
        core.journal.note(kind, lambda: fields)


def _aim(one: Decision | None) -> object:
    """Where a decision that changes no table wants to go."""
    if isinstance(one, Split):
        return one.memory.memtable_bytes, round(one.memory.filter_bits_per_key)
    return one.geometry if isinstance(one, Reshape) else None


def _memory(options: Options) -> Memory:
    """What memtable and filters may take."""
    return Memory(options.memtable_bytes, options.filter_bits_per_key)


def _entry_bytes(shape: TreeShape) -> float:
    """Bytes of an entry on average, key and value; 0.0 where tables do not say it."""
    tables = [table for level in shape.levels for run in level.runs for table in run.tables]
    entries = sum(table.entries for table in tables)
    return sum(table.raw_bytes for table in tables) / entries if entries else 0.0


def _reason(one: _Wanted) -> str:
    """Why a merge is done, for logs and people."""
    return f"reads have paid for merging {len(one.runs)} runs (decision {one.record.number} of the controller)"


def _arrivals(shape: TreeShape) -> float:
    """How many arrivals the tree holds."""
    return shape.entries / shape.buffer_entries if shape.buffer_entries else 0.0
