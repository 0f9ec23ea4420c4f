"""One random program of 2,000 operations, told to stores that differ in everything an owner may choose: the same answers.

Rows differ in policies (switched while open, greedily or lazily, some at reopening), memtable, buffer and cache sizes, filters,
compression, schedulers and bounds; what may be seen of a store must not. The answers are those of a dict.
"""

from __future__ import annotations

import functools
import random
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

import lsmkv
from lsmkv.env.rng import seeded
from lsmkv.maintain.scheduler import ManualScheduler, ThreadedScheduler
from lsmkv.policy import FIFO, Fluid, LazyLeveling, Leveled, Tiered
from lsmkv.testing import DictOracle, ManualClock, MemoryFileSystem

from .own_policy import Stacked

DOCS = Path(__file__).parents[1] / "docs/policies"


def documented() -> Any:
    """The policy of docs/policies/custom.md, importable by its name as the page tells its readers to make it."""
    found = spec_from_file_location("binary_counter", DOCS / "binary_counter.py")
    assert found is not None
    assert found.loader is not None
    sys.modules["binary_counter"] = module = module_from_spec(found)
    found.loader.exec_module(module)
    return module.BinaryCounter


BinaryCounter = documented()
Op = tuple[Any, ...]
OPERATIONS = 2_000
PHASE = 250
EVERYWHERE = 1
"""The seed of the program that every row plays."""
ELSEWHERE = [2, 3]
"""Seeds of programs for some rows each, so that the file stays quick."""
KEEPS_ALL = FIFO(capacity_bytes=1 << 40)

PLAIN: dict[str, Any] = {
    "memtable_bytes": 16 << 10,
    "table_bytes": 4 << 10,
    "block_bytes": 512,
    "level0_runs": 2,
    "level0_stop_runs": 8,
    "block_cache_bytes": 1 << 16,
}
"""What a row changes of these, and ``policies`` (switched to in turn, the first at creation), ``pace``, ``reopen_with``."""

