"""Prices from timings: the least-squares fit behind ``lsmkv calibrate``.

Each timing says how long an operation took and what it did: filters asked, blocks fetched and read, entries returned, bytes
merged. The prices that explain all timings best, relative to each, none below 0, are found by leaving out, one after the
other, those that would be negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from lsmkv.cost.checks import made_of, number
from lsmkv.cost.seconds import Seconds
from lsmkv.errors import InvalidArgumentError

__all__ = ["Fitted", "Kind", "Timing", "fit_seconds"]

Kind: TypeAlias = Literal["lookup", "scan", "update"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One kind of operation at one store: means per operation.

    Raises InvalidArgumentError for numbers that are negative, and for an operation that took no time.
    """

    kind: Kind
    seconds: float
    found: float = 0.0
    """Share of the lookups that found their key."""
    seeks: float = 0.0
    """Runs that a scan opened."""
    filter_checks: float = 0.0
    blocks: float = 0.0
    """Blocks fetched, from the cache or not."""
    block_reads: float = 0.0
    """Of them, those that the cache did not hold."""
    scan_entries: float = 0.0
    merge_bytes: float = 0.0
    """Bytes that flushes and merges wrote."""

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        if self.kind not in get_args(Kind):
            raise InvalidArgumentError(f"kind must be one of {get_args(Kind)}, not {self.kind!r}")
        number("seconds", self.seconds, above=True)
        for name in ("found", "seeks", "filter_checks", "blocks", "block_reads", "scan_entries", "merge_bytes"):
            number(name, getattr(self, name))

    @property
    def paid(self) -> dict[str, float]:
        """How often it paid each price, by the names of :class:`~lsmkv.cost.seconds.Seconds`."""
        return {
            "lookup_s": float(self.kind == "lookup"),
            "found_s": self.found,
            "scan_s": float(self.kind == "scan"),
            "seek_s": self.seeks,
            "update_s": float(self.kind == "update"),
            "filter_check_s": self.filter_checks,
            "block_s": self.blocks,
            "block_read_s": self.block_reads,
            "scan_entry_s": self.scan_entries,
            "merge_byte_s": self.merge_bytes,
        }


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a fit found."""

    seconds: Seconds
    mean_error: float
    """Mean absolute relative error over the timings."""
    worst_error: float


def fit_seconds(timings: Sequence[Timing]) -> Fitted:
    """The prices that explain these timings best.

    A price that no timing pays is 0. Raises InvalidArgumentError for no timings.

    >>> timings = [Timing(kind="lookup", seconds=2e-6 + n * 5e-6, blocks=n) for n in (0, 1, 2)]
    >>> fitted = fit_seconds(timings)
    >>> round(fitted.seconds.lookup_s * 1e6, 3), round(fitted.seconds.block_s * 1e6, 3), round(fitted.mean_error, 6)
    (2.0, 5.0, 0.0)
    """
    if not timings:
        raise InvalidArgumentError("timings is empty: at least one is needed to fit prices")
    for i, timing in enumerate(timings):
        made_of(f"timings[{i}]", timing, Timing)
    names = [field.name for field in fields(Seconds)]
    rows = np.array([[timing.paid[name] / timing.seconds for name in names] for timing in timings])
    prices = _non_negative(rows, np.ones(len(rows)))
    errors = np.abs(rows @ prices - 1)
    return Fitted(Seconds(**dict(zip(names, map(float, prices), strict=True))), float(errors.mean()), float(errors.max()))


def _non_negative(rows: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least squares with no negative part."""
    scale = np.sqrt((rows**2).sum(axis=0))
    left = [i for i, size in enumerate(scale) if size > 0]
    result = np.zeros(rows.shape[1])
    while left:
        found = np.linalg.lstsq(rows[:, left] / scale[left], wanted, rcond=1e-10)[0]
        worst = int(np.argmin(found))
        if found[worst] >= 0:
            result[left] = found / scale[left]
            return result
        del left[worst]
    return result
