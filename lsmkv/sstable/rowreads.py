"""Point lookups by row: reading, keeping and growing what :mod:`lsmkv.sstable.rows` describes.

A block that a lookup read is held as it is while there is room; the second lookup that finds it keeps its rows instead (making
them costs ten times a hit, which ones that never come again should not pay). A full cache keeps rows at once, and trims values
before it lets rows go. Without its values a row is read from the file, and now and then the whole column, which stays.
"""

from __future__ import annotations

from collections.abc import Sequence

from xxhash import xxh3_64_digest

from lsmkv.cache.blockcache import LAST_CHANCES
from lsmkv.errors import io_failed
from lsmkv.sstable.access import GROW_EVERY, TableAccess
from lsmkv.sstable.block import OBJECT_BYTES, Block
from lsmkv.sstable.finder import PLACED_RECORD_BYTES, Part, place_in
from lsmkv.sstable.quick import Value
from lsmkv.sstable.rows import ENDS, MOST_TRIES, SEAL_BYTES, Rows, fits, make_rows, tip_of, weight

__all__ = ["RowAccess"]

FAVOUR_EVERY = 32
"""Of the values that are read at their places, one in so many is kept: to keep one costs as much as half a read of it saves."""


class RowAccess(TableAccess):
    """An open table whose lookups keep rows."""

    def by_row(self, index: int, rows: Rows, key: bytes) -> Value:
        """The newest value of ``key`` in a block whose rows are held, its fetch counted.

        False: the block does not hold the key, for certain. None: only the block can tell (a row looked like the key's and was
        not, or its value is damaged); what was read for that is counted among the unfiltered reads.

        Values that are not held are read from the file as a column. Now and then (``row_reads`` is 0), and while there is room,
        the whole block is read and checked instead, and its values are held from then on.

        I/O: one read of the block or of its value column, unless the values are held.
        """
        n, _, values_at, column_at, size, plain = self.row_layouts[index]
        row = rows.find(key[-1:] if plain else tip_of(key), 0, n)
        if row < 0:
            return False
        if len(rows) >= values_at + size:
            value, read = self._match(index, rows, key, row, rows, values_at), 0
        elif self.row_reads and not self.row_tray.room(size):
            column = self.file.part(self.offsets[index] + column_at, size)
            read = size
            value = self._match(index, rows, key, row, column, 0) if len(column) == size else None  # the file was cut off
        else:
            payload, _, _, read = self.file.frame(index)
            column = payload[column_at:]
            value = self._match(index, rows, key, row, column, 0)
            self._hold(index, rows + column)
        self.row_marks[index] = 1
        counters = self.counters
        counters.row_looks += 1
        if not read:
            counters.cache_hits += value is not None and value is not False
            return value
        if value is None or value is False:
            counters.unfiltered_reads += 1
            counters.block_bytes += read
            return None
        counters.block_reads += 1
        counters.block_bytes += read
        return value

    def one_row(self, index: int, rows: Rows, row: int, key: bytes) -> bytes | None:
        """The value of ``row``, read from the file and counted if it is that of ``key``; None if it is not, or now and then.

        Requires values of one width that are not held. I/O: one read of a value.
        """
        turn = self.row_reads = (self.row_reads + 1) % GROW_EVERY
        if not turn:
            return None
        n, each, _, column_at, _, _ = self.row_layouts[index]
        try:
            value = self.file.pread(each, self.offsets[index] + column_at + row * each)
        except OSError as error:
            raise io_failed("read table", self.file.path, error) from error
        counters, size = self.counters, len(value)
        if size != each or not rows.startswith(xxh3_64_digest(key + value, self.seed), n + SEAL_BYTES * row):
            counters.unfiltered_reads += 1  # cut off: with a longer key it could be the same bytes
            counters.block_bytes += size
            return None
        self.row_marks[index] = LAST_CHANCES
        counters.block_reads += 1
        counters.block_bytes += each
        counters.found += 1
        counters.row_looks += 1
        return value

    def placed(self, key: bytes, part: Part, row: int, end: int) -> bytes | None:
        """The value of ``key``, read where one of the rows from ``row`` to ``end - 1`` with its tag says it is, and counted.

        None: only the block can tell, because these rows are of other keys, or the value is damaged. I/O: one read of a value.
        """
        counters, value = self.counters, self.favourites.get(key)
        if value is not None:
            counters.row_hits += 1
            return value
        _, tags, records, _ = part
        each = self.placed_width
        while row >= 0:
            at = PLACED_RECORD_BYTES * row
            try:
                value = self.file.pread(each, place_in(records, at + SEAL_BYTES)[0])
            except OSError as error:
                raise io_failed("read table", self.file.path, error) from error
            seal = xxh3_64_digest(key + value, self.seed)
            if len(value) == each and records.startswith(seal, at):  # cut off: with a longer key it could be the same bytes
                counters.block_bytes += each
                counters.place_reads = reads = counters.place_reads + 1
                if not reads % FAVOUR_EVERY:
                    self.favourites.keep(key, value)
                return value
            counters.unfiltered_reads += 1  # another key's, or damaged
            counters.block_bytes += len(value)
            row = tags.find(tags[row], row + 1, end)
        return None

    def _match(self, index: int, rows: Rows, key: bytes, row: int, column: bytes, at: int) -> Value:
        """The value of ``key``, whose tip ``row`` has, in a value column from ``at`` on; False, None as :meth:`by_row`."""
        n, each, _, _, _, _ = self.row_layouts[index]
        tip = rows[row : row + 1]
        for _ in range(MOST_TRIES):
            if each >= 0:
                start, stop = row * each, (row + 1) * each
            else:
                start, stop = ENDS.unpack_from(rows, (1 + SEAL_BYTES) * n + 4 * row)
            value = column[at + start : at + stop]
            if rows.startswith(xxh3_64_digest(key + value, self.seed), n + SEAL_BYTES * row):
                return value
            row = rows.find(tip, row + 1, n)
            if row < 0:
                return False
        return None

    def all_by_row(self, index: int, keys: Sequence[bytes]) -> list[Value] | None:
        """The values of keys of one block, not counted, if its rows are held with their values and can tell; else None."""
        rows = self.rows[index]
        if rows is None:
            return None
        n, _, values_at, _, size, plain = self.row_layouts[index]
        if len(rows) < values_at + size:
            return None
        values: list[Value] = []
        for key in keys:
            row = rows.find(key[-1:] if plain else tip_of(key), 0, n)
            value = False if row < 0 else self._match(index, rows, key, row, rows, values_at)
            if value is None:
                return None
            values.append(value)
        return values

    def read(self, index: int, key: bytes) -> Value:
        """The newest value of ``key`` in a block of which nothing is held; if it is there, what the cache wants is kept.

        I/O: one read.
        """
        counters, file, cache = self.counters, self.file, self.row_tray.cache
        value, frame = file.value(index, key)
        size = len(frame)
        counters.block_reads += 1
        counters.block_bytes += size
        if value is not False and cache is not None:
            if self.block_tray.room(size + OBJECT_BYTES):
                block = file.from_frame(index, frame)
                self.block_tray.hold(index, block, block.charge)
            elif self.row_tray.wants(index, size, cache.rows):
                block = file.from_frame(index, frame)
                if fits(block):
                    self.keep_rows(index, block)
                else:
                    self.block_tray.hold(index, block, block.charge)
        return value

    def keep_rows(self, index: int, block: Block) -> None:
        """Keep the rows of a block that fits, instead of the block."""
        tray = self.row_tray
        rows, tray.notes[index] = make_rows(block, self.seed, held=tray.room(len(block.payload)))
        self._hold(index, rows)
        self.block_tray.let_go(index)

    def _hold(self, index: int, rows: Rows) -> None:
        """Hold rows whose layout is known."""
        self.row_tray.hold(index, rows, weight(self.row_layouts[index], rows))