ROWS: dict[str, dict[str, Any]] = {
    "leveled": {"policies": [Leveled(size_ratio=4)]},
    "leveled, ratio 2, one run at level 0": {"policies": [Leveled(size_ratio=2)], "level0_runs": 1},
    "leveled, ratio 10, cache off": {"policies": [Leveled(size_ratio=10)], "block_cache_bytes": 0, "level0_runs": 4},
    "tiered": {"policies": [Tiered(size_ratio=4)], "filter_allocation": "uniform"},
    "tiered, ranges never key by key": {"policies": [Tiered(size_ratio=3)], "range_delete_keys": 0},
    "partial, ranges never key by key, cache off": {
        "policies": [Leveled(size_ratio=2, partial="oldest")],
        "table_bytes": 1 << 10,
        "range_delete_keys": 0,
        "block_cache_bytes": 0,
    },
    "fifo, switched, ranges mostly not key by key": {"policies": [KEEPS_ALL, Leveled(3), Tiered(3)], "range_delete_keys": 4},
    "threads, ranges never key by key": {
        "policies": [Leveled(3), LazyLeveling(4)],
        "scheduler": ThreadedScheduler,
        "level0_runs": 1,
        "memtable_bytes": 4 << 10,
        "range_delete_keys": 0,
    },
    "tiered, one run at level 0, no filters": {"policies": [Tiered(size_ratio=3)], "level0_runs": 1, "filter_bits_per_key": 0},
    "lazy leveling": {"policies": [LazyLeveling(size_ratio=3)], "memtable": "sorteddict", "filter_bits_per_key": 1},
    "fluid, several runs at the last level": {"policies": [Fluid(size_ratio=7, K=3, Z=2)], "level0_runs": 1},
    "fluid, K by level, zstd": {"policies": [Fluid(size_ratio=4, K=(3, 1), Z=2)], "compression": "zstd", "level0_runs": 1},
    "partial, least overlap": {"policies": [Leveled(size_ratio=2, partial="least_overlap")], "table_bytes": 1 << 10},
    "partial, oldest": {"policies": [Leveled(size_ratio=3, partial="oldest")], "table_bytes": 2 << 10, "level0_runs": 1},
    "partial, round robin": {"policies": [Leveled(size_ratio=2, partial="round_robin")], "table_bytes": 1 << 10},
    "partial, most tombstones": {
        "policies": [Leveled(size_ratio=2, partial="most_tombstones")],
        "table_bytes": 1 << 10,
        "tombstone_age_s": 3.0,
    },
    "custom": {"policies": [Stacked(most=4)], "compression": ("none", "zstd")},
    "custom, the one of the docs": {"policies": [BinaryCounter(), Tiered(3), BinaryCounter(ratio=3.0)], "level0_runs": 1},
    "fifo that keeps everything": {"policies": [KEEPS_ALL], "level0_runs": 4},
    "leveled, tiered, lazy, fluid and back, greedily": {
        "policies": [Leveled(4), Tiered(4), LazyLeveling(4), Fluid(4, K=2, Z=1), Leveled(4)],
        "level0_runs": 1,
        "memtable_bytes": 4 << 10,
    },
    "leveled, tiered, lazy, fluid and back, lazily": {
        "policies": [Leveled(4), Tiered(4), LazyLeveling(4), Fluid(4, K=2, Z=1), Leveled(4)],
        "pace": "lazy",
        "level0_runs": 1,
        "memtable_bytes": 4 << 10,
    },
    "size ratio up and down, filters off": {
        "policies": [Leveled(2), Leveled(8), Leveled(3), Tiered(6), Tiered(2)],
        "filter_bits_per_key": 0,
        "level0_runs": 1,
    },
    "size ratio up and down, lazily, cache off": {
        "policies": [Tiered(5), Tiered(2), Leveled(6), LazyLeveling(2), LazyLeveling(6)],
        "pace": "lazy",
        "block_cache_bytes": 0,
    },
    "everything into partial and out of it": {
        "policies": [Tiered(4), Leveled(2, partial="oldest"), Stacked(), Fluid(3, K=(2, 1), partial="round_robin"), KEEPS_ALL],
        "table_bytes": 1 << 10,
        "tombstone_age_s": 2.0,
        "compression": "zstd",
    },
    "another policy at every reopening": {
        "policies": [Tiered(3), Leveled(3), Stacked(3), LazyLeveling(3)],
        "reopen_with": [Leveled(5), None, Tiered(2), KEEPS_ALL, Fluid(5, K=2, Z=2)],
        "memtable": "sorteddict",
    },
    "tombstones of at most a second": {"policies": [Tiered(6)], "tombstone_age_s": 1.0, "level0_runs": 4},
    "tombstones of at most a second, switched lazily": {
        "policies": [Tiered(6), Leveled(2), LazyLeveling(4)],
        "pace": "lazy",
        "tombstone_age_s": 1.0,
        "level0_runs": 1,
    },
    "tiny buffers and blocks": {
        "policies": [LazyLeveling(2), Leveled(4)],
        "memtable_bytes": 4 << 10,
        "block_bytes": 64,
        "block_cache_bytes": 4 << 10,
        "max_open_tables": 4,
    },
    "threads, leveled": {"policies": [Leveled(3)], "scheduler": ThreadedScheduler},
    "threads, switched greedily": {
        "policies": [Tiered(4), Leveled(3), LazyLeveling(4), Fluid(5, K=2, Z=2)],
        "scheduler": ThreadedScheduler,
        "level0_runs": 1,
        "memtable_bytes": 4 << 10,
        "memtable": "sorteddict",
    },
    "threads, switched lazily, old tombstones, cache off": {
        "policies": [Leveled(2, partial="least_overlap"), Tiered(3), Stacked(), Leveled(3, partial="oldest")],
        "pace": "lazy",
        "scheduler": ThreadedScheduler,
        "tombstone_age_s": 0.01,
        "block_cache_bytes": 0,
        "table_bytes": 1 << 10,
    },
}


