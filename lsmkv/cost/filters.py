"""The false-positive rate of filters as they are built: whole bits, a whole number of probes.

A filter of m bits over n keys, asked with k probes, has a given bit set with probability ``1 - (1 - 1/m)^(kn)``; a key that
is not in it passes if k such bits are set. The ideal ``e^(-m/n ln2^2)`` assumes k = m/n ln 2, which is no whole number: at
10 bits a key (k = 7) the real rate is 0.00819 as well, at 1 bit (k = 1) 0.632 instead of 0.619, at half a bit 0.865 instead of
0.786. The engine's filters have at least 64 bits, an odd number of them (:mod:`lsmkv.sstable.bloom`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, expm1, log1p

from lsmkv.cost.checks import made_of, number, whole
from lsmkv.cost.monkey import allocate
from lsmkv.errors import InvalidArgumentError
from lsmkv.sstable.bloom import MAX_PROBES, probes_for
from lsmkv.version.shape import Level, Run, TableMeta, TreeShape

__all__ = ["ALLOCATIONS", "filter_bits", "filter_fpr", "run_bits", "with_filters"]

ALLOCATIONS = ("monkey", "uniform")
"""How filter bits may be shared out."""


def filter_fpr(bits: int, entries: int, probes: int | None = None) -> float:
    """The false-positive rate of a filter of ``bits`` bits over ``entries`` keys; 1.0 for 0 bits: no filter.

    ``probes``: None for what the engine uses at this many bits a key (1 to 30).

    Raises InvalidArgumentError.

    >>> round(filter_fpr(10_001, 1_000), 5)
    0.00819
    >>> filter_fpr(0, 1_000)
    1.0
    """
    m, n = whole("bits", bits, 0), whole("entries", entries, 1)
    k = probes_for(m / n) if probes is None else whole("probes", probes, 1, MAX_PROBES)
    if m < 2:  # no filter, or one bit that every key sets
        return 1.0
    return float((-expm1(k * n * log1p(-1 / m))) ** k)


def filter_bits(entries: int, bits_per_key: float) -> int:
    """Bits of the filter that the engine builds over ``entries`` keys at ``bits_per_key``; 0: none.

    Raises InvalidArgumentError.

    >>> filter_bits(1_000, 10), filter_bits(3, 10), filter_bits(1_000, 0)
    (10001, 65, 0)
    """
    n, bits = whole("entries", entries, 0), number("bits_per_key", bits_per_key)
    return max(64, ceil(n * bits)) | 1 if n and bits > 0 else 0


def run_bits(run_entries: Sequence[float], bits_per_key: float, allocation: str = "monkey") -> list[float]:
    """Filter bits per key for each run under a budget of ``bits_per_key`` over all: water-filled, or alike ("uniform").

    Raises InvalidArgumentError.
    """
    if allocation not in ALLOCATIONS:
        raise InvalidArgumentError(f"filter allocation must be one of {ALLOCATIONS}, not {allocation!r}")
    bits = number("bits_per_key", bits_per_key)
    if allocation == "uniform" or not run_entries:
        return [bits] * len(run_entries)
    return allocate(run_entries, bits * sum(run_entries))


def with_filters(shape: TreeShape, bits_per_key: float, allocation: str = "monkey") -> TreeShape:
    """The shape as it would be with all its filters built anew under a budget of ``bits_per_key``.

    Raises InvalidArgumentError.
    """
    shape = made_of("shape", shape, TreeShape, "db.tree(), or ideal_shape(...)")
    sizes = [run.entries for level in shape.levels for run in level.runs]
    bits = iter(run_bits([n for n in sizes if n], bits_per_key, allocation))
    levels = tuple(
        Level(tuple(_refiltered(run, next(bits) if run.entries else 0.0) for run in level.runs)) for level in shape.levels
    )
    return replace(shape, levels=levels)


def _refiltered(run: Run, bits_per_key: float) -> Run:
    """A run whose tables all have filters of ``bits_per_key``."""

    def rebuilt(table: TableMeta) -> TableMeta:
        """The table with a filter of its share."""
        return replace(table, filter_bits=filter_bits(table.entries, bits_per_key))

    return replace(run, tables=tuple(rebuilt(t) for t in run.tables))
