"""Does the model tell the truth? The engine on a grid of trees, growing and overwritten, beside what was predicted of it.

For each cell (size ratio, policy, filters) one store takes in all keys, measured twice while it *grows*, the last time with its
last level half full where the size ratio lets it be; then keys are overwritten at random until the last level has gone round,
and the *steady* costs are those of a whole last-level cycle, lookups and scans at moments spread over it, in no step with
any level.

Processor seconds are those of a store without a block cache: what a cache holds just then would tell more of them than the tree.

What is predicted follows from the settings alone: the policy is walked on paper (:mod:`lsmkv.cost.walk`), and
:func:`lsmkv.cost.predict` counts what that tree costs. It never sees a rate, a count or a byte of the store. When each moment
comes is decided by the same walk, before the store is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from statistics import fmean

import numpy as np

from lsmkv.cost.choice import judge
from lsmkv.cost.grids import shape_name
from lsmkv.cost.model import predict
from lsmkv.cost.records import Workload
from lsmkv.cost.typical import GOLDEN
from lsmkv.cost.walk import Walk, walks
from lsmkv.errors import InvalidArgumentError
from lsmkv.lab.measures import COSTS, LONG_RUN, LONG_RUN_COSTS, PASSES, Measure, measures, predicted
from lsmkv.lab.subject import Setup, Subject
from lsmkv.lab.tidy import Record, Rows, digest, version
from lsmkv.policy.base import Policy
from lsmkv.policy.fluid import Fluid
from lsmkv.policy.lazy_leveling import LazyLeveling
from lsmkv.policy.leveled import Leveled
from lsmkv.policy.tiered import Tiered
from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv.version.shape import TreeShape

__all__ = ["FILTERS", "RATIOS", "Plan", "Sizes", "grid", "plan_cell", "run_cell", "validate"]

RATIOS = (2, 4, 6, 10)
FILTERS = ("monkey", "uniform")
BETWEEN = {4: 2, 6: 2, 10: 3}
"""K of the policy between leveled and lazy leveling, by size ratio."""

NOT_COUNTED = Measure(None, 0)

SCAN = 32
MOST_ROUNDS = 8
"""Times all keys are overwritten, at most, while the last level is waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How large the experiment is. Raises InvalidArgumentError for what cannot be."""

    entries: int = 543_000
    """Keys. With arrivals of 1,000 a tree of size ratio 10 is half full (543 to base 10), and all have three levels or more."""
    flush_entries: int = 500
    level0_runs: int = 1
    moments: int = 30
    """Looks at a tree in steady state. A look at one that grows is as long as all of them together."""
    absent: int = 4_000
    """Lookups of absent keys at each moment."""
    present: int = 1_400
    """Lookups of present keys: few meet a false positive, and 12,000 in a row could not tell 0.005 of a block for certain."""
    scans: int = 70

    def __post_init__(self) -> None:
        """Refuse what cannot be, naming the field."""
        for name in ("entries", "flush_entries", "moments", "absent", "present", "scans"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidArgumentError(f"{name}: must be a whole number of at least 1, not {value!r}")
        if self.entries < 20 * self.flush_entries:
            raise InvalidArgumentError(
                f"entries: must be at least 20 flushes ({20 * self.flush_entries:,}), not {self.entries:,}"
            )

    @property
    def flushes(self) -> int:
        """Of the load."""
        return self.entries // self.flush_entries


@dataclass(slots=True)
class Moment:
    """When to look, and what the walk says of it."""

    flushes: int
    """Since the phase began."""
    said: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Plan:
    """A cell, decided before any store is opened."""

    setup: Setup
    sizes: Sizes
    grown: list[Moment]
    warm: int
    """Flushes of overwriting before the window."""
    window: int
    """Flushes of the window: whole cycles of the last level."""
    steady: list[Moment]
    passes: float = 0.0
    """Of merges (:class:`lsmkv.cost.walk.Walk`), per entry written in the window."""
    long_run: dict[str, float] = field(default_factory=dict)
    """Blocks of each operation as :func:`lsmkv.cost.best_shape` reckons with them."""


def grid(ratios: Sequence[int] = RATIOS) -> list[Policy]:
    """Leveled, one K between (from size ratio 4), lazy leveling and tiered for each size ratio; at 2 they are one."""
    policies: list[Policy] = []
    for ratio in ratios:
        policies.append(Leveled(ratio))
        if ratio > 3:
            policies.append(Fluid(ratio, K=BETWEEN.get(ratio, 2), Z=1))
        if ratio > 2:
            policies += [LazyLeveling(ratio), Tiered(ratio)]
    return policies


def plan_cell(policy: Policy, filters: str, sizes: Sizes, seed: int) -> Plan:
    """When to look at this cell, and what will be seen, from the settings alone. I/O: none."""
    setup = Setup(
        policy=policy,
        filters=filters,
        flush_entries=sizes.flush_entries,
        level0_runs=sizes.level0_runs,
        block_cache_bytes=0,
        seed=seed,
    )
    grown = [round(sizes.flushes * part) for part in (0.6, 1.0)]
    load = list(_walk(setup, sizes.flushes, None, None))
    plan = Plan(setup, sizes, [], 0, 0, [])
    for flushes in grown:
        at = load[flushes - 1]
        said = _said(at.shape, setup, None)
        entries = flushes * sizes.flush_entries
        writes = _said_writes(sum(at.written) / entries, said, setup) | {PASSES: at.passes / entries}
        plan.grown.append(Moment(flushes, said | writes))
    live = sizes.flushes * sizes.flush_entries
    walked = list(_walk(setup, MOST_ROUNDS * sizes.flushes, load[-1].shape, live))
    steps = [at.shape for at in walked]
    rounds = _rounds(steps, live)
    least = sizes.flushes // 3
    plan.warm = next((at for at in rounds if at >= least), 0)
    plan.window = next((at for at in rounds if at >= plan.warm + 2 * least), 0) - plan.warm
    if not plan.warm or plan.window <= 0:
        raise InvalidArgumentError(f"entries: the last level of {shape_name(policy)} does not go round twice in so few writes")
    window = (plan.warm, plan.warm + plan.window)
    begun, ended = (walked[flushes - 1].passes for flushes in window)
    passes = {PASSES: (ended - begun) / (plan.window * sizes.flush_entries)}
    for number in range(sizes.moments):
        flushes = 1 + int((0.5 + number * GOLDEN) % 1 * (plan.window - 1))  # in no step with any level
        plan.steady.append(Moment(flushes, _said(steps[plan.warm + flushes - 1], setup, live) | passes))
    plan.steady.sort(key=lambda moment: moment.flushes)
    plan.long_run = _said_for_long(setup, live)
    return plan


def _walk(setup: Setup, flushes: int, start: TreeShape | None, live: int | None) -> Iterator[Walk]:
    """The cell's policy on paper, flush after flush."""
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
    return islice(walked, 1, flushes + 1)