class Author:
    """Writes a program: operations in any order, drawn from a seed alone."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.open: list[int] = []
        self.snapshots = 0
        self.writes = 0

    def key(self) -> bytes:
        """Mostly one of 400 of equal width, the low ones more often; some odd ones."""
        if self.rng.random() < 0.06:
            return self.rng.choice([b"", b"\0", b"k", b"k0", b"k0001\0", b"k01" * 9, b"\xff\xff", b"zz"])
        return b"k%04d" % int(400 * self.rng.random() ** 2)

    def keys(self, most: int) -> list[bytes]:
        """Some in any order, or neighbours."""
        if self.rng.random() < 0.5:
            return [self.key() for _ in range(self.rng.randrange(most))]
        first = self.rng.randrange(400)
        return [b"k%04d" % k for k in range(first, first + self.rng.randrange(most))]

    def value(self) -> bytes:
        """Told apart from every other one."""
        self.writes += 1
        return b"%d." % self.writes + b"v" * self.rng.choice([0, 3, 20, 20, 200])

    def bounds(self) -> tuple[bytes | None, bytes | None]:
        """Any two, in any order."""
        return tuple(None if self.rng.random() < 0.25 else self.key() for _ in range(2))

    def operation(self) -> Op:
        """The next one."""
        kinds = {
            "put": 22, "delete": 9, "write": 6, "put_many": 6, "delete_many": 4, "delete_range": 2, "get": 20,
            "get_many": 6, "contains_many": 3, "scan": 6, "snapshot": 2, "read": 3.5, "release": 1, "flush": 2,
            "compact": 0.7, "step": 3, "settle": 1.5, "reopen": 0.5, "set_policy": 0.8, "tick": 2, "sync": 0.5,
            "idle_scan": 0.7,
        }  # fmt: skip
        kind = self.rng.choices(list(kinds), list(kinds.values()))[0]
        return getattr(self, f"_{kind}", lambda: (kind,))()

    def _put(self) -> Op:
        return "put", self.key(), self.value()

    def _delete(self) -> Op:
        return "delete", self.key()

    def _write(self) -> Op:
        return "write", [(k, None if self.rng.random() < 0.3 else self.value()) for k in self.keys(12)]

    def _put_many(self) -> Op:
        return "put_many", [(k, self.value()) for k in self.keys(30)]

    def _delete_many(self) -> Op:
        return "delete_many", self.keys(30)

    def _delete_range(self) -> Op:
        """Mostly some neighbours, now and then half of all."""
        first = self.rng.randrange(400)
        last = first + (self.rng.randrange(1, 20) if self.rng.random() < 0.9 else 200)
        return "delete_range", b"k%04d" % first, b"k%04d" % last if last < 400 else None

    def _get(self) -> Op:
        return "get", self.key()

    def _get_many(self) -> Op:
        return "get_many", self.keys(40)

    def _contains_many(self) -> Op:
        return "contains_many", self.keys(40)

    def _scan(self) -> Op:
        prefix = self.rng.choice([None, None, b"k", b"k0", b"k01", b"k037", b"", b"no"])
        return "scan", self.bounds(), prefix, self.rng.random() < 0.4

    def _idle_scan(self) -> Op:
        """A scan that stands still while its answer is waited for: the store works on before it is read to its end."""
        return "idle_scan", self.bounds(), self.rng.random() < 0.4, [(self.key(), self.value()) for _ in range(30)]

    def _snapshot(self) -> Op:
        if len(self.open) == 4:
            return self._release()
        self.snapshots += 1
        self.open.append(self.snapshots)
        return "snapshot", self.snapshots

    def _read(self) -> Op:
        if not self.open:
            return self._snapshot()
        return "read", self.rng.choice(self.open), self.keys(30), self.bounds(), self.rng.random() < 0.4

    def _release(self) -> Op:
        if not self.open:
            return self._get()
        return "release", self.open.pop(self.rng.randrange(len(self.open)))

    def _compact(self) -> Op:
        return "compact", self.bounds()

    def _reopen(self) -> Op:
        self.open.clear()
        return ("reopen",)


@functools.cache
def program(seed: int) -> list[tuple[Op, Any]]:
    """A program, and what every operation has to answer."""
    author, oracle = Author(seed), DictOracle()
    views: dict[int, DictOracle] = {}
    ops = [*(author.operation() for _ in range(OPERATIONS)), ("scan", (None, None), None, False)]
    return [(op, _expected(oracle, views, op)) for op in ops]


def _expected(oracle: DictOracle, views: dict[int, DictOracle], op: Op) -> Any:
    """What a dict answers to an operation; None for those that have no answer."""
    match op:
        case ("put", key, value):
            oracle.put(key, value)
        case ("delete", key):
            oracle.delete(key)
        case ("write" | "put_many", pairs):
            oracle.write(pairs)
        case ("delete_many", keys):
            oracle.write([(k, None) for k in keys])
        case ("delete_range", start, stop):
            oracle.delete_range(start, stop)
        case ("get", key):
            return oracle.get(key)
        case ("get_many", keys):
            return oracle.get_many(keys)
        case ("contains_many", keys):
            return [v is not None for v in oracle.get_many(keys)]
        case ("scan", (start, stop), prefix, reverse):
            return oracle.scan(start, stop, prefix=prefix, reverse=reverse)
        case ("idle_scan", (start, stop), reverse, pairs):
            before = oracle.scan(start, stop, reverse=reverse)
            oracle.write(pairs)
            return before
        case ("snapshot", name):
            views[name] = oracle.snapshot()
        case ("read", name, keys, (start, stop), reverse):
            return views[name].get_many(keys), views[name].scan(start, stop, reverse=reverse)
    return None


class Player:
    """A store made as a row says, to which a program is told."""

    def __init__(self, row: dict[str, Any], seed: int) -> None:
        row = PLAIN | row
        self.policies = row.pop("policies")
        self.pace = row.pop("pace", "greedy")
        self.reopen_with = row.pop("reopen_with", [None])
        self.scheduler: Callable[[], Any] = row.pop("scheduler", ManualScheduler)
        self.row, self.seed = row, seed
        self.fs, self.clock = MemoryFileSystem(), ManualClock()
        self.switches = self.openings = 0
        self.snapshots: dict[int, lsmkv.Snapshot] = {}
        self.start(self.policies[0])

    def start(self, policy: Any) -> None:
        """Open."""
        more = {"fs": self.fs, "clock": self.clock, "rng": seeded(self.seed), "scheduler": self.scheduler(), "policy": policy}
        self.db = lsmkv.open("/db", lsmkv.Options(**self.row, **more))

    def close(self) -> None:
        """Close, whatever is open."""
        for snapshot in self.snapshots.values():
            snapshot.close()
        self.snapshots.clear()
        self.db.close()

    def do(self, op: Op) -> Any:
        """The store's answer to an operation."""
        db, answer = self.db, None
        match op:
            case ("put", key, value):
                db.put(key, value)
            case ("delete", key):
                db.delete(key)
            case ("write", pairs):
                batch = lsmkv.WriteBatch()
                for key, value in pairs:
                    if value is None:
                        batch.delete(key)
                    else:
                        batch.put(key, value)
                db.write(batch)
            case ("put_many", pairs):
                db.put_many(pairs)
            case ("delete_many", keys):
                db.delete_many(keys)
            case ("delete_range", start, stop):
                db.delete_range(start, stop)
            case ("get", key):
                answer = db.get(key)
            case ("get_many", keys):
                answer = db.get_many(keys)
            case ("contains_many", keys):
                answer = db.contains_many(keys).tolist()
            case ("scan", (start, stop), prefix, reverse):
                answer = list(db.scan(start, stop, prefix=prefix, reverse=reverse))
            case ("idle_scan", (start, stop), reverse, pairs):
                scan = iter(db.scan(start, stop, reverse=reverse))
                first = [pair for pair in [next(scan, None)] if pair]
                db.put_many(pairs)
                db.flush()
                db.settle()
                answer = first + list(scan)
            case ("snapshot", name):
                self.snapshots[name] = db.snapshot()
            case ("read", name, keys, (start, stop), reverse):
                view = self.snapshots[name]
                answer = view.get_many(keys), list(view.scan(start, stop, reverse=reverse))
                assert [view.get(k) for k in keys] == answer[0]
            case ("release", name):
                self.snapshots.pop(name).close()
            case ("compact", (start, stop)):
                db.compact(start, stop)
            case ("tick",):
                self.clock.advance(0.7)
            case ("set_policy",):
                self.switches += 1
                db.set_policy(self.policies[self.switches % len(self.policies)], self.pace)
            case ("reopen",):
                self.close()
                self.openings += 1
                self.start(self.reopen_with[self.openings % len(self.reopen_with)])
            case (simple,):
                getattr(db, simple)()
        return answer


