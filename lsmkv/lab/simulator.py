"""Running a policy without I/O: memtables arrive one by one, and after each the policy works until it is settled.

The same policy objects and the same rules as in the engine (:mod:`lsmkv.lab.tree`), exact to the key: what is overwritten or
deleted collapses where it would collapse in the engine. What an engine does while a compaction runs (further memtables
arriving meanwhile) is left out; so are files, caches and time, but for a clock that the writes drive.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any, Literal

from lsmkv.cost.monkey import LN2_SQUARED, allocate
from lsmkv.errors import InvalidArgumentError
from lsmkv.lab.entries import Sizes
from lsmkv.lab.rows import Row, Simulation
from lsmkv.lab.tree import Change, SimulatedTree
from lsmkv.lab.writes import Arrival, arrivals
from lsmkv.observe.picture import human_bytes, policy_line
from lsmkv.policy.base import Policy
from lsmkv.policy.registry import describe_policy
from lsmkv.policy.transition import Pace
from lsmkv.simulation import Writes

__all__ = ["MOST_FLUSHES", "Simulator", "Switch"]

MOST_FLUSHES = 50_000
"""Memtables of one simulation: a row of every step is kept."""

MOST_TABLES = 500
"""About how many tables a simulation comes to when nobody says how large they are."""

MOST_TASKS = 10_000
"""Tasks after one arrival: a policy that wants more never settles."""


@dataclass(frozen=True, slots=True)
class Switch:
    """From so many writes on, another policy; ``pace`` as in ``db.set_policy``."""

    at_writes: int
    policy: Policy
    pace: Pace = "greedy"

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        _check("Switch.at_writes", self.at_writes, 0, 1 << 62, whole=True)
        _check_policy(self.policy)
        if self.pace not in ("greedy", "lazy"):
            msg = f'Switch.pace must be "greedy" or "lazy", not {self.pace!r}'
            raise InvalidArgumentError(msg)


class Simulator:
    """A simulation one step at a time; arguments as :func:`lsmkv.simulate`."""

    def __init__(
        self,
        policy: Policy,
        workload: Writes,
        *,
        level0_runs: int = 1,
        table_bytes: int | None = None,
        filter_bits_per_key: float = 10.0,
        tombstone_age_s: float | None = None,
        switches: Sequence[Switch] = (),
    ) -> None:
        _check_policy(policy)
        if not isinstance(workload, Writes):
            msg = f"workload must be an lsmkv.lab.Writes, not {type(workload).__name__}"
            raise InvalidArgumentError(msg)
        if workload.entries > MOST_FLUSHES * workload.memtable:
            raise InvalidArgumentError(
                f"{workload.entries:,} writes into memtables of {workload.memtable:,} entries are more than {MOST_FLUSHES:,} "
                "flushes: choose a larger memtable"
            )
        if table_bytes is None:
            entries = max(workload.memtable, workload.entries // MOST_TABLES)
            table_bytes = entries * (workload.key_bytes + workload.value_bytes)
        _check("level0_runs", level0_runs, 1, 1 << 20, whole=True)
        _check("table_bytes", table_bytes, 1, 1 << 50, whole=True)
        _check("filter_bits_per_key", filter_bits_per_key, 0, 100)
        if tombstone_age_s is not None:
            _check("tombstone_age_s", tombstone_age_s, 1e-6, 1e12)
        self._load = workload
        self._described = describe_policy(policy)
        for switch in switches:
            if not isinstance(switch, Switch):
                msg = f"switches must be lsmkv.lab.Switch(at_writes, policy), not {switch!r}"
                raise InvalidArgumentError(msg)
            if switch.at_writes >= workload.entries:
                msg = f"a switch at {switch.at_writes:,} writes never happens: there are only {workload.entries:,}"
                raise InvalidArgumentError(msg)
        self._switches = sorted(switches, key=lambda one: one.at_writes)
        self._bits_per_key = filter_bits_per_key
        self.tree = SimulatedTree(
            policy,
            Sizes(workload.key_bytes, workload.value_bytes),
            level0_runs=level0_runs,
            table_bytes=table_bytes,
            filter_bits_per_key=filter_bits_per_key,
            tombstone_age_s=tombstone_age_s,
        )
        self.rows: list[Row] = []
        self.writes = 0
        """User writes that have reached the tree."""
        self._live_entries: int | None = 0
        self._dropped = False
        """Tables were dropped with live keys in them: nobody knows how many are left."""
        self._complete = False

    @property
    def progress(self) -> float:
        """Share of the writes that have reached the tree."""
        return self.writes / self._load.entries

    def steps(self, given: Iterable[Arrival] | None = None) -> Iterator[Row]:
        """Run; each step's row as it is appended to :attr:`rows`. ``given``: arrivals to take instead of the load's own."""
        for arrival in arrivals(self._load) if given is None else given:
            yield from self._switch()
            self.writes += arrival.writes
            self._live_entries = None if self._dropped else arrival.live_entries
            table = self.tree.flush(arrival.entries, self._now_s)
            reason = f"a full memtable is flushed: {arrival.writes:,} writes, {table.entries:,} keys"
            yield self._row("flush", reason, output_position=0, written_bytes=table.bytes, written_entries=table.entries)
            yield from self._settle()
        self._complete = True

    def result(self) -> Simulation:
        """What there is so far; ``complete`` says whether that is all."""
        return Simulation(policy=self._described, load=self._load, rows=self.rows, tree=self.tree.shape, complete=self._complete)

    @property
    def _now_s(self) -> float:
        """The clock that the writes drive."""
        return self.writes / self._load.writes_per_s

    def _settle(self) -> Iterator[Row]:
        """Tasks until the policy wants no more."""
        for _ in range(MOST_TASKS):
            change = self.tree.step(self._now_s)
            if change is None:
                break
            yield self._changed(change)
        else:
            msg = f"the policy {self._described} is not settled after {MOST_TASKS:,} tasks: {self.rows[-1].reason}"
            raise InvalidArgumentError(msg)

    def _switch(self) -> Iterator[Row]:
        """Policies whose time has come."""
        while self._switches and self._switches[0].at_writes <= self.writes:
            switch = self._switches.pop(0)
            predicted = self.tree.switch(switch.policy, switch.pace, self._now_s)
            described = describe_policy(switch.policy)
            owed = f"predicted debt {human_bytes(predicted.bytes)} in {predicted.steps} steps"
            reason = f"{switch.pace} switch to {policy_line(described)}: {owed}"
            yield self._row("switch", reason, policy=described, debt_bytes=predicted.bytes)
            yield from self._settle()

    def _changed(self, change: Change) -> Row:
        """The row of a task."""
        if change.kind == "drop":
            self._dropped, self._live_entries = True, None
        return self._row(
            "compaction",
            change.task.reason,
            task=change.kind,
            output_level=change.task.output_level,
            output_position=change.output_position,
            joins=change.joins,
            read_bytes=change.read_bytes,
            read_entries=change.read_entries,
            written_bytes=change.written_bytes,
            written_entries=change.written_entries,
            debt_bytes=change.task.debt,
            inputs=change.inputs,
        )

    def _row(self, kind: Literal["flush", "compaction", "switch"], reason: str, **known: Any) -> Row:  # noqa: ANN401 - Row's fields
        """A row with the state as it is now."""
        flushed, merged = self.tree.flushed, self.tree.merged
        levels, tombstones = self.tree.sizes()
        runs = [run.entries for level in levels for run in level]
        entries = sum(runs)
        row = Row(
            step=len(self.rows) + 1,
            at_s=self._now_s,
            kind=kind,
            reason=reason,
            writes=self.writes,
            runs=len(runs),
            depth=max((number + 1 for number, level in enumerate(levels) if level), default=0),
            entries=entries,
            bytes=sum(run.bytes for level in levels for run in level),
            tombstones=tombstones,
            live_entries=self._live_entries,
            write_amplification=(flushed.bytes + merged.bytes) / flushed.bytes if flushed.bytes else 1.0,
            update_copies=(flushed.entries + merged.entries) / flushed.entries if flushed.entries else 1.0,
            space_amplification=entries / self._live_entries if self._live_entries else None,
            zero_lookup_blocks=_zero_lookup_blocks(runs, self._bits_per_key * entries),
            buffer_entries=self.tree.shape.buffer_entries,
            levels=levels,
            **known,
        )
        self.rows.append(row)
        return row


def _zero_lookup_blocks(runs: Sequence[int], filter_bits: float) -> float:
    """Blocks that the lookup of an absent key fetches, the filter bits shared ideally."""
    return sum(exp(-bits * LN2_SQUARED) for bits in allocate(runs, filter_bits)) if runs else 0.0


def _check(name: str, value: object, low: float, high: float, *, whole: bool = False) -> None:
    """Refuse what is no number in its range."""
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        msg = f"{name} must be {'an integer' if whole else 'a number'} from {low:g} to {high:g}, not {value!r}"
        raise InvalidArgumentError(msg)


def _check_policy(policy: object) -> None:
    """Refuse what is no policy."""
    if isinstance(policy, type) or not callable(getattr(policy, "pick", None)):
        hint = f": did you mean {policy.__name__}()?" if isinstance(policy, type) else ""
        msg = f"policy must be an object with a method pick(shape), not {policy!r}{hint}"
        raise InvalidArgumentError(msg)
