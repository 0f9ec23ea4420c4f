"""The groups of the index suite: what each covers, and how long it takes on a machine of ours.

"core" is the table that the targets are about. The others are lines through the space, not its full product: each varies one
dimension around the default of :class:`~bench.index.shape.Shape`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from bench.data import KeyWidth
from bench.index.budget import run_budget
from bench.index.busy import run_busy, run_size
from bench.index.draws import ACCESSES
from bench.index.lines import Lines, Read, run_lines
from bench.index.opening import run_killed
from bench.index.scale import FULL, QUICK, Scale
from bench.index.shape import Shape
from bench.index.suite import run_core
from bench.index.ticks import run_ticks
from bench.index.ycsb import run_ycsb
from bench.peers import POLICY_PEERS
from bench.session import QUICK_S, Session

__all__ = ["GROUPS", "Group", "run_groups"]

_QUICK_SCALE = 0.02

_DEFAULT = Shape()

_LARGEST = Shape(entries=10_000_000, load_limit_s=240)

_SIZES = (
    *(Shape(entries=entries) for entries in (10_000, 100_000, 1_000_000)),
    _LARGEST,
    *(Shape(entries=entries, value_bytes=256) for entries in (10_000, 100_000, 1_000_000)),
    replace(_LARGEST, value_bytes=256),
    *(Shape(entries=entries, value_bytes=4096) for entries in (10_000, 100_000, 1_000_000)),
)

_WIDTHS = (KeyWidth(24, 24), KeyWidth(32, 32), KeyWidth(64, 64), KeyWidth(24, 64))

_POINTS = (Read("get"), Read("missing"), Read("get_many"), Read("scan"))

_LINES: dict[str, Lines] = {
    "sizes": Lines(_SIZES, _POINTS, ("put", "space", "reopen", "memory")),
    "policies": Lines(
        (Shape(buffer_bytes=1 << 20, overwrites=0.5),), _POINTS, ("put", "space", "reopen"), POLICY_PEERS, compact=False
    ),
    "keys": Lines(tuple(Shape(width=width) for width in _WIDTHS), _POINTS, ("put", "space")),
    "access": Lines(
        (_DEFAULT,),
        (
            *(Read("get", access) for access in ACCESSES),
            *(Read("get_many", access) for access in ACCESSES),
            *(Read("scan", access) for access in ("uniform", "zipfian")),
            Read("chain"),
        ),
        (),
    ),
    "open": Lines(tuple(Shape(entries=entries) for entries in (10_000, 100_000, 1_000_000)), (), ("reopen",)),
}

_BUDGETS = (32 << 20, 64 << 20)
"""Bytes of cache: a million entries of 28 bytes (60 MB) do not fit the first and fit the second."""

_KILLED = (Shape(entries=10_000), Shape(entries=100_000), Shape(entries=1_000_000))

_RECORDS = (_DEFAULT, Shape(entries=200_000, value_bytes=1000))
"""The second has YCSB's own record size."""


@dataclass(frozen=True, slots=True)
class Group:
    """A part of the suite with a table of its own."""

    what: str
    """What it covers, for --help and for the table."""
    minutes: int
    """What it takes, about, on an idle machine with 2 cores."""
    limit_minutes: int
    """When what is left of it is skipped, unless told otherwise."""
    run: Callable[[Session], None]


def _lines(name: str) -> Callable[[Session], None]:
    return lambda session: run_lines(session, name, _LINES[name])


def _core(session: Session) -> None:
    scales = QUICK if session.request.quick else FULL
    run_core(session, tuple(_scaled(scale, session.request.scale) for scale in scales))


def _scaled(scale: Scale, factor: float) -> Scale:
    """A try-out of the core: fewer entries, and less work in a round."""
    if factor >= 1:
        return scale
    entries = max(3_000, int(scale.entries * factor))
    singles, keys = max(50, int(scale.singles * factor)), max(256, int(scale.keys * factor))
    return replace(scale, entries=entries, singles=singles, keys=keys)


def _latency(session: Session) -> None:
    run_ticks(session, "latency: ticks")
    run_busy(session, "latency: gets beside compactions")
    run_size(session, "latency: gets by size", _DEFAULT)


def _open(session: Session) -> None:
    run_lines(session, "open", _LINES["open"])
    run_killed(session, "open", _KILLED)


GROUPS: dict[str, Group] = {
    "core": Group("every operation at 1M x 28 B and 200k x 256 B; the targets are about these", 7, 30, _core),
    "sizes": Group("28 B, 256 B and 4 KiB values; 10k to 10M entries (4 KiB: to 1M)", 70, 150, _lines("sizes")),
    "policies": Group(
        "each compaction policy, half of the entries overwritten, as it leaves the tree", 3, 15, _lines("policies")
    ),
    "keys": Group("24 B, 32 B and 64 B keys, and mixed from 24 B to 64 B", 8, 30, _lines("keys")),
    "access": Group("uniform, zipfian, latest, and prefixes of conversations", 4, 15, _lines("access")),
    "ycsb": Group("YCSB A to F", 6, 30, lambda session: run_ycsb(session, "ycsb", _RECORDS)),
    "latency": Group("5 ms ticks beside puts; get p99 beside compactions, and with 1M over 10k entries", 18, 45, _latency),
    "memory": Group(
        "gets and memory together, with 32 MiB and 64 MiB of cache", 6, 20, lambda session: run_budget(session, _BUDGETS)
    ),
    "open": Group("opening after a close and after a kill, closing; 10k to 1M entries (10M: sizes)", 8, 25, _open),
}


def run_groups(session: Session, names: list[str]) -> None:
    """Every group of these, each within its time."""
    for number, name in enumerate(names):
        limit = min(session.request.limit_s, GROUPS[name].limit_minutes * 60)
        session.ends = time.monotonic() + limit
        if session.request.quick:
            session.ends = min(session.ends, session.began + QUICK_S)
        if session.request.quick and name != "core":  # the core has a quick size of its own
            session.request = replace(session.request, scale=min(session.request.scale, _QUICK_SCALE))
        task = session.progress.add_task(f"group {name}", total=len(names), completed=number)
        GROUPS[name].run(session)
        session.progress.remove_task(task)
