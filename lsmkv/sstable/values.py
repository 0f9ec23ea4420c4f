"""The present values of many keys out of one table: the fast way of batch reads.

Keys come sorted. Those that share a block are answered together (neighbours are often stored side by side: one comparison of
bytes finds them all), single ones as in :meth:`~lsmkv.sstable.reader.TableReader.value`. Two rounds at most: a table whose
last batch mostly found its keys is looked into at once, cached blocks always, others after a streak of finds; the filter is
asked about what is left, all keys in one step, and blocks of those it lets through are read. The counters read as if the filter
had always come first.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from xxhash import xxh3_64_digest

from lsmkv.base.hashing import KeyBatch, hash_key
from lsmkv.sstable.access import SURE
from lsmkv.sstable.decode import values_in
from lsmkv.sstable.finder import lookup
from lsmkv.sstable.layout import FRAME_BYTES
from lsmkv.sstable.quick import Value, cutter, row_in, rows_of, values_from, values_of
from lsmkv.sstable.straight import STRETCH_BYTES, answer

if TYPE_CHECKING:
    from lsmkv.sstable.reader import TableReader

__all__ = ["ValueLookup", "keys_at", "neighbours"]

FEW = 6
"""Up to so many keys of one block are found one by one where its rows are held; for more of them the block is read."""

SCALAR_FILTER = 8
"""Up to so many keys, asking the filter one by one beats NumPy's fixed cost."""


class ValueLookup:
    """One lookup of the keys at these positions of a sorted batch. ``bare``: present values may come back as ``b""``."""

    __slots__ = ("_bare", "_batch", "_keys", "_out", "_pick", "_table", "_uniform")

    def __init__(self, table: TableReader, batch: KeyBatch, pick: Sequence[int], *, bare: bool) -> None:
        self._table = table
        self._batch = batch
        self._pick = pick
        self._keys = keys_at(batch.keys, pick)
        self._uniform = batch.uniform
        self._bare = bare
        self._out: list[Value] = [False] * len(self._keys)

    def run(self) -> list[Value]:
        """The newest value of each key. I/O: at most one read per block that may hold one of them."""
        table, keys, out = self._table, self._keys, self._out
        rest: Sequence[int] = range(len(keys))
        if table.likely:
            rest = self._look(keys, out, guess=table.streak >= SURE, asked=False)
        if rest:
            where = self._filtered(rest)
            if len(where) == len(keys):
                self._look(keys, out, guess=True, asked=True)
            elif where:
                found: list[Value] = [False] * len(where)
                self._look([keys[i] for i in where], found, guess=True, asked=True)
                for i, value in zip(where, found, strict=True):
                    out[i] = value
        table.likely = 2 * out.count(False) <= len(keys)
        return out

    def _look(self, keys: Sequence[bytes], out: list[Value], *, guess: bool, asked: bool) -> list[int]:
        """Look into cached blocks, and into all with ``guess``; the positions whose blocks were not looked into.

        ``asked``: the filter has let these keys through.
        """
        table, n, bare, finder = self._table, len(keys), self._bare, self._table.finder
        fences, blocks, held, layouts, seed = table.fences, table.blocks, table.rows, table.row_layouts, table.seed
        marks, found = table.row_marks, 0
        rest: list[int] = []
        i = index = 0
        while i < n:
            key = keys[i]
            index = bisect_left(fences, key, index)
            if index == blocks:
                rest += range(i, n)
                break
            end, rows = i + 1, held[index]
            if end < n and keys[end] <= fences[index]:
                end = bisect_right(keys, fences[index], end)
            elif finder is not None and (value := lookup(finder, key, seed)):
                out[i] = b"" if bare else value
                found += 1
                i = end
                continue
            elif rows is not None:
                count, each, at, _, _, plain = layouts[index]
                row = rows.find(key[-1:], 0, count) if plain else -1
                if row >= 0 and len(rows) > at:
                    at += row * each
                    value = rows[at : at + each]
                    if rows.startswith(xxh3_64_digest(key + value, seed), count + 8 * row):
                        marks[index] = 1
                        out[i] = b"" if bare else value
                        found += 1
                        i = end
                        continue
                elif row >= 0 and each and (found_there := table.one_row(index, rows, row, key)) is not None:
                    out[i] = found_there
                    i = end
                    continue
            if not guess and rows is None and table.cached[index] is None:
                rest += range(i, end)
            elif end > i + 1:
                out[i:end] = self._group(index, keys[i:end], asked=asked)
            else:
                out[i] = (table.value_asked if asked else table.guess)(index, key)
            i = end
        table.counters.row_hits += found
        if asked:
            table.counters.misses += len(rest)
        return rest

    def _group(self, index: int, keys: Sequence[bytes], *, asked: bool) -> list[Value]:
        """The values of sorted keys in block ``index``, counted; ``asked``: the filter let all of them through."""
        table, counters = self._table, self._table.counters
        block = table.cached[index]
        values = table.all_by_row(index, keys) if block is None and len(keys) <= FEW else None
        read = block is None and values is None
        if values is not None:
            table.row_marks[index] = 1
        elif block is None:
            payload, layout, at, size = table.file.frame(index)
            counters.block_bytes += size
            if layout is not None and self._uniform and (row := row_in(payload, layout, keys[0])) >= 0:
                side_by_side = values_from(payload, layout, keys, row) if row + len(keys) <= rows_of(layout) else None
                values = None if side_by_side is None else [*side_by_side]
            if values is None or table.block_tray.room(size):
                block = table.file.from_payload(index, payload, at)
        else:
            table.block_tray.marks[index] = 1
        if values is None:
            assert block is not None
            values = values_in(block, keys, uniform=self._uniform, bare=self._bare)
        missing = values.count(False)
        passed, found = missing, len(keys) - missing
        counters.found += found
        if missing and not asked:
            passed = sum(table.may_hold(key, None) for key, value in zip(keys, values, strict=True) if value is False)
        counters.misses += passed
        if found or passed:
            counters.block_reads += read
            counters.cache_hits += not read
        else:
            counters.unfiltered_reads += read
        if read and found and block is not None:
            table.keep_block(index, block)
        if read and missing:
            table.streak = 0
        return values

    def _filtered(self, where: Sequence[int]) -> Sequence[int]:
        """Those of the positions whose keys the filter lets through."""
        bloom, n = self._table.bloom, len(where)
        if bloom is None:
            return where
        if n <= SCALAR_FILTER:
            passed = [t for t in where if bloom.may_contain(*hash_key(self._keys[t]))]
        else:
            pick = self._pick if n == len(self._pick) else [self._pick[t] for t in where]
            hashes = self._batch.hashes
            hashes = hashes[pick.start : pick.stop] if isinstance(pick, range) else hashes[pick]
            passed = [where[i] for i in np.flatnonzero(bloom.check_many(hashes)).tolist()]
        stopped = n - len(passed)
        self._table.counters.filter_negatives += stopped
        return passed