@pytest.mark.parametrize(
    ("row", "seed"),
    [*((row, EVERYWHERE) for row in ROWS), *((row, ELSEWHERE[at // 6 % 2]) for at, row in enumerate(ROWS) if at % 6 == 2)],
)
def test_the_same_program_gets_the_same_answers_whatever_the_options(row: str, seed: int) -> None:
    player = Player(ROWS[row], seed)
    for at, (op, expected) in enumerate(program(seed)):
        got = player.do(op)
        assert got == expected, f"operation {at}: {op[0]} {str(op[1:])[:200]}"
        if at % PHASE == PHASE - 1:
            player.db.check()
    player.db.flush()
    player.db.settle()
    player.db.check()
    assert player.db.stats().background_failures == 0
    player.close()
    assert lsmkv.verify("/db", fs=player.fs).ok


def test_the_program_is_worth_telling() -> None:
    """Enough of everything, and rows enough."""
    assert len(ROWS) >= 20
    for seed in (EVERYWHERE, *ELSEWHERE):
        kinds = [op[0] for op, _ in program(seed)]
        assert len(kinds) > OPERATIONS
        least_of = {"set_policy": 8, "reopen": 4, "read": 40, "compact": 6, "idle_scan": 4, "scan": 80, "delete_range": 20}
        for kind, least in least_of.items():
            assert kinds.count(kind) >= least, kind
