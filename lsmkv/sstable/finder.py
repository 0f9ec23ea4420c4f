"""The finder of a table: the value of each key by the key's hash, for single gets.

Entries are dealt out over parts by the first bits of their keys' hashes, and inside a part over buckets by the next ones::

    starts    u16 or u32 [buckets + 1]   the entries of each bucket, 16 to 32 on average
    tags      n bytes                    the last byte of each hash: which entries of the bucket are worth a look
    records   (8 + width) n bytes        xxh3 of key and value, and the value

A lookup takes two steps through small arrays and then one cold line, that of the record, where a bisection over the fences and
the rows of a block (:mod:`lsmkv.sstable.rows`) take six to eight. No key is kept and none compared: key and value, sealed
together, match the eight bytes kept or they do not. Hashes and seals have seeds of their own in every process. A key whose tag
is not in its bucket is not in the table, for certain.

Where there is no room for all values, some parts hold none: a record has the place of the value in the file instead, and a lookup
reads the value's own bytes and nothing around them. Parts are by hash, so whatever is asked, the same share of it is in memory.
Such a finder is a *place finder*; what is asked most of the values it does not hold is kept beside it (:class:`Favourites`).

A lookup is written twice: :func:`lookup` says what it does, and :meth:`~lsmkv.sstable.reader.TableReader.value` does it in line,
because a call costs 0.1 us of 1.1. What follows where a part has places is in one place, ``RowAccess.placed``.

Only for tables that hold each key once, no tombstone, and values of one width.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from struct import Struct
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_digest, xxh3_64_intdigest

from lsmkv.base.columns import I64, U64, opaque
from lsmkv.base.counters import Counters
from lsmkv.sstable.block import Block
from lsmkv.sstable.layout import FRAME_BYTES
from lsmkv.sstable.quick import Value
from lsmkv.sstable.tablefile import TableFile

__all__ = [
    "LEAST_PLACED",
    "MOST_PLACED",
    "PLACED_RECORD_BYTES",
    "PLACE_BYTES",
    "SEAL_BYTES",
    "Favourites",
    "Finder",
    "FinderMaker",
    "UnfitError",
    "extra_bytes",
    "hash_of",
    "lookup",
    "place_in",
    "suits",
]

SEAL_BYTES = 8

HASH_BYTES = 8

STEP_BYTES = 64 << 10
"""Of blocks that are taken in at once: a millisecond's work."""

PLACED_STEP_BYTES = 256 << 10
"""... for a place finder: values that are not kept are larger, as a rule, so entries are fewer."""

PART_ENTRIES = 1 << 13
"""Entries of a part, at least: one is finished in a millisecond, so that no lookup of the many that make a finder waits long."""

BUCKET_ENTRIES = 16
"""Entries of a bucket, at least: the more, the smaller ``starts``, and the more tags that are alike."""

PLACED_PARTS_BITS, PLACED_PART_ENTRIES = 5, 1 << 5
"""A place finder has 32 parts, if so many entries are in each: what it holds is then close to the room it has."""

PLACE_BYTES = 8
"""Of an offset in a table: ``struct`` takes eight bytes out at once, and five would need twice the time."""

PLACED_RECORD_BYTES = SEAL_BYTES + PLACE_BYTES

place_in = Struct("<Q").unpack_from
"""``place_in(records, at)``: the offset there, in a tuple."""

LEAST_PLACED, MOST_PLACED = 64, 1024
"""Bytes of a value that is worth a place. Of smaller ones the block cache holds many; of larger ones a block holds few, and to
read it whole costs little more."""

EXTRA_BYTES = SEAL_BYTES + 2
"""What an entry takes beside its value: seal, tag, and its share of starts and parts."""

FAVOURITE_BYTES = 200
"""What a favourite takes beside key and value: two objects, rounded up, and its place in a dict."""

Part: TypeAlias = "tuple[array[int], bytes, bytes, int]"
"""Starts, tags, records, bytes of a record; 0: the records have places, not values."""

Finder: TypeAlias = "tuple[list[Part], int, int, int, int]"
"""Parts; by how many bits a hash is shifted for the part, and for the bucket; mask of the bucket; seed of the hashes. A plain
tuple: taking it apart costs a tenth of five attributes."""

hash_of = xxh3_64_intdigest
"""``hash_of(key, seed)``."""


class UnfitError(Exception):
    """The table is not one that a finder can serve."""


def extra_bytes(entries: int, *, placed: bool = False) -> int:
    """Bytes a finder of so many entries takes beside the values; ``placed``: a place finder."""
    return (EXTRA_BYTES + PLACE_BYTES * placed) * entries


