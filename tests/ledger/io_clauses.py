"""The clauses of ``I/O:`` lines, and what they allow.

A line is a list of clauses, separated by semicolons, in the words of :data:`CLAUSES` and :data:`CAPS`. Each clause allows
something, in numbers that follow from the situation; whatever no clause allows must not happen.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from lsmkv import DB
from lsmkv.testing import CountingFileSystem
from lsmkv.version.shape import TableMeta, TreeShape


@dataclass(frozen=True)
class Case:
    """A situation to try a method in, and what the clauses need to know of it."""

    call: Callable[[DB], object]
    keys: tuple[bytes, ...] = ()
    bounds: tuple[bytes | None, bytes | None] = (None, None)
    frames: int = 1
    sync: bool = False
    memtables: int = 0
    """With entries in them, when the call comes."""
    undurable_logs: int = 1
    full: bool = False
    in_memory: bool = False
    cached: bool = False
    """Called twice, the second time counts; else without a cache."""
    lazy: bool = False
    """Nothing is asked of what the call returns."""
    settled: bool = True
    options: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """The case and the tree it met."""

    case: Case
    shape: TreeShape
    db: DB
    told: object = None
    flushed_bytes: int = 0
    in_memory: tuple[bytes, ...] = ()
    """Keys in the memtable when the call came."""

    @property
    def runs(self) -> int:
        return sum(len(level.runs) for level in self.shape.levels)

    def fences(self, number: int) -> list[bytes]:
        return self.db._tables.get(number).fences

    def blocks_of_keys(self) -> int:
        """Blocks that may hold one of the keys."""
        blocks = set()
        for table in self.shape.tables:
            fences = self.fences(table.number)
            for key in self.case.keys:
                if table.smallest <= key <= table.largest:
                    blocks.add((table.number, sum(fence < key for fence in fences)))
        return len(blocks)

    def blocks_of_range(self) -> int:
        """Blocks whose last key lies in the range."""
        low, high = self.case.bounds
        inside = (f for t in self.shape.tables for f in self.fences(t.number) if low is None or f >= low)
        return sum(high is None or fence < high for fence in inside)

    def sinking(self) -> list[TableMeta]:
        """The tables that overlap the range, and those that a newer one of these meets: it must not pass them."""
        start, stop = self.case.bounds
        ranges = [(self.in_memory[0], self.in_memory[-1])] if self.in_memory else []
        ranges = [(a, b) for a, b in ranges if (stop is None or a < stop) and (start is None or b >= start)]
        found = []
        for table in self.shape.tables:  # newest first
            low, high = table.smallest, table.largest
            inside = (stop is None or low < stop) and (start is None or high >= start)
            if inside or any(a <= high and b >= low for a, b in ranges):
                ranges.append((low, high))
                found.append(table)
        return found


def _one_task(seen: Seen) -> dict[str, float]:
    task = seen.told
    if task is None:
        return {}
    if not task.inputs:
        return {"flushes": 1, "tables": 1, "logs removed": 1}
    taken = {number for one in task.inputs for number in one.tables}
    sizes = sum(t.bytes for t in seen.shape.tables if t.number in taken)
    return {"compactions": 1, "bytes merged": sizes, "tables": len(taken) + 1}


# Clauses: words -> what they allow, by kind of work.
CLAUSES: dict[str, Callable[[Seen], dict[str, float]]] = {
    r"none": lambda s: {},
    r"at most one block per run": lambda s: {"fetches": s.runs},
    r"each block that may hold one of the keys at most once": lambda s: {"fetches": s.blocks_of_keys()},
    r"each block that may hold one of the keys up to three times": lambda s: {"fetches": 3 * s.blocks_of_keys()},
    r"each block of the range once, when it is needed": lambda s: {"fetches": 0 if s.case.lazy else s.blocks_of_range()},
    r"at most two more per run": lambda s: {"fetches": 0 if s.case.lazy else 2 * s.runs},
    r"one log write": lambda s: {"log writes": 1},
    r"one log write per frame": lambda s: {"log writes": s.case.frames},
    r"one fdatasync per log not durable if syncing": lambda s: {"log syncs": s.case.undurable_logs if s.case.sync else 0},
    r"one fdatasync per log not durable": lambda s: {"log syncs": s.case.undurable_logs},
    r"one log begun if the memtable is full": lambda s: {"logs begun": s.case.full},
    r"one fdatasync of the log before, if syncing": lambda s: {"log syncs": s.case.sync},
    r"up to 32 blocks, twice, to see whether the range is small": lambda s: {
        "fetches": 2 * min(32, s.blocks_of_range() + 2 * s.runs)
    },
    r"one flush and compactions if many ranges are held": lambda s: {},
    r"one log begun": lambda s: {"logs begun": 1},
    r"one table per memtable": lambda s: {"flushes": s.case.memtables, "tables": s.case.memtables},
    r"one manifest edit per memtable": lambda s: {"edits": s.case.memtables},
    r"one manifest edit per memtable, one if there is none": lambda s: {"edits": s.case.memtables or 1},
    r"one log removed per memtable": lambda s: {"logs removed": s.case.memtables},
    r"one manifest edit": lambda s: {"edits": 1},
    r"each table that overlaps, and each older one that meets one of these, read once": lambda s: {
        "bytes merged": sum(t.bytes for t in s.sinking()) + s.flushed_bytes
    },
    r"the result written once": lambda s: {"compactions": 1, "tables": len(s.sinking()) + 1},
    r"one flush or one compaction": _one_task,
    r"one link per table \(a copy where links are refused\)": lambda s: {"links": len(s.shape.tables) + s.case.memtables},
    r"one manifest written": lambda s: {"manifests": 1},
    r"the data written once": lambda s: {"tables": s.told.tables},
    r"level 0 merged if it meets the data and has no room": lambda s: {},  # no case of ours is so large
    r"one listing of the directory": lambda s: {},
}
CAPS: dict[str, Callable[[Seen], dict[str, float]]] = {
    r"none for keys in memory": lambda s: {"fetches": 0} if s.case.in_memory else {},
    r"none for cached blocks": lambda s: {"reads": 0} if s.case.cached else {},
}
REPEATED = "as ``step`` until ``pending()`` is None"


def done(db: DB, spent, disk: CountingFileSystem) -> Counter:
    """What happened, by kind of work."""
    merges, gets, scans = spent.merges, spent.gets, spent.range_reads
    return Counter(
        {
            "fetches": gets.block_fetches + scans.block_fetches,
            "reads": gets.block_reads - gets.joined_reads + gets.unfiltered_reads + scans.block_reads,
            "log writes": spent.wal.writes - spent.wal.tasks,
            "log syncs": spent.wal.syncs,
            "logs begun": spent.wal.tasks,
            "logs removed": disk.calls("unlink", "*.wal"),
            "flushes": spent.flush.tasks,
            "tables": disk.calls("create", "*.sst"),
            "compactions": merges.tasks + bool(merges.moves) + bool(merges.drops),
            "bytes merged": merges.read_bytes,
            "edits": spent.manifest.tasks,
            "links": disk.calls("link"),
            "manifests": disk.calls("create", "/copy/MANIFEST*"),
        }
    )


def the_line(owner: type, name: str) -> str:
    """What a method says of its I/O, references followed."""
    member = inspect.getattr_static(owner, name)
    text = " ".join((inspect.getdoc(member.fget if isinstance(member, property) else member) or "").split())
    found = re.search(r"I/O: (.*?)\.(?: [A-Z]|$)", text)
    assert found, f"{owner.__name__}.{name} has no I/O line"
    return found[1]


def clauses_of(owner: type, name: str) -> list[str]:
    """The clauses of a method's line; ``as ``other``` stands for the other's."""
    clauses: list[str] = []
    for clause in the_line(owner, name).split("; "):
        other = re.fullmatch(r"as ``(DB\.)?(\w+)``", clause)
        if clause == REPEATED:
            clauses += [REPEATED]
        elif other:
            clauses += clauses_of(DB if other[1] else owner, other[2])
        else:
            clauses.append(clause)
    return clauses


def check(clauses: list[str], seen: Seen, happened: Counter) -> None:
    """Nothing beyond what the clauses allow."""
    allowed: Counter = Counter()
    caps: dict[str, float] = {}
    for clause in clauses:
        known = [rule for words, rule in CLAUSES.items() if re.fullmatch(words, clause)]
        capping = [rule for words, rule in CAPS.items() if re.fullmatch(words, clause)]
        assert known or capping, f"unknown clause: {clause!r}"
        for rule in known:
            allowed.update(rule(seen))
        for rule in capping:
            caps |= rule(seen)
    allowed["reads"] = allowed["fetches"]
    for kind, count in happened.items():
        limit = min(allowed[kind], caps.get(kind, allowed[kind]))
        assert count <= limit, f"{kind}: {count}, the line allows {limit}: {clauses}"
