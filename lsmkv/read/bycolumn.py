"""A random batch by hash columns: one probe of all runs, then one read of a value for each key that is there.

See :mod:`lsmkv.live.directory`. Keys that may be in a table without a column (its filter lets them through) are left over, as are
those whose value is not what the column says; everything else is settled here, absent keys too.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lsmkv.base.columns import I64, U64
from lsmkv.base.hashing import hash_keys
from lsmkv.errors import io_failed
from lsmkv.live.directory import Packed, Plan
from lsmkv.live.state import RunView, View
from lsmkv.live.tables import TableCache
from lsmkv.sstable.hashcolumn import check_of, seals_of
from lsmkv.sstable.quick import Value
from lsmkv.sstable.reader import TableReader

__all__ = ["Found", "look"]

ALL = slice(None)


class Found(NamedTuple):
    """What the columns said of a batch."""

    values: list[Value]
    """False: in no table, or left over."""
    left: Sequence[int]
    """Positions of keys that only the way of single keys can tell."""


def look(plan: Plan, view: View, tables: TableCache, keys: Sequence[bytes]) -> Found:
    """The newest value of each key in the tables, counted but for those left over.

    I/O: one read of a value for each key that is there.
    """
    return _Look(plan, view, tables, keys).run()


class _Look:
    """One lookup."""

    __slots__ = ("_hashes", "_keys", "_places", "_plan", "_runs", "_tables")

    def __init__(self, plan: Plan, view: View, tables: TableCache, keys: Sequence[bytes]) -> None:
        self._plan = plan
        self._runs = view.runs
        self._tables = tables
        self._keys = keys
        self._hashes = hash_keys(keys)
        low, high = min(keys), max(keys)
        self._places = [
            _ONE if len(run.lasts) == 1 and run.firsts[0] <= low and high <= run.lasts[0] else _places(run, keys)
            for run in view.runs
        ]
        """For each run the position of each key's table, or just one for all."""

    def run(self) -> Found:
        """Look all keys up, read, check and count."""
        n = len(self._keys)
        regions = self._regions()
        at, hit = self._plan.packed.probe(seals_of(self._hashes), regions)
        event = hit | self._doubts() if self._plan.missing else hit
        first = event.argmax(axis=0)
        flat = first * n
        flat += np.arange(n)
        held = hit.ravel().take(flat)
        wide = regions.shape[1] > 1
        if held.all():
            values, good = self._read(self._keys, regions.ravel().take(flat if wide else first), at.ravel().take(flat))
            if good.all():
                self._count_absent(first, None)
                return Found([*values], ())
            pick = np.arange(n)
        else:
            pick = np.flatnonzero(held)
            there = flat.take(pick)
            wanted = [self._keys[i] for i in pick.tolist()]
            values, good = self._read(wanted, regions.ravel().take(there if wide else first.take(pick)), at.ravel().take(there))
        out: list[Value] = [False] * n
        for i, value, sound in zip(pick.tolist(), values, good.tolist(), strict=True):
            if sound:
                out[i] = value
        known = ~event.ravel().take(flat)
        first[known] = len(regions)
        absent = int(np.count_nonzero(known))
        self._tables.calls.absent += absent
        known[pick[good]] = True
        self._count_absent(first, known)
        return Found(out, np.flatnonzero(~known).tolist())

    def _regions(self) -> I64:
        """The region each key has to be looked for in, in each run: (runs, keys), or (runs, 1) if it is the same for all."""
        rows = [row.take(place) for row, place in zip(self._plan.rows, self._places, strict=True)]
        if all(len(row) == 1 for row in rows):
            return np.array(rows)
        return np.array([np.broadcast_to(row, len(self._keys)) for row in rows])

    def _doubts(self) -> NDArray[np.bool_]:
        """Which keys may be in tables without a column, as far as their filters know. (runs, keys)."""
        doubt = np.zeros((len(self._places), len(self._keys)), np.bool_)
        unknown = self._plan.packed.unknown
        for out, run, row, place in zip(doubt, self._runs, self._plan.rows, self._places, strict=True):
            for i in np.flatnonzero(row == unknown).tolist():
                mine = ALL if place is _ONE else np.flatnonzero(place == i)
                hashes = self._hashes[mine]
                if len(hashes):
                    bloom = self._tables.get(run.numbers[i]).bloom
                    out[mine] = True if bloom is None else bloom.check_many(hashes)
        return doubt

    def _read(self, keys: Sequence[bytes], regions: I64, at: I64) -> tuple[list[bytes], NDArray[np.bool_]]:
        """The values of these keys, and which of them are theirs for certain; those are counted as found."""
        packed, tables = self._plan.packed, self._tables
        checks, spots = packed.proofs.take(at, axis=0).T
        known = spots != 0
        read = np.bincount(regions, minlength=len(packed.regions)).tolist()
        readers = {i: tables.get(packed.regions[i].number) for i, count in enumerate(read) if count}
        if len(readers) == 1:
            ((i, reader),) = readers.items()
            values = _values(packed, i, reader, at, spots)
        else:
            order = np.argsort(regions, kind="stable")
            parts: list[bytes] = []
            for i, reader in readers.items():
                mine = order[len(parts) : len(parts) + read[i]]
                parts += _values(packed, i, reader, at.take(mine), spots.take(mine))
            values = [b""] * len(parts)
            for place, value in zip(order.tolist(), parts, strict=True):
                values[place] = value
        seed = tables.directory.seed
        digests = b"".join([check_of(key + value, seed) for key, value in zip(keys, values, strict=True)])
        good = np.frombuffer(digests, ">u8") == checks
        good &= known
        sound = fetched = read
        if not good.all():
            sound, fetched = (np.bincount(regions[which], minlength=len(packed.regions)).tolist() for which in (good, known))
        for i, reader in readers.items():
            counters, count = reader.counters, sound[i]
            counters.found += count
            if packed.values[i] is not None:
                counters.cache_hits += count
                continue
            counters.block_reads += count
            counters.block_bytes += packed.regions[i].each * fetched[i]
            counters.unfiltered_reads += fetched[i] - count
        return values, good

    def _count_absent(self, first: I64, known: NDArray[np.bool_] | None) -> None:
        """Count for every table the keys, settled here, that it was asked for in vain: their first find is in an older run."""
        for r, (run, row, place) in enumerate(zip(self._runs, self._plan.rows, self._places, strict=True)):
            vain = first > r
            if known is not None:
                vain &= known
            where = np.flatnonzero(vain)
            if not len(where):
                continue
            mine = place if place is _ONE else place[where]
            for i in (0,) if place is _ONE else np.flatnonzero(np.bincount(mine)).tolist():
                if i == len(run.numbers):
                    continue
                hashes = self._hashes.take(where if place is _ONE else where[mine == i], axis=0)
                reader = self._tables.get(run.numbers[i])
                if row[i] == self._plan.packed.unknown:
                    stopped = len(hashes)
                    reader.counters.filter_negatives += stopped
                else:
                    self._tables.directory.absent(reader.counters, reader.bloom, hashes)


_ONE = np.zeros(1, np.int64)


def _places(run: RunView, keys: Sequence[bytes]) -> I64:
    """For each key the position of the table of a run whose range holds it; one beyond the last: none does."""
    firsts, lasts, none = run.firsts, run.lasts, len(run.lasts)
    places = [bisect_left(lasts, key) for key in keys]
    return np.array([i if i < none and firsts[i] <= key else none for i, key in zip(places, keys, strict=True)], np.int64)


def _values(packed: Packed, region: int, reader: TableReader, at: I64, spots: U64) -> list[bytes]:
    """The values at these places of a column, or at these spots of its file. I/O: none, or one read each."""
    size, held = packed.regions[region].each, packed.values[region]
    if held is not None:
        values: list[bytes] = held.take(at - packed.regions[region].seals_at).tolist()
        return values
    try:
        pread = reader.file.pread
        return [pread(size, spot) if spot else b"" for spot in spots.tolist()]
    except OSError as error:
        op = "reading values"
        raise io_failed(op, reader.path, error) from error
