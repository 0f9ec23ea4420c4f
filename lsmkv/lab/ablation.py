"""One workload on many trees: the engine run over a grid of policies, size ratios and filter allocations, beside the model.

Every cell is a fresh store. Its prediction follows from the settings alone: load and writes are walked on paper phase by phase
(:mod:`lsmkv.cost.walk`), and :func:`lsmkv.cost.predict` counts the tree at some moments of a phase; copies are the
walk's. What the model does not know shows in the rows: skewed keys, deletes, batches of neighbours.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from statistics import fmean

import numpy as np

from lsmkv.cost.copies import policy_geometry
from lsmkv.cost.grids import shape_name
from lsmkv.cost.model import predict
from lsmkv.cost.records import System
from lsmkv.cost.records import Workload as Rates
from lsmkv.cost.typical import GOLDEN
from lsmkv.cost.walk import Walk, walks
from lsmkv.env.fs import FileSystem
from lsmkv.env.posix import PosixFileSystem
from lsmkv.errors import InvalidArgumentError
from lsmkv.lab.measures import Measure, measures, predicted
from lsmkv.lab.numbers import policy_of
from lsmkv.lab.operations import run_phase
from lsmkv.lab.subject import Setup, Subject, Tally
from lsmkv.lab.tidy import Record, Rows, digest, version
from lsmkv.lab.workload import Phase, Workload
from lsmkv.policy.base import Policy
from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv.version.shape import TreeShape

__all__ = ["Cell", "ablate", "cells_of", "policies_of", "ratios_of", "run_cell"]

MOMENTS = 60
"""Trees of a phase that are counted, about."""
MOST_CELLS = 2_000
FILTERS = ("monkey", "uniform")


@dataclass(frozen=True, slots=True)
class Cell:
    """One tree, and the workload it gets."""

    setup: Setup
    workload: Workload
    slices: int
    store: str | None
    """Directory of a real file system; None: in memory."""


def ratios_of(text: str) -> list[int]:
    """``2..10``, ``2,4,6`` or a mixture, ascending. Raises InvalidArgumentError.

    >>> ratios_of("2..4,10")
    [2, 3, 4, 10]
    """
    found: set[int] = set()
    for part in text.split(","):
        low, dots, high = part.strip().partition("..")
        if not low.isdigit() or (dots and not high.isdigit()) or not 2 <= int(low) <= int(high or low) <= 64:
            raise InvalidArgumentError(f"size ratios: must be from 2 to 64, such as 2..10 or 2,4,10; not {part.strip()!r}")
        found |= set(range(int(low), int(high or low) + 1))
    return sorted(found)


def policies_of(texts: Iterable[str], ratios: Sequence[int]) -> list[Policy]:
    """Each policy at each size ratio, without the ratios at which its K or Z cannot be; parameters behind colons: ``fluid:K=3``.

    Policies that are the same point of the continuum (all of them, at size ratio 2) are taken once, the first one.

    Raises InvalidArgumentError for a policy that is none, and for one that fits no ratio.
    """
    made: list[Policy] = []
    for text in texts:
        parts = text.strip().split(":")
        name = ":".join(part for part in parts if "=" not in part)
        spelled = ",".join([name, *(part for part in parts if "=" in part)])
        fitting: list[Policy] = []
        refusal: InvalidArgumentError | None = None
        for ratio in ratios:
            try:
                fitting.append(policy_of(spelled, size_ratio=ratio))
            except InvalidArgumentError as error:
                refusal = error
        if not fitting:
            raise InvalidArgumentError(f"policies: {text.strip()!r}: {refusal}")
        made += fitting
    points: dict[object, Policy] = {}
    for policy in made:
        points.setdefault(_point(policy), policy)
    return list(points.values())


def _point(policy: Policy) -> object:
    """Where in the continuum a policy lies; any other is its own."""
    at = policy_geometry(policy)
    if at is None:
        return policy
    inner = tuple(-(-(at.size_ratio - 1) // k) for k in at.inner_runs)  # arrivals of a run: 5 and 9 runs of T = 10 differ in it
    return at.size_ratio, inner, -(-(at.size_ratio - 1) // at.last_runs), at.partial


def cells_of(
    workload: Workload,
    policies: Sequence[Policy],
    filters: Sequence[str] = FILTERS,
    *,
    filter_bits_per_key: float = 10.0,
    level0_runs: int = 1,
    slices: int = 8,
    store: str | None = None,
    seed: int = 0,
) -> list[Cell]:
    """The grid, policies outermost. Raises InvalidArgumentError naming what cannot be."""
    if not policies or not filters:
        raise InvalidArgumentError(f"{'policies' if not policies else 'filters'}: at least one is needed")
    for one in filters:
        if one not in FILTERS:
            raise InvalidArgumentError(f"filters: must be of {', '.join(FILTERS)}, not {one!r}")
    if not 0 < filter_bits_per_key <= 64:
        raise InvalidArgumentError(f"filter bits per key: must be above 0 and at most 64, not {filter_bits_per_key!r}")
    if not 1 <= slices <= 1_000:
        raise InvalidArgumentError(f"slices: must be from 1 to 1,000, not {slices!r}")
    if len(policies) * len(filters) > MOST_CELLS:
        raise InvalidArgumentError(f"the grid has {len(policies) * len(filters):,} cells: at most {MOST_CELLS:,}")

    def setup(policy: Policy, one: str) -> Setup:
        """How the store of a cell is made."""
        return Setup(
            policy=policy,
            filters=one,
            flush_entries=workload.memtable_entries,
            level0_runs=level0_runs,
            filter_bits_per_key=filter_bits_per_key,
            key_bytes=workload.key_bytes,
            value_bytes=workload.value_bytes,
            chain_keys=workload.chain_keys,
            seed=seed,
        )

    return [Cell(setup(policy, one), workload, slices, store) for policy in policies for one in filters]


def ablate(
    workload: Workload,
    policies: Sequence[Policy],
    filters: Sequence[str] = FILTERS,
    *,
    filter_bits_per_key: float = 10.0,
    level0_runs: int = 1,
    slices: int = 8,
    store: str | None = None,
    seed: int = 0,
    watch: Callable[[Cell], None] | None = None,
) -> Rows:
    """Run a workload on every policy with every filter allocation: tidy rows of what was predicted and measured.

    A row is one cost in one phase of one cell; ``slice`` 0 is the whole phase, 1 to ``slices`` its parts (measured only).
    ``policies``: e.g. of :func:`policies_of`. ``store``: a directory for real files (None: in memory). ``watch`` is told of
    each cell before it runs. The same seed gives the same counts; processor seconds (``.._cpu_s``) differ.

    Raises InvalidArgumentError for what cannot be, naming it.

    I/O: in memory, or temporary stores below ``store``.
    """
    cells = cells_of(
        workload,
        policies,
        filters,
        filter_bits_per_key=filter_bits_per_key,
        level0_runs=level0_runs,
        slices=slices,
        store=store,
        seed=seed,
    )
    rows: list[Record] = []
    for cell in cells:
        if watch is not None:
            watch(cell)
        rows += run_cell(cell)
    return Rows("ablate", tuple(rows))


def run_cell(cell: Cell) -> list[Record]:
    """Load a fresh store and run the phases. I/O: see :func:`ablate`."""
    said = _forecast(cell.setup, cell.workload)
    with _place(cell.store) as (fs, path):
        subject = Subject(cell.setup, fs, path)
        try:
            rng = np.random.default_rng(cell.setup.seed)
            subject.put_new(cell.workload.load)
            subject.rest()
            rows: list[Record] = []
            for number, phase in enumerate(cell.workload.phases):
                rows += _phase_rows(cell, subject, number, phase, rng, said[number])
            return rows
        finally:
            subject.close()


@contextmanager
def _place(store: str | None) -> Iterator[tuple[FileSystem, str]]:
    """Where the store is made; what is left of it goes."""
    if store is None:
        yield MemoryFileSystem(), "/lab"
        return
    with tempfile.TemporaryDirectory(dir=store, prefix="lsmkv-lab-") as directory:
        yield PosixFileSystem(), f"{directory}/store"


def _phase_rows(
    cell: Cell, subject: Subject, number: int, phase: Phase, rng: np.random.Generator, said: Mapping[str, float]
) -> Iterator[Record]:
    """One phase: rows of its slices, then of the whole."""
    subject.reset()
    name = f"{number + 1} {phase.name}"
    whole: dict[str, Tally] = {}
    for part, _ in enumerate(run_phase(subject, phase, rng, cell.slices), 1):
        if part == cell.slices:
            subject.rest()
        for kind, tally in subject.tallies.items():
            whole[kind] = whole[kind] + tally if kind in whole else tally
        yield from _told(cell, name, part, measures(subject), {})
        subject.reset()
    subject.tallies = whole
    yield from _told(cell, name, 0, measures(subject), said)
    for kind, tally in whole.items():
        if tally.operations:
            found = {f"{kind}_cpu_s": Measure(tally.cpu_s / tally.operations, tally.operations)}
            yield from _told(cell, name, 0, found, {})


def _told(cell: Cell, phase: str, part: int, found: Mapping[str, Measure], said: Mapping[str, float]) -> Iterator[Record]:
    """Rows of some costs."""
    setup = cell.setup
    settings = {
        "experiment": "ablate",
        "workload": cell.workload.name,
        "phase": phase,
        "slice": part,
        "policy": shape_name(setup.policy),
        "size_ratio": getattr(setup.policy, "size_ratio", None),
        "filters": setup.filters,
    }
    config = digest({"setup": repr(setup), "workload": cell.workload.to_dict(), "store": cell.store is not None})
    for name, one in found.items():
        yield {
            **settings,
            "cost": name,
            "predicted": said.get(name),
            "measured": one.value,
            "operations": one.operations,
            "false_positives": one.false_positives,
            "seed": setup.seed,
            "version": version(),
            "config": config,
        }


def _forecast(setup: Setup, workload: Workload) -> list[dict[str, float]]:
    """What each phase will cost, from the settings alone."""
    shape = _walk(setup, workload.load, None, None).shape
    live, overwrites = float(workload.load), False
    said: list[dict[str, float]] = []
    for phase in workload.phases:
        mix, operations = phase.mix, phase.operations
        writes = operations * mix.writes
        overwrites = overwrites or bool(mix.overwrite or mix.modify or mix.delete)
        shapes, walked = [shape], None
        if writes >= setup.flush_entries:
            keys = max(live, live + operations * (mix.put - mix.delete)) if overwrites else None
            walked = _walk(setup, writes, shape, keys, shapes)
            shape = walked.shape
        live = max(1.0, live + operations * (mix.put - mix.delete))
        system = replace(setup.system(), memtable_entries=setup.flush_entries / 2 if walked is not None else 0.0)
        looked = shapes
        if len(shapes) > MOMENTS:  # in no step with any level: every second tree may have an empty level 0
            looked = [shapes[int((0.5 + i * GOLDEN) % 1 * len(shapes))] for i in range(MOMENTS)]
        each = [predicted(predict(_rates(phase, at, system, live if overwrites else None), at, system)) for at in looked]
        costs = {name: fmean(one[name] for one in each) for name in each[0]}
        rest = replace(system, memtable_entries=0.0)
        last = predict(_rates(phase, shape, rest, live if overwrites else None), shape, rest)
        costs["space_amplification"] = last.space_amplification  # it is measured when the phase is over
        if walked is not None:
            copies = sum(walked.written) / (walked.flushes * setup.flush_entries)
            costs |= {name: costs[name] * copies / costs["update_copies"] for name in ("update_blocks", "write_amplification")}
            costs["update_copies"] = copies
        said.append(costs)
    return said


def _rates(phase: Phase, shape: TreeShape, system: System, live: float | None) -> Rates:
    """A phase in the model's words; no more keys can live than there are entries."""
    held = shape.entries + system.memtable_entries
    return Rates(scan_entries=phase.mean_scan, live_entries=None if live is None or held < 1 else min(live, held))


def _walk(
    setup: Setup, writes: float, start: TreeShape | None, live: float | None, shapes: list[TreeShape] | None = None
) -> Walk:
    """The policy on paper; ``shapes`` gets the tree after each flush."""
    walked = walks(
        setup.policy,
        setup.flush_entries,
        level0_runs=setup.level0_runs,
        entry_bytes=round(setup.system().file_entry_bytes),
        live_entries=live,
        filter_bits_per_key=setup.filter_bits_per_key,
        filter_allocation=setup.filters,
        start=start,
    )
    at = next(walked)
    for at in islice(walked, round(writes / setup.flush_entries)):
        if shapes is not None:
            shapes.append(at.shape)
    return at