def neighbours(table: TableReader, keys: Sequence[bytes]) -> list[Value] | None:
    """The values of keys that are the next entries of the table, one after the other; None if they are not, or may not be.

    Keys may be in any order and occur twice. Requires that none is longer than the first. Looks at both ends first, so that
    other batches lose little by asking.

    I/O: one read per block that is not cached.
    """
    fences, n = table.fences, len(keys)
    index = bisect_left(fences, keys[0])
    beyond = min(index + n // 4 + 2, table.blocks)
    last = bisect_left(fences, keys[-1], index, beyond)
    if last == beyond:
        return None
    joined = b"".join(keys)
    if len(joined) != n * len(keys[0]):
        return None
    found = answer(table, keys, joined, index, last + 1)
    return _block_by_block(table, keys, joined, index, last) if found is False else found


def _block_by_block(  # noqa: PLR0912, PLR0915 - the hottest loop of batches: calls out of it would cost a tenth
    table: TableReader, keys: Sequence[bytes], joined: bytes, index: int, last: int
) -> list[Value] | None:
    """:func:`neighbours` in blocks ``index`` to ``last``, whatever they are like."""
    counters, cached, width, n = table.counters, table.cached, len(keys[0]), len(keys)
    file, offsets, layouts, marks = table.file, table.offsets, table.file.layouts, table.block_tray.marks
    out: list[Value] = []
    row, i = -1, 0
    hits = reads = fetched = size = first = stop = 0
    data, sound = b"", [False]
    while i < n and index <= last:
        block = cached[index]
        if block is not None:
            payload, layout, start = block.payload, block.layout, 0
            marks[index] = 1
            hits += 1
        else:
            if index >= stop:
                first, stop = index, index + 1
                while stop <= last and cached[stop] is None and offsets[stop + 1] - offsets[first] <= STRETCH_BYTES:
                    stop += 1
                data, sound = file.stretch(first, stop)
                reads += 1
                fetched += stop - first
                size += offsets[stop] - offsets[first]
            start, extent = offsets[index] - offsets[first], offsets[index + 1] - offsets[index]
            payload, layout, inside = data, layouts[index], FRAME_BYTES
            if not sound[index - first]:
                payload, layout, inside = file.opened(index, data[start : start + extent])
                start = 0
            table.near_left -= 1
            if table.near_left <= 0 and table.wants_near(index, extent):
                table.hold_block(index, data[start : start + extent] if payload is data else payload, inside)
        if layout is None or layout[2] + layout[4] != width:
            break
        low, values_at, each, more, skip = layout
        if row < 0 and (row := row_in(payload, layout, keys[0], start)) < 0:
            break
        if i and keys[i] == keys[i - 1]:  # this block begins with an older version
            break
        end = min(i + (values_at - low) // each - row, n)
        part = joined[i * width : end * width]
        if skip or not more:
            values = values_of(payload, layout, part, row, start)
            if values is None:
                break
            out += values
        elif payload.startswith(part, start + low + row * each):
            out += cutter(more, end - i)(payload, start + values_at + row * more)
        else:
            break
        row, i, index = 0, end, index + 1
    counters.block_bytes += size
    if i < n:
        counters.unfiltered_reads += reads
        return None
    counters.block_reads += fetched
    counters.joined_reads += fetched - reads
    counters.cache_hits += hits
    counters.found += n
    return out


def keys_at(keys: Sequence[bytes], pick: Sequence[int]) -> Sequence[bytes]:
    """The keys at these positions."""
    if isinstance(pick, range):
        return keys if len(pick) == len(keys) else keys[pick.start : pick.stop]
    return [keys[i] for i in pick]
