"""The laboratory's door: the writes of a simulation, and running one.

The laboratory itself (:mod:`lsmkv.lab`) is imported when somebody simulates, not by those who only open a store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from lsmkv.errors import InvalidArgumentError
from lsmkv.policy.base import Policy

if TYPE_CHECKING:
    from lsmkv.lab.rows import Simulation
    from lsmkv.lab.simulator import Switch

__all__ = ["MOST_ENTRIES", "Writes", "simulate"]

MOST_ENTRIES = 100_000_000
"""Writes of one simulation: their keys are held in memory, at 12 bytes each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writes:
    """The write load of a simulation; the same fields and seed give the same writes.

    ``overwrites`` and ``deletes`` are shares of all writes (together at most 1) and hit keys written before, each equally
    often. Raises InvalidArgumentError for what makes no load.
    """

    entries: int = 1_000_000
    """Writes of all kinds."""
    memtable: int = 10_000
    """Distinct keys at which a memtable is flushed."""
    overwrites: float = 0.0
    deletes: float = 0.0
    order: Literal["random", "sequential"] = "random"
    """How new keys lie in the key space."""
    key_bytes: int = 16
    value_bytes: int = 112
    writes_per_s: float = 10_000.0
    """Speed of the simulated clock: what ages are measured in."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse nonsense, naming the field."""
        for field in fields(self):
            low, high, kind = _RANGES.get(field.name, (0, 0, None))
            value = getattr(self, field.name)
            if kind is None:
                continue
            right_kind = isinstance(value, int) if kind is int else isinstance(value, int | float)
            if isinstance(value, bool) or not right_kind or not low <= value <= high:
                noun = "an integer" if kind is int else "a number"
                msg = f"Writes({field.name}={value!r}): must be {noun} from {low:,} to {high:,}"
                raise InvalidArgumentError(msg)
        if self.overwrites + self.deletes > 1:
            msg = f"Writes(overwrites={self.overwrites}, deletes={self.deletes}): together they must be at most 1"
            raise InvalidArgumentError(msg)
        if self.order not in ("random", "sequential"):
            msg = f'Writes(order={self.order!r}): must be "random" or "sequential"'
            raise InvalidArgumentError(msg)

    def to_dict(self) -> dict[str, object]:
        """JSON-ready."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


_RANGES: dict[str, tuple[float, float, type]] = {
    "entries": (1, MOST_ENTRIES, int),
    "memtable": (1, MOST_ENTRIES, int),
    "overwrites": (0, 1, float),
    "deletes": (0, 1, float),
    "key_bytes": (1, 65_535, int),
    "value_bytes": (0, 1 << 30, int),
    "writes_per_s": (1e-6, 1e12, float),
    "seed": (0, (1 << 64) - 1, int),
}
"""Least and greatest value of each number, and its type."""


def simulate(
    policy: Policy,
    workload: Writes,
    *,
    level0_runs: int = 1,
    table_bytes: int | None = None,
    filter_bits_per_key: float = 10.0,
    tombstone_age_s: float | None = None,
    switches: Sequence[Switch] = (),
) -> Simulation:
    """What ``policy`` does with the writes of ``workload``: every step as a tidy row, and the tree at the end.

    ``level0_runs``: flushed runs that may stay at level 0 (1 here, the engine's default is 4). ``table_bytes``: size of a table
    (None: one memtable, more in a long simulation); only partial compaction cares. ``tombstone_age_s``: bound on the age of a
    tombstone, in simulated seconds. ``switches``: policies that take over later. The same arguments give the same rows.

    >>> from lsmkv.policy import Leveled
    >>> done = simulate(Leveled(size_ratio=4), Writes(entries=40_000, memtable=1_000))
    >>> done.complete, done.last.entries
    (True, 40000)

    Raises InvalidArgumentError for nonsense, and for a policy that breaks the level rule or never settles.

    I/O: none.
    """
    from lsmkv.lab.simulator import Simulator  # noqa: PLC0415 - see above: not before somebody simulates

    simulator = Simulator(
        policy,
        workload,
        level0_runs=level0_runs,
        table_bytes=table_bytes,
        filter_bits_per_key=filter_bits_per_key,
        tombstone_age_s=tombstone_age_s,
        switches=switches,
    )
    for _ in simulator.steps():
        pass
    return simulator.result()
