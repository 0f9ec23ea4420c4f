"""Where tables lie on the axis of live keys, so that only runs whose range covers a key are counted.

A shape knows the first and the last key of each table. Keys are read as numbers (16 bytes behind their common prefix), the ends
of all tables cut the axis into pieces, and a table's entries are spread evenly between its ends. Each piece has, for each run:
whether a table of it covers the piece, with which false-positive rate, and how many of its live entries lie there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lsmkv.cost.filters import filter_fpr
from lsmkv.version.shape import Run, TableMeta, TreeShape

__all__ = ["F64", "Axis", "build_axis"]

F64: TypeAlias = NDArray[np.float64]

DIGITS = 16
"""Bytes of a key read as a number, behind the common prefix; keys alike in all of them count as one place."""


@dataclass(frozen=True)
class Axis:
    """Runs (rows, newest first) by pieces of the axis (columns, ascending)."""

    levels: tuple[int, ...]
    """The level of each run."""
    runs: tuple[Run, ...]
    covers: F64
    """1.0 where a table of the run covers the piece, else 0.0."""
    asks: F64
    """1.0 where that table has a filter."""
    rates: F64
    """Probability that an absent key costs a block there: the filter's rate; 1 without a filter; 0 where nothing covers."""
    entries: F64
    """Entries of the run in the piece, tombstones included."""
    live: F64
    """The same without tombstones."""
    spans: tuple[tuple[int, int, int, float], ...]
    """For each table: row, first and past-the-last piece, entries."""


def build_axis(shape: TreeShape) -> Axis:
    """Lay the tables of a tree on the axis."""
    placed = [(number, run) for number, level in enumerate(shape.levels) for run in level.runs if run.entries]
    runs = [run for _, run in placed]
    ends = _ends([t for run in runs for t in run.tables if t.entries])
    places = sorted({place for pair in ends.values() for place in pair})
    column = {place: i for i, place in enumerate(places)}
    lengths = np.array([float(b - a) for a, b in pairwise(places)])  # subtracted as whole numbers: exact
    covers, asks, rates, entries, live = (np.zeros((len(runs), len(lengths))) for _ in range(5))
    spans: list[tuple[int, int, int, float]] = []
    for row, run in enumerate(runs):
        for table in run.tables:
            if not table.entries:
                continue
            first, last = (column[place] for place in ends[table.number])
            share = lengths[first:last] / lengths[first:last].sum()
            covers[row, first:last] = 1
            asks[row, first:last] = table.filter_bits > 0
            rates[row, first:last] = filter_fpr(table.filter_bits, table.entries)
            entries[row, first:last] += table.entries * share
            live[row, first:last] += max(0, table.entries - table.tombstones) * share
            spans.append((row, first, last, float(table.entries)))
    return Axis(tuple(n for n, _ in placed), tuple(runs), covers, asks, rates, entries, live, tuple(spans))


def _ends(tables: Sequence[TableMeta]) -> dict[int, tuple[int, int]]:
    """For each table number its first place and the one past its last."""
    if not tables:
        return {}
    low, high = min(t.smallest for t in tables), max(t.largest for t in tables)
    skip = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))

    def place(key: bytes) -> int:
        """Where a key lies, to DIGITS bytes behind what all keys share."""
        return int.from_bytes(key[skip : skip + DIGITS].ljust(DIGITS, b"\0"), "big")

    return {t.number: (place(t.smallest), place(t.largest) + 1) for t in tables}
