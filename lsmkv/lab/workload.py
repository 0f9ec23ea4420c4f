"""A workload: what is stored first, and phases of operations on it. Frozen records that refuse what cannot be, naming the field.

::

    load: 200k                  # keys stored before the first phase, in random order
    value_bytes: 100
    phases:
      - name: chat
        operations: 50k
        keys: zipfian           # uniform, zipfian, latest or chains
        mix: {present: 0.5, absent: 0.3, scan: 0.1, put: 0.1}

A file is read by :func:`lsmkv.lab.workload_yaml.read_workload`; the operations are drawn by :mod:`lsmkv.lab.operations`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from typing import Literal, TypeAlias, get_args

from lsmkv.errors import InvalidArgumentError

__all__ = ["Access", "Mix", "Phase", "Workload", "refuse"]

Access: TypeAlias = Literal["uniform", "zipfian", "latest", "chains"]
"""Which stored keys are asked for. zipfian: rank r in proportion to ``r ** -0.99``; latest: the same, the newest key first;
chains: a conversation by zipfian rank, and of it a prefix, as page caches are asked."""

SLACK = 1e-6
"""How far a mix may be from one: decimal fractions are not exact."""

MOST = 100_000_000
"""Keys or operations; their numbers are held in memory."""


def refuse(where: str, value: object, wanted: str) -> InvalidArgumentError:
    """The error for a field that cannot be so."""
    return InvalidArgumentError(f"{where}: must be {wanted}, not {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Shares of operations; together one.

    Raises InvalidArgumentError for a negative share, and for shares that do not add up to one.
    """

    absent: float = 0.0
    """Lookups of keys that were never stored, between the stored ones."""
    present: float = 0.0
    """Lookups of live keys."""
    batch: float = 0.0
    """Lookups of ``Phase.batch_keys`` live keys in one call; one operation."""
    scan: float = 0.0
    """Scans from a live key on."""
    put: float = 0.0
    """New keys."""
    overwrite: float = 0.0
    """New values of live keys."""
    delete: float = 0.0
    """Deletes of live keys."""
    modify: float = 0.0
    """A lookup of a live key, then a new value for it."""

    def __post_init__(self) -> None:
        """Refuse what is no mix."""
        for name, share in self.shares().items():
            if isinstance(share, bool) or not isinstance(share, int | float) or not isfinite(share) or not 0 <= share <= 1:
                raise refuse(f"mix.{name}", share, "a number from 0 to 1")
        total = sum(self.shares().values())
        if abs(total - 1) > SLACK:
            raise InvalidArgumentError(f"mix: the shares must add up to 1, not {total:.6g} ({_shown(self.shares())})")

    def shares(self) -> dict[str, float]:
        """Each kind of operation and its share, zeros too."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @property
    def writes(self) -> float:
        """Entries written per operation."""
        return self.put + self.overwrite + self.delete + self.modify

    @property
    def needs_keys(self) -> list[str]:
        """The operations of this mix that need live keys."""
        return [name for name, share in self.shares().items() if share and name not in ("absent", "put")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Operations of one mix.

    Raises InvalidArgumentError naming the field that cannot be so.
    """

    name: str = "main"
    operations: int
    mix: Mix
    keys: Access = "uniform"
    batch_keys: int = 128
    """Keys of a batch lookup."""
    scan_entries: tuple[int, int] = (32, 32)
    """Pairs that a scan takes, from least to most; each number is as likely."""

    def __post_init__(self) -> None:
        """Refuse what cannot be, naming the field."""
        check_name("name", self.name)
        whole("operations", self.operations, 1, MOST)
        if not isinstance(self.mix, Mix):
            raise refuse("mix", self.mix, "a mix of shares")
        if self.keys not in get_args(Access):
            raise refuse("keys", self.keys, " or ".join(get_args(Access)))
        whole("batch_keys", self.batch_keys, 1, 1 << 16)
        low, high = self.scan_entries
        whole("scan_entries", low, 1, 1 << 20)
        whole("scan_entries", high, low, 1 << 20)

    @property
    def mean_scan(self) -> float:
        """Pairs of a scan, on average."""
        return sum(self.scan_entries) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is stored first, and what is then asked of the store, phase by phase.

    Raises InvalidArgumentError naming the field that cannot be so.
    """

    name: str = "workload"
    about: str = ""
    """One sentence."""
    load: int
    """Different keys stored before the first phase, in random order."""
    key_bytes: int = 16
    """At least 9."""
    value_bytes: int = 32
    chain_keys: int = 1
    """Keys of a chain: they are neighbours, and stored one after the other. 1: keys lie anywhere."""
    memtable_entries: int = 1_000
    """Writes after which the memtable is flushed."""
    phases: tuple[Phase, ...] = field(default=())

    def __post_init__(self) -> None:
        """Refuse what cannot be, naming the field."""
        check_name("name", self.name)
        if not isinstance(self.about, str):
            raise refuse("about", self.about, "a sentence")
        whole("load", self.load, 0, MOST)
        whole("key_bytes", self.key_bytes, 9, 65_535)
        whole("value_bytes", self.value_bytes, 0, 1 << 24)
        whole("chain_keys", self.chain_keys, 1, 1 << 16)
        whole("memtable_entries", self.memtable_entries, 1, MOST)
        if not isinstance(self.phases, tuple) or not self.phases or not all(isinstance(p, Phase) for p in self.phases):
            raise refuse("phases", self.phases, "at least one phase")
        live = float(self.load)
        for number, phase in enumerate(self.phases):
            where, mix = f"phases[{number}].mix", phase.mix
            if live < 1 and not mix.put and mix.needs_keys:
                raise InvalidArgumentError(f"{where}.{mix.needs_keys[0]}: there is no key: load is 0 and nothing is put before")
            live += phase.operations * (mix.put - mix.delete)
            if live < 0:
                raise InvalidArgumentError(f"{where}.delete: deletes {-live:,.0f} keys more than there are by then")

    @property
    def operations(self) -> int:
        """Of all phases."""
        return sum(phase.operations for phase in self.phases)

    @property
    def entry_bytes(self) -> int:
        """Bytes of a key and its value."""
        return self.key_bytes + self.value_bytes

    def to_dict(self) -> dict[str, object]:
        """JSON-ready, and what a workload file holds; defaults of phases and zero shares left out."""
        told: dict[str, object] = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "phases"}
        return told | {"phases": [_phase_dict(phase) for phase in self.phases]}


def whole(where: str, value: object, low: int, high: int) -> None:
    """Refuse ``value`` unless it is a whole number from ``low`` to ``high``."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise refuse(where, value, f"a whole number from {low:,} to {high:,}")


def check_name(where: str, value: object) -> None:
    """Refuse ``value`` unless it is a short name."""
    if not isinstance(value, str) or not value or len(value) > 60 or not value.isprintable():
        raise refuse(where, value, "a short name")


def _phase_dict(phase: Phase) -> dict[str, object]:
    """A phase as a file holds it."""
    low, high = phase.scan_entries
    told: dict[str, object] = {"name": phase.name, "operations": phase.operations, "keys": phase.keys}
    if phase.mix.batch:
        told["batch_keys"] = phase.batch_keys
    if phase.mix.scan:
        told["scan_entries"] = low if low == high else [low, high]
    return told | {"mix": {name: share for name, share in phase.mix.shares().items() if share}}


def _shown(shares: Mapping[str, float]) -> str:
    """Shares that are not zero, for people."""
    return ", ".join(f"{name} {share:g}" for name, share in shares.items() if share) or "all are 0"
