"""The hash column of a table: for each key, where in the file its value is, found by the key's hash and not by its place.

::

    starts   u32 [2^bits + 1]   the entries of each bucket; a key's bucket are the first bits of its hash
    seals    u64 [n]            the hash of each entry, bucket by bucket; never 0
    proofs   u64 [n, 2]         xxh3 of key and value, seeded anew in every process; where in the file the value begins (0: only
                                the block can tell: a tombstone, or a value of another width than most)
    values   opaque [n]         the values, if there is room for them

Fences and filters serve one key after the other. A batch of keys that lie anywhere asks the columns of all runs in a few NumPy
calls instead, and reads the values it wants, 28 bytes instead of the 4,096 around them. Hashes only say where to look: what
is read is believed if key and value together match the eight bytes kept, so keys with one hash, made to be so even, and
damaged bytes are all found out. About 28 bytes an entry, and its value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias, cast

import numpy as np
from mmh3 import mmh3_x64_128_digest
from numpy.typing import NDArray
from xxhash import xxh3_64_digest

from lsmkv.base.columns import I64, U64, opaque
from lsmkv.base.counters import Counters
from lsmkv.sstable.block import Block
from lsmkv.sstable.tablefile import TableFile

__all__ = ["ENTRY_BYTES", "GAP", "U32", "Column", "ColumnMaker", "Opaque", "check_of", "column_bytes", "seals_of"]

U32: TypeAlias = NDArray[np.uint32]
Opaque: TypeAlias = NDArray[np.void]

ENTRY_BYTES = 24
"""Bytes of an entry beside its share of ``starts``."""

BUCKET_ENTRIES = 1
"""Entries of a bucket, on average at least: more make the window of a lookup wider, fewer the starts longer."""

GAP = 32
"""Most entries of a bucket, and so many unused ones lie behind a column: a lookup's window ends there. Of ten million keys
the fullest bucket has about fifteen, unless they were chosen for it: such a column is not used."""

check_of = xxh3_64_digest
"""``check_of(key + value, seed)``: the eight bytes that a check column holds, big-endian."""


class Column(NamedTuple):
    """The column of one table."""

    each: int
    """Bytes of every value whose place is known."""
    bits: int
    starts: U32
    seals: U64
    proofs: U64
    widest: int
    """Entries of the fullest bucket."""
    values: Opaque | None


def seals_of(hashes: U64) -> U64:
    """The seals of keys by their hashes, (n, 2): never 0, which stands where nothing is."""
    return np.maximum(hashes[:, 0], np.uint64(1))


def _bits(entries: int) -> int:
    """Bits of the bucket number for so many entries: at least one, so that the first and the last bucket differ."""
    return max(1, (entries // BUCKET_ENTRIES).bit_length() - 1)


def column_bytes(entries: int, each: int = 0) -> int:
    """Bytes a column of so many entries takes, with values of ``each`` bytes if they are held."""
    return ENTRY_BYTES * (entries + GAP) + each * entries + 4 * ((1 << _bits(entries)) + 1)


def _extents(block: Block) -> tuple[I64, I64]:
    """Where each value of a block begins among its values, and its length; tombstones are empty."""
    each = block.value_each
    if each >= 0:
        return each * np.arange(block.entries), np.full(block.entries, each)
    ends = np.frombuffer(block.value_ends_bytes(), "<u4").astype(np.int64)
    return ends[:-1], np.diff(ends)


class ColumnMaker:
    """Makes the column of a table, some blocks at a time; with its values if they take at most ``room`` bytes.

    One thread at a time.
    """

    def __init__(self, file: TableFile, seed: int, room: int) -> None:
        self.file = file
        self._room = room
        self._values: list[tuple[int, Opaque]] | None = []
        self._seed = seed
        self._next = 0
        self._each = -1
        self._last: bytes | None = None
        self._taken = 0  # entries, whose bytes are joined: as objects they would take five times as much
        self._seals = bytearray()
        self._checks = bytearray()
        self._spots = bytearray()

    @staticmethod
    def suits(file: TableFile) -> bool:
        """Whether values of this table can be read by themselves: it is not compressed."""
        return file.properties.compression == "none"

    def advance(self, rows: int, counters: Counters) -> Column | None:
        """Take in blocks until there are ``rows`` more rows; the column once all are in.

        I/O: reads these blocks, past the cache. IOFailedError, CorruptionError.
        """
        file = self.file
        while rows > 0 and self._next < file.blocks:
            block = file.block(self._next)
            extent = file.block_extent(self._next)
            counters.unfiltered_reads += 1  # nobody's fetch, but a read
            counters.block_bytes += extent
            self._take(block, file.offsets[self._next])
            rows -= block.entries
            self._next += 1
        return self._done() if self._next == file.blocks else None

    def _take(self, block: Block, offset: int) -> None:
        """Take in one block."""
        n = block.entries
        keys, values = block.keys_list(0, n), block.values_list(0, n)
        begins, lengths = _extents(block)
        if self._each < 0 and lengths.any():
            counts = Counter(lengths[lengths > 0].tolist())  # np.unique would import numpy.ma first, 45 ms in the middle of a get
            self._each = min(counts, key=lambda width: (-counts[width], width))
            if self._each * self.file.properties.meta.entries > self._room:
                self._values = None
        fits = (lengths == self._each) & block.in_place
        if block.deletes:
            fits &= [value is not None for value in values]
        spots = np.where(fits, offset + block.values_at + begins, 0).astype(np.uint64)
        items = self._items(values, fits) if self._values is not None and fits.any() else None
        if block.repeats or keys[0] == self._last:  # older versions come behind the newest, and are nobody's business
            new = [i for i, key in enumerate(keys) if key != (keys[i - 1] if i else self._last)]
            keys, values, spots = [keys[i] for i in new], [values[i] for i in new], spots[new]
            items = None if items is None else items[new]
        self._seals += seals_of(np.frombuffer(b"".join(map(mmh3_x64_128_digest, keys)), "<u8").reshape(-1, 2)).tobytes()
        seed = self._seed
        self._checks += b"".join([check_of(key + (value or b""), seed) for key, value in zip(keys, values, strict=True)])
        self._spots += spots.tobytes()
        if self._values is not None and items is not None:
            self._values.append((self._taken, items))
        self._taken += len(keys)
        self._last = keys[-1] if keys else self._last

    def _items(self, values: Sequence[bytes | None], fits: NDArray[np.bool_]) -> Opaque:
        """The values that fit, zeros for the others. Not a view: it would keep the rest of the block, too."""
        width = opaque(self._each)
        if fits.all():
            return np.frombuffer(b"".join(cast("Sequence[bytes]", values)), width)
        items: Opaque = np.zeros(len(values), width)
        items[fits] = np.frombuffer(b"".join([value for value, fit in zip(values, fits, strict=True) if fit and value]), width)
        return items

    def _done(self) -> Column:
        """The column of what was taken in."""
        hashes = np.frombuffer(self._seals, np.uint64)
        bits = _bits(len(hashes))
        order = np.argsort(hashes)  # of equal ones any may come first; a stable sort takes four times as long
        seals = hashes[order]
        proofs = np.empty((len(order), 2), np.uint64)
        proofs[:, 0] = np.frombuffer(self._checks, ">u8")[order]
        proofs[:, 1] = np.frombuffer(self._spots, np.uint64)[order]
        starts = np.zeros((1 << bits) + 1, np.uint32)
        np.cumsum(np.bincount((seals >> np.uint64(64 - bits)).view(np.int64), minlength=1 << bits), out=starts[1:])
        return Column(
            each=max(self._each, 0),
            bits=bits,
            starts=starts,
            seals=seals,
            proofs=proofs,
            widest=int(np.diff(starts).max()),
            values=self._held(order),
        )

    def _held(self, order: I64) -> Opaque | None:
        """The values in the order of the column; those whose place is not known are zeros."""
        if not self._values:
            return None
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        held: Opaque = np.zeros(len(order), opaque(self._each))
        for start, rows in self._values:
            held[place[start : start + len(rows)]] = rows
        return held