def _rounds(steps: Sequence[TreeShape], live: int) -> list[int]:
    """Flushes after which the last level has just become one run that holds (nearly) all keys."""
    found: list[int] = []
    before = 0
    for flushes, shape in enumerate(steps, 1):
        runs = shape.levels[-1].runs
        if len(runs) == 1 and runs[0].entries > 0.9 * live and runs[0].tables[0].number != before:
            found.append(flushes)
        before = runs[0].tables[0].number if runs else 0
    return found


def _said(shape: TreeShape, setup: Setup, live: int | None) -> dict[str, float]:
    """What the model says of a shape."""
    return predicted(predict(Workload(scan_entries=SCAN, live_entries=live), shape, setup.system()))


def _said_for_long(setup: Setup, live: int) -> dict[str, float]:
    """What the model says on average over a cycle: the numbers by which :func:`lsmkv.cost.best_shape` chooses."""
    blocks = judge(setup.policy, Workload(scan_entries=SCAN, live_entries=live), setup.system()).blocks
    return dict(zip(LONG_RUN_COSTS, blocks.vector, strict=True))


def _said_writes(copies: float, said: dict[str, float], setup: Setup) -> dict[str, float]:
    """What writing from an empty tree on costs: exactly counted, no average over time."""
    per_copy = said["write_amplification"] / said["update_copies"]
    blocks = (2 * copies - 1) / setup.system().block_entries
    return {"update_copies": copies, "update_blocks": blocks, "write_amplification": copies * per_copy}


def run_cell(plan: Plan) -> Iterator[Record]:
    """Run the engine and yield the cell's rows, those of growing first. I/O: in memory."""
    subject = Subject(plan.setup, MemoryFileSystem(), "/lab")
    try:
        rng = np.random.default_rng(plan.setup.seed)
        yield from _grow(plan, subject, rng)
        yield from _overwrite(plan, subject, rng)
    finally:
        subject.close()


