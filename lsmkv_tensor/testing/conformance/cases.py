"""The cases, by name: what each asks is its function's first line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lsmkv_tensor.testing.conformance import callers, damaged, keeping
from lsmkv_tensor.testing.conformance.trial import Trial

__all__ = ["CASES", "Case"]


@dataclass(frozen=True, slots=True)
class Case:
    """One case."""

    name: str
    run: Callable[[Trial], None]

    @property
    def asks(self) -> str:
        """What it asks, in one line."""
        return (self.run.__doc__ or "").strip().splitlines()[0]


CASES = {
    name: Case(name, run)
    for name, run in (
        ("round trip", keeping.round_trip),
        ("restart", keeping.restart),
        ("truncation", damaged.truncation),
        ("bit flip", damaged.bit_flip),
        ("missing data", damaged.missing_data),
        ("one bad page", damaged.one_bad_page),
        ("healing", damaged.healing),
        ("capacity", keeping.capacity),
        ("capacity after a restart", keeping.capacity_after_restart),
        ("duplicate put", keeping.duplicate_put),
        ("delete accounting", keeping.delete_accounting),
        ("concurrent callers", callers.concurrent),
        ("deadline", callers.deadline),
        ("memory after return", callers.memory),
    )
}
"""In the order of the tables."""
