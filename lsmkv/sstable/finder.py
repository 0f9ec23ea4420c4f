"""The finder of a table: the value of each key by the key's hash, for single gets.

Entries are dealt out over parts by the first bits of their keys' hashes, and inside a part over buckets by the next ones::

    starts    u16 or u32 [buckets + 1]   the entries of each bucket, 16 to 32 on average
    tags      n bytes                    the last byte of each hash: which entries of the bucket are worth a look
    records   (8 + width) n bytes        xxh3 of key and value, and the value

A lookup takes two steps through small arrays and then one cold line, that of the record, where a bisection over the fences and
the rows of a block (:mod:`lsmkv.sstable.rows`) take six to eight. No key is kept and none compared: key and value, sealed
together, match the eight bytes kept or they do not. Hashes and seals have seeds of their own in every process. A key whose tag
is not in its bucket is not in the table, for certain.

Where there is no room for the values, a record has the place of the value in the file instead: a *place finder*. A lookup then
reads the value's own bytes, and nothing around them.

Only for tables that hold each key once, no tombstone, and values of one width.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
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
    "PLACE_BYTES",
    "SEAL_BYTES",
    "Finder",
    "FinderMaker",
    "UnfitError",
    "extra_bytes",
    "hash_of",
    "lookup",
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

PLACE_BYTES = 5
"""Of an offset in a table: up to a tebibyte."""

LEAST_PLACED, MOST_PLACED = 64, 1024
"""Bytes of a value that is worth a place. Of smaller ones the block cache holds many; of larger ones a block holds few, and to
read it whole costs little more."""

EXTRA_BYTES = SEAL_BYTES + 2
"""What an entry takes beside its value: seal, tag, and its share of starts and parts."""

Part: TypeAlias = "tuple[array[int], bytes, bytes]"

Finder: TypeAlias = "tuple[list[Part], int, int, int, int, int]"
"""Parts; by how many bits a hash is shifted for the part, and for the bucket; mask of the bucket; bytes of a record; seed of the
hashes. A plain tuple: taking it apart costs a tenth of six attributes."""

hash_of = xxh3_64_intdigest
"""``hash_of(key, seed)``."""


class UnfitError(Exception):
    """The table is not one that a finder can serve."""


def extra_bytes(entries: int, *, placed: bool = False) -> int:
    """Bytes a finder of so many entries takes beside the values; all bytes of a place finder (``placed``)."""
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
    """The value of ``key``; False: it is not in the table; None: something looked like it and was not."""
    parts, part_shift, shift, mask, size, seed = finder
    h = hash_of(key, seed)
    starts, tags, records = parts[h >> part_shift]
    bucket = h >> shift & mask
    end = starts[bucket + 1]
    row = tags.find(h & 0xFF, starts[bucket], end)
    if row < 0:
        return False
    while row >= 0:
        at = size * row
        value = records[at + SEAL_BYTES : at + size]
        if records.startswith(xxh3_64_digest(key + value, seal_seed), at):
            return value
        row = tags.find(h & 0xFF, row + 1, end)
    return None


class FinderMaker:
    """Makes the finder of a table, some blocks or a part at a time. One thread at a time."""

    def __init__(self, file: TableFile, each: int, seed: int, seal_seed: int, *, placed: bool = False) -> None:
        """``placed``: a place finder is made."""
        entries = file.properties.meta.entries
        bits = max(0, (entries // PART_ENTRIES).bit_length() - 1)
        self._file = file
        self.each = each
        self.placed = placed
        self._kept = PLACE_BYTES if placed else each
        """Bytes of a record behind the seal."""
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
        return self._parts, self._part_shift, shift, (1 << self._bucket_bits) - 1, SEAL_BYTES + self._kept, self._seeds[0]

    def _take(self, first: int, blocks: Sequence[Block]) -> None:
        """Deal out the entries of these blocks, of which the first has this number: hash, seal and value, or place, of each."""
        each, kept = self.each, self._kept
        keys: list[bytes] = []
        values: list[bytes] = []
        for block in blocks:
            more = block.keys_list(0, block.entries)
            if block.deletes or block.repeats or block.value_each != each or more[0] == self._last:
                raise UnfitError
            self._last = more[-1]
            keys += more
            values += cast("list[bytes]", block.values_list(0, block.entries))
        n = len(keys)
        seed, seal_seed = self._seeds
        hashes = np.frombuffer(b"".join([xxh3_64_digest(key, seed) for key in keys]), ">u8").astype(np.uint64)
        seals = b"".join([xxh3_64_digest(key + value, seal_seed) for key, value in zip(keys, values, strict=True)])
        rows = np.empty((n, HASH_BYTES + SEAL_BYTES + kept), np.uint8)
        rows[:, :HASH_BYTES] = hashes.view(np.uint8).reshape(n, HASH_BYTES)
        rows[:, HASH_BYTES : HASH_BYTES + SEAL_BYTES] = np.frombuffer(seals, np.uint8).reshape(n, SEAL_BYTES)
        if self.placed:
            rows[:, HASH_BYTES + SEAL_BYTES :] = self._places(first, blocks)
        elif each:
            rows[:, HASH_BYTES + SEAL_BYTES :] = np.frombuffer(b"".join(values), np.uint8).reshape(n, each)
        order, parts = self._dealt(hashes)
        flat, width = rows[order].tobytes(), rows.shape[1]
        for part, start, stop in parts:
            self._raw[part] += flat[start * width : stop * width]

    def _places(self, first: int, blocks: Sequence[Block]) -> NDArray[np.uint8]:
        """Where the values of these blocks are in the file, ``PLACE_BYTES`` each."""
        offsets, each = self._file.offsets, self.each
        starts: list[I64] = []
        for i, block in enumerate(blocks, first):
            at = offsets[i] + block.values_at + FRAME_BYTES * (not block.in_place)
            if at + each * block.entries != offsets[i + 1]:  # compressed: values cannot be read by themselves
                raise UnfitError
            starts.append(at + each * np.arange(block.entries))
        return np.concatenate(starts).astype("<u8").view(np.uint8).reshape(-1, 8)[:, :PLACE_BYTES]

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
        """One part of the finder."""
        width = HASH_BYTES + SEAL_BYTES + self._kept
        rows = np.frombuffer(raw, np.uint8).reshape(-1, width)
        hashes = np.ascontiguousarray(rows[:, :HASH_BYTES]).view(np.uint64).ravel()
        order = np.argsort(hashes)
        hashes = hashes[order]
        records = np.ascontiguousarray(rows[:, HASH_BYTES:]).view(opaque(width - HASH_BYTES)).ravel().take(order).tobytes()
        shift = self._part_shift - self._bucket_bits
        buckets = (hashes >> np.uint64(shift) & np.uint64((1 << self._bucket_bits) - 1)).view(np.int64)
        ends = np.cumsum(np.bincount(buckets, minlength=1 << self._bucket_bits))
        kind = "H" if len(order) <= 0xFFFF else "I"
        return array(kind, [0, *ends.tolist()]), (hashes & np.uint64(0xFF)).astype(np.uint8).tobytes(), records