def _grow(plan: Plan, subject: Subject, rng: np.random.Generator) -> Iterator[Record]:
    """Load, with a look at each moment."""
    done = 0
    for moment in plan.grown:
        subject.put_new((moment.flushes - done) * plan.sizes.flush_entries)
        done = moment.flushes
        _look(plan, subject, rng, plan.sizes.moments)
        phase = "growing" if moment is plan.grown[-1] else "growing, 60 %"
        yield from _rows(plan, phase, [moment.said], measures(subject), subject)
        subject.tallies = {"put": subject.tallies["put"]}


def _overwrite(plan: Plan, subject: Subject, rng: np.random.Generator) -> Iterator[Record]:
    """Warm up, then one window of whole cycles; tallies run through all of it."""
    each, keys = plan.sizes.flush_entries, subject.born
    for _ in range(plan.warm):
        subject.overwrite(rng.integers(0, keys, each))
    subject.reset()
    spaces, done = [], 0
    for moment in plan.steady:
        for _ in range(moment.flushes - done):
            subject.overwrite(rng.integers(0, keys, each))
        done = moment.flushes
        _look(plan, subject, rng, 1)
        spaces.append(subject.space_amplification())
    for _ in range(plan.window - done):
        subject.overwrite(rng.integers(0, keys, each))
    found = measures(subject) | {"space_amplification": Measure(fmean(spaces), len(spaces))}
    yield from _rows(plan, "steady", [moment.said for moment in plan.steady], found, subject)
    same = {name: found[name] for name in LONG_RUN_COSTS}
    subject.reset()
    yield from _rows(plan, LONG_RUN, [plan.long_run], same, subject)


def _look(plan: Plan, subject: Subject, rng: np.random.Generator, times: int) -> None:
    """Lookups and scans on the tree as it is, ``times`` as many as at a moment, so that each row rests on as many."""
    subject.absent(rng.integers(0, subject.born, times * plan.sizes.absent))
    subject.present(rng.integers(0, subject.born, times * plan.sizes.present))
    scans = times * plan.sizes.scans
    subject.scans(rng.integers(0, subject.born, scans), [SCAN] * scans)


def _rows(
    plan: Plan, phase: str, said: Sequence[dict[str, float]], found: dict[str, Measure], subject: Subject
) -> Iterator[Record]:
    """Each cost as a row, then processor seconds of each kind of operation."""
    setup = plan.setup
    geometry = getattr(setup.policy, "geometry")  # noqa: B009 - of the continuum, which Policy does not promise
    settings = {
        "experiment": "validate",
        "phase": phase,
        "policy": shape_name(setup.policy),
        "size_ratio": geometry.size_ratio,
        "filters": setup.filters,
    }
    origin = {"seed": setup.seed, "version": version(), "config": digest({**asdict(plan.sizes), **settings})}
    for name in (*COSTS, PASSES):
        if name not in said[0]:
            continue
        one = found.get(name, NOT_COUNTED)
        yield {
            **settings,
            "cost": name,
            "predicted": fmean(at[name] for at in said),
            "measured": one.value,
            "operations": one.operations,
            "false_positives": one.false_positives,
            **origin,
        }
    for kind, tally in subject.tallies.items():
        yield {
            **settings,
            "cost": f"{'write' if kind in ('put', 'overwrite') else kind}_cpu_s",
            "predicted": None,
            "measured": tally.cpu_s / tally.operations,
            "operations": tally.operations,
            "false_positives": None,
            **origin,
        }


def validate(
    sizes: Sizes | None = None,
    ratios: Sequence[int] = RATIOS,
    filters: Sequence[str] = FILTERS,
    *,
    seed: int = 0,
    watch: Callable[[Policy, str], None] | None = None,
) -> Rows:
    """Run the whole grid: tidy rows of every cost, predicted and measured, for :mod:`lsmkv.lab.scores` to judge.

    ``sizes``: None for half a million keys, about 30 s of processor time a cell, 26 cells. ``watch`` is told of each cell before
    it runs. The same seed gives the same counts.

    Raises InvalidArgumentError for sizes, ratios and filters that cannot be.

    I/O: none, the stores are in memory.
    """
    rows: list[Record] = []
    for policy in grid(ratios):
        for one in filters:
            if watch is not None:
                watch(policy, one)
            rows += run_cell(plan_cell(policy, one, sizes or Sizes(), seed))
    return Rows("validate", tuple(rows))