def suits(file: TableFile) -> int:
    """Width of the values of a table that may get a finder; below 0: it may not.

    What the properties tell: whether all values are as wide as their mean, and no key comes twice, is seen when it is made.
    """
    meta, width = file.properties.meta, file.properties.key_width
    if width < 0 or meta.tombstones:
        return -1
    each, odd = divmod(meta.raw_bytes - width * meta.entries, meta.entries)
    return -1 if odd else each


def lookup(finder: Finder, key: bytes, seal_seed: int) -> Value:
    """The value of ``key``; False: it is not in the table; None: something looked like it and was not, or has a place only."""
    parts, part_shift, shift, mask, seed = finder
    h = hash_of(key, seed)
    starts, tags, records, size = parts[h >> part_shift]
    bucket = h >> shift & mask
    end = starts[bucket + 1]
    row = tags.find(h & 0xFF, starts[bucket], end)
    if row < 0:
        return False
    while row >= 0 and size:
        at = size * row
        value = records[at + SEAL_BYTES : at + size]
        if records.startswith(xxh3_64_digest(key + value, seal_seed), at):
            return value
        row = tags.find(h & 0xFF, row + 1, end)
    return None


class FinderMaker:
    """Makes the finder of a table, some blocks or a part at a time. One thread at a time."""

    def __init__(self, file: TableFile, each: int, seed: int, seal_seed: int, *, room: int | None = None) -> None:
        """``room``: a place finder is made that holds so many bytes of values at most."""
        entries = file.properties.meta.entries
        self.placed = placed = room is not None
        bits = max(0, (entries // PART_ENTRIES).bit_length() - 1)
        if placed:
            bits = max(bits, min(PLACED_PARTS_BITS, (entries // PLACED_PART_ENTRIES).bit_length() - 1), 0)
        self._file = file
        self.entries = entries
        self.each = each
        self.held_bytes = 0
        """Of the values in the parts that are finished."""
        self._room = each * entries if room is None else room
        self._first_bare = 1 << bits
        """Parts from this one on have no values. Parts differ in size by chance: one more than expected may fit."""
        if room is not None:
            self._first_bare = min(1 << bits, (room << bits) // (each * entries) + (room > 0))
        self._seeds = seed, seal_seed
        self._part_shift = 64 - bits
        self._bucket_bits = max(0, ((entries >> bits) // BUCKET_ENTRIES).bit_length() - 1)
        self._raw = [bytearray() for _ in range(1 << bits)]
        self._parts: list[Part] = []
        self._next = 0
        self._last: bytes | None = None

    def advance(self, counters: Counters) -> Finder | None:
        """One step; the finder after the last one.

        I/O: one read of some blocks, past the cache. IOFailedError, CorruptionError, UnfitError.
        """
        file, start = self._file, self._next
        if start < file.blocks:
            blocks = next(file.block_runs(start, file.blocks, PLACED_STEP_BYTES if self.placed else STEP_BYTES))
            self._next = start + len(blocks)
            counters.unfiltered_reads += 1  # nobody's fetch, but a read
            counters.block_bytes += file.offsets[self._next] - file.offsets[start]
            self._take(start, blocks)
            return None
        raw = self._raw[len(self._parts)]
        self._raw[len(self._parts)] = bytearray()
        self._parts.append(self._finished(raw))
        if len(self._parts) < len(self._raw):
            return None
        shift = self._part_shift - self._bucket_bits
        return self._parts, self._part_shift, shift, (1 << self._bucket_bits) - 1, self._seeds[0]

    def _take(self, first: int, blocks: Sequence[Block]) -> None:
        """Deal out the entries of these blocks, of which the first has this number: hash, seal and value, or place, of each."""
        each = self.each
        keys: list[bytes] = []
        values: list[bytes] = []
        for block in blocks:
            more = block.keys_list(0, block.entries)
            if block.deletes or block.repeats or block.value_each != each or more[0] == self._last:
                raise UnfitError
            self._last = more[-1]
            keys += more
            values += cast("list[bytes]", block.values_list(0, block.entries))
        seed, seal_seed = self._seeds
        hashes = np.frombuffer(b"".join([xxh3_64_digest(key, seed) for key in keys]), ">u8").astype(np.uint64)
        seals = b"".join([xxh3_64_digest(key + value, seal_seed) for key, value in zip(keys, values, strict=True)])
        order, parts = self._dealt(hashes)
        columns = [hashes.view(np.uint8).reshape(-1, HASH_BYTES), np.frombuffer(seals, np.uint8).reshape(-1, SEAL_BYTES)]
        if self.placed:
            columns.append(self._places(first, blocks))
        bare = next((start for part, start, _ in parts if part >= self._first_bare), len(order))
        if bare < len(order):
            self._deal(np.hstack(columns), order[bare:], parts, bare)
        if bare:
            if each:
                columns.append(np.frombuffer(b"".join(values), np.uint8).reshape(-1, each))
            self._deal(np.hstack(columns), order[:bare], parts, 0)

    def _deal(self, rows: NDArray[np.uint8], order: I64, parts: Sequence[tuple[int, int, int]], begin: int) -> None:
        """Append rows to the parts they belong to: those of the order of all entries from ``begin`` on."""
        flat, width = rows.take(order, axis=0).tobytes(), rows.shape[1]
        for part, start, stop in parts:
            if begin <= start < begin + len(order):
                self._raw[part] += flat[(start - begin) * width : (stop - begin) * width]

    def _places(self, first: int, blocks: Sequence[Block]) -> NDArray[np.uint8]:
        """Where the values of these blocks are in the file, ``PLACE_BYTES`` each."""
        offsets, each = self._file.offsets, self.each
        starts: list[I64] = []
        for i, block in enumerate(blocks, first):
            at = offsets[i] + block.values_at + FRAME_BYTES * (not block.in_place)
            if at + each * block.entries != offsets[i + 1]:  # compressed: values cannot be read by themselves
                raise UnfitError
            starts.append(at + each * np.arange(block.entries))
        return np.concatenate(starts).astype("<u8").view(np.uint8).reshape(-1, PLACE_BYTES)

    def _dealt(self, hashes: U64) -> tuple[I64, list[tuple[int, int, int]]]:
        """The order of entries by their parts, and of each part that gets some its number and where they are in that order."""
        if len(self._raw) == 1:
            return np.arange(len(hashes)), [(0, 0, len(hashes))]
        part = (hashes >> np.uint64(self._part_shift)).view(np.int64)
        order = np.argsort(part)
        part = part[order]
        starts = [0, *(np.flatnonzero(part[1:] != part[:-1]) + 1).tolist(), len(part)]
        numbers = part[starts[:-1]].tolist()
        return order, list(zip(numbers, starts[:-1], starts[1:], strict=True))

    def _finished(self, raw: bytearray) -> Part:
        """The next part of the finder."""
        places = PLACE_BYTES if self.placed else 0
        head = HASH_BYTES + SEAL_BYTES + places
        width = head + (self.each if len(self._parts) < self._first_bare else 0)
        rows = np.frombuffer(raw, np.uint8).reshape(-1, width)
        hashes = np.ascontiguousarray(rows[:, :HASH_BYTES]).view(np.uint64).ravel()
        order = np.argsort(hashes)
        hashes = hashes[order]
        more = self.each * len(order)
        if len(self._parts) < self._first_bare and self.held_bytes + more <= self._room:
            self.held_bytes += more
            size = SEAL_BYTES + self.each
            rows = np.hstack((rows[:, HASH_BYTES : HASH_BYTES + SEAL_BYTES], rows[:, head:])) if places else rows[:, HASH_BYTES:]
        else:
            size = 0
            rows = rows[:, HASH_BYTES:head]
        records = np.ascontiguousarray(rows).view(opaque(rows.shape[1])).ravel().take(order).tobytes()
        shift = self._part_shift - self._bucket_bits
        buckets = (hashes >> np.uint64(shift) & np.uint64((1 << self._bucket_bits) - 1)).view(np.int64)
        ends = np.cumsum(np.bincount(buckets, minlength=1 << self._bucket_bits))
        starts = array("H" if len(order) <= 0xFFFF else "I", [0, *ends.tolist()])
        return starts, (hashes & np.uint64(0xFF)).astype(np.uint8).tobytes(), records, size


class Favourites(dict[bytes, bytes]):
    """Keys and values of a table that gets had to read at their places, some of them: what is asked most is soon here.

    A table never changes, so what is here is right as long as the table is asked. Once full all go, and come again.
    """

    __slots__ = ("most",)

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        """So many at most."""

    @staticmethod
    def charge(key_bytes: int, value_bytes: int) -> int:
        """Bytes that one of them takes."""
        return key_bytes + value_bytes + FAVOURITE_BYTES

    def keep(self, key: bytes, value: bytes) -> None:
        """Keep one more."""
        if len(self) >= self.most:
            self.clear()
        if self.most:
            self[key] = value
