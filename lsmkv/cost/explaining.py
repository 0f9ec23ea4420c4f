"""Predicted beside measured, and what other shapes would cost: the record behind ``cost.explain`` and ``lsmkv explain``.

What is predicted is what the tree costs as it is now; what is measured is what the ledger counted since the policy was changed
last (since the store was created if it never was), or in a window. They agree where the tree was like this for most of that
time, which is what the columns are there to show. Copies of a store whose keys were all written once are predicted from its
beginning: the load of an empty tree is counted exactly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from lsmkv.base.ledger import Account
from lsmkv.cost.checks import able, made_of
from lsmkv.cost.choice import Judged, judge
from lsmkv.cost.copies import load_copies, policy_geometry
from lsmkv.cost.description import BLOCK_BYTES, system_of, workload_of
from lsmkv.cost.grids import named_shapes
from lsmkv.cost.ledger import OPEN_STORE, Measured, Store, measure, measured
from lsmkv.cost.model import predict
from lsmkv.cost.records import Cost, System, Workload
from lsmkv.cost.seconds import Seconds
from lsmkv.policy.base import Policy
from lsmkv.policy.registry import from_description
from lsmkv.version.shape import TreeShape

__all__ = ["Compared", "Explanation", "asked_of", "explain", "explain_tree"]

QUANTITIES = (
    "zero_lookup_blocks",
    "lookup_blocks",
    "zero_lookup_filter_checks",
    "lookup_filter_checks",
    "scan_blocks",
    "read_amplification",
    "update_copies",
    "write_amplification",
    "space_amplification",
)
LEVEL_QUANTITIES = ("false_positive_rate", "zero_lookup_blocks", "answers", "scan_blocks", "copies")
ONCE = 1.02
"""Entries written per entry that is there, up to which keys count as written once."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One quantity, of the whole tree or of a level."""

    name: str
    """As in :class:`lsmkv.cost.Cost` or :class:`lsmkv.cost.LevelCost`."""
    level: int | None
    """None: the whole tree."""
    predicted: float
    measured: float | None
    """None: nothing of its kind happened."""

    @property
    def error(self) -> float | None:
        """``predicted / measured - 1``; None if one of them says nothing."""
        return None if not self.measured else self.predicted / self.measured - 1


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a store costs, twice, and what it could cost."""

    workload: Workload
    system: System
    predicted: Cost
    measured: Measured
    compared: tuple[Compared, ...]
    """The whole tree first, then level by level."""
    now: Judged | None
    """The policy that it has, judged as the others; None: the tree is empty."""
    what_if: tuple[Judged, ...]
    """Other shapes, judged for the same workload, averaged over time."""

    def to_dict(self) -> dict[str, object]:
        """JSON-ready."""
        return {
            "workload": asdict(self.workload),
            "policy": repr(self.system.policy),
            "predicted": self.predicted.to_dict(),
            "measured": self.measured.to_dict(),
            "compared": [asdict(one) | {"error": one.error} for one in self.compared],
            "now": None if self.now is None else _judged(self.now),
            "what_if": [_judged(one) for one in self.what_if],
        }


def explain(
    store: Store,
    *,
    found: Measured | None = None,
    scan_entries: float = 32.0,
    live_entries: float | None = None,
    shapes: Iterable[Policy] | None = None,
    seconds: Seconds | None = None,
    scan: bool = False,
) -> Explanation:
    """What an open store costs, as predicted and as measured, and what the named shapes would cost.

    ``found``: what was measured in a window (None: since its policy was changed last, or since it was created). Nobody counts
    how long scans are and which keys are overwritten, so say so: ``scan_entries`` they returned, ``live_entries`` keys
    overwritten at random (None: each was written once). ``shapes``: other policies to judge (None: leveled, lazy leveling,
    tiered at size ratios 4 and 10).
    ``seconds``: prices (``cost.calibration()``). ``scan``: count what lives, for the measured space.

    Raises InvalidArgumentError for what is no store, and for a follower.

    I/O: none; with ``scan`` a scan of the whole store.
    """
    able("store", store, OPEN_STORE, "stats", "tree", "scan")
    whole = measured(store)
    stats, shape = store.stats(), store.tree()
    counted = made_of("found", found, Measured, "window.delta") if found is not None else measure(stats.since_switch, shape)
    if scan:  # after the counts were taken: they would have this scan among them
        live = sum(len(key) + len(value) for key, value in store.scan())
        counted = replace(counted, space_amplification=shape.bytes / live if live else None)
    options = getattr(store, "options", None)
    system = system_of(
        shape,
        from_description(getattr(stats, "policy", {})),
        block_bytes=getattr(options, "block_bytes", BLOCK_BYTES),
        block_cache_bytes=getattr(options, "block_cache_bytes", 0),
        memtable_entries=getattr(stats, "memtable_entries", 0),
        seconds=seconds,
    )
    asked = asked_of(counted.account, whole.account)
    return explain_tree(shape, counted, workload_of(asked, scan_entries, live_entries), system, shapes)


def asked_of(counted: Account, whole: Account) -> Account:
    """The account whose mix other shapes are judged by: the later one, or all there is if nothing was asked since."""
    asked = counted.absent or counted.gets.found or counted.scans or counted.entries
    return counted if asked else whole


def explain_tree(
    shape: TreeShape, found: Measured, workload: Workload, system: System, shapes: Iterable[Policy] | None = None
) -> Explanation:
    """The same for a tree that nobody has open: its shape, what was counted, workload and system as the caller knows them.

    Raises InvalidArgumentError.
    """
    said = predict(workload, shape, system)
    said = _since_the_beginning(said, shape, found, workload, system)
    others = tuple(named_shapes() if shapes is None else shapes) if shape.entries else ()
    return Explanation(
        workload=workload,
        system=system,
        predicted=said,
        measured=found,
        compared=(*_whole_tree(said, found), *_by_level(said, found)),
        now=judge(system.policy, workload, system) if shape.entries else None,
        what_if=tuple(judge(policy, workload, system) for policy in others),
    )


def _since_the_beginning(said: Cost, shape: TreeShape, found: Measured, workload: Workload, system: System) -> Cost:
    """The prediction with the copies of a load, if that is what filled the tree: exact where the average over time is not."""
    geometry, written = policy_geometry(system.policy), found.account.entries
    buffer = shape.buffer_entries
    there = shape.entries + system.memtable_entries
    if geometry is None or geometry.partial or not buffer or workload.live_entries is not None:
        return said
    if not there / ONCE <= written <= there * ONCE:
        return said
    arrivals = round((shape.entries - shape.levels[0].entries) / buffer)
    counted = load_copies(geometry, arrivals, shape.level0_runs)
    copies = [shape.entries / written, *(n * buffer / written for n in counted[1:])]
    levels = tuple(replace(level, copies=copies[level.level] if level.level < len(copies) else 0.0) for level in said.levels)
    per_copy = said.write_amplification / said.update_copies
    return replace(said, levels=levels, update_copies=sum(copies), write_amplification=sum(copies) * per_copy)


def _whole_tree(said: Cost, found: Measured) -> list[Compared]:
    """Quantities of the tree."""
    return [Compared(name, None, float(getattr(said, name)), getattr(found, name)) for name in QUANTITIES]


def _by_level(said: Cost, found: Measured) -> list[Compared]:
    """Quantities of each level that holds something or was written to."""
    counted = {level.level: level for level in found.levels}
    return [
        Compared(name, level.level, float(getattr(level, name)), getattr(counted.get(level.level), name, None))
        for level in said.levels
        for name in LEVEL_QUANTITIES
        if level.runs or (level.copies and name == "copies")
    ]


def _judged(one: Judged) -> dict[str, object]:
    """A judgement, JSON-ready."""
    return {name: value for name, value in asdict(one).items() if name != "policy"} | {"unit": one.unit}
