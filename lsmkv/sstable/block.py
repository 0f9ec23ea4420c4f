"""One block: some neighbouring entries as columns, read in place without making a Python object per key.

::

    header 32 bytes   entries u32 | prefix bytes u32 | key width u32 | value width u32 | base tag u64 |
                      tag width u8 | flags u8 | 0 u16 | 0 u32
    tags              entries x (tag - base tag), unsigned, of the tag width: 0 (all equal), 1, 2, 4 or 8 bytes
    key ends          u32 [entries + 1], the first 0; absent when the key width is not MIXED
    value ends        u32 [entries + 1], the first 0; absent when the value width is not MIXED
    prefix            what all keys of the block start with (nothing if that is little: see encode.WORTH)
    keys              what follows the prefix in each, end to end (key width: length without the prefix)
    values            end to end; tombstones are empty

    flags             1: some key occurs more than once; 2: some entry is a tombstone

Entries ascend by key, then descend by tag. A decoded :class:`Block` is the payload itself and where its columns start, so
a cached block weighs little more than its bytes and a cold lookup touches few cache lines. (Python lists of keys would
make bisection faster in theory, weigh three times as much, and be slower in fact: every key another cache miss.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from struct import Struct, unpack_from

import numpy as np

from lsmkv.base.columns import I64, U8, U64, ByteColumn, split
from lsmkv.base.keys import Entry
from lsmkv.errors import CorruptionError
from lsmkv.sstable.quick import Layout, Value, shared

__all__ = ["DELETES", "HEADER", "HEADER_BYTES", "MIXED", "REPEATS", "TAG_DTYPES", "Block"]

HEADER = Struct("<IIIIQBBHI")
HEADER_BYTES = HEADER.size
MIXED = (1 << 32) - 1
"""Key or value width of a block whose keys or values differ in length."""
REPEATS = 1
DELETES = 2
FIND_ENTRIES = 256
"""Blocks of more entries are searched by halving instead of ``bytes.find``, which looks at every byte (0.2-0.4 us for 30
keys of 32 bytes, 0.5-1.5 us for 120; halving costs 0.2 us a step)."""
OBJECT_BYTES = 400
"""What a Block weighs beside its payload and samples: the instance, its integers, the prefix."""

TAG_DTYPES = {1: "<u1", 2: "<u2", 4: "<u4", 8: "<u8"}
_TAG_STRUCTS = {1: Struct("<B"), 2: Struct("<H"), 4: Struct("<I"), 8: Struct("<Q")}
_TAG_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_PAIR = Struct("<II")


class Block:
    """A checked payload and where its columns are. Immutable, so threads may share it.

    ``payload`` may hold something else before byte ``start``: a frame read from a file is used as it is, uncopied.

    Raises:
        CorruptionError: on construction, if the sizes in the header disagree with the payload.
    """

    __slots__ = (
        "_few",
        "_key_ends_at",
        "_tag_at_byte",
        "_value_ends_at",
        "base_tag",
        "deletes",
        "entries",
        "key_width",
        "keys_at",
        "layout",
        "payload",
        "prefix",
        "prefix_bytes",
        "repeats",
        "tag_width",
        "tags_at",
        "value_width",
        "values_at",
    )

    def __init__(self, payload: bytes, file: str, offset: int, start: int = 0) -> None:
        if len(payload) < start + HEADER_BYTES:
            raise CorruptionError(file, offset, "block is shorter than its header")
        n, prefix_bytes, key_width, value_width, base, tag_width, flags, zero16, zero32 = HEADER.unpack_from(payload, start)
        self.payload = payload
        self.entries: int = n
        self.prefix_bytes: int = prefix_bytes
        self.key_width: int = key_width
        self.value_width: int = value_width
        self.base_tag: int = base
        self.tag_width: int = tag_width
        self.repeats = bool(flags & REPEATS)
        self.deletes = bool(flags & DELETES)
        self.tags_at = start = start + HEADER_BYTES
        self._key_ends_at = at = start + n * tag_width
        ends = 4 * (n + 1)
        self._value_ends_at = at = at + (ends if key_width == MIXED else 0)
        at += ends if value_width == MIXED else 0
        if (
            not n
            or zero16
            or zero32
            or flags > REPEATS + DELETES
            or (tag_width and tag_width not in TAG_DTYPES)
            or at > len(payload)
        ):
            raise CorruptionError(file, offset, "block header makes no sense")
        self.prefix = payload[at : at + prefix_bytes]
        self.keys_at = at = at + prefix_bytes
        self.values_at = at = at + (self._ends(self._key_ends_at, n - 1)[1] if key_width == MIXED else n * key_width)
        at += self._ends(self._value_ends_at, n - 1)[1] if value_width == MIXED else n * value_width
        if at != len(payload):
            raise CorruptionError(file, offset, f"block columns end at {at}, the block at {len(payload)}")
        self._few = 0 < key_width < MIXED and n <= FIND_ENTRIES
        self.layout: Layout | None = None
        """Where a lookup looks, if that is all there is to know."""
        if self._few and value_width != MIXED and not flags:
            self.layout = shared((self.keys_at, self.values_at, key_width, value_width, prefix_bytes))
        self._tag_at_byte: Callable[[bytes, int], tuple[int, ...]] = _TAG_STRUCTS[tag_width or 1].unpack_from

    @property
    def vectorisable(self) -> bool:
        """Whether keys (without the prefix) have one width above 0, so that NumPy can search them."""
        return 0 < self.key_width < MIXED

    @property
    def charge(self) -> int:
        """Bytes of memory it holds."""
        return len(self.payload) + OBJECT_BYTES + self.prefix_bytes + self.entries

    @property
    def in_place(self) -> bool:
        """Whether the payload is the block's frame as it is in the file."""
        return self.tags_at > HEADER_BYTES

    def last_bytes(self) -> bytes:
        """The last byte of every key, if all keys have one width and differ behind their prefix; else nothing."""
        width = self.key_width
        if width in (0, MIXED):
            return b""
        return self.payload[self.keys_at + width - 1 : self.values_at : width]

    @property
    def value_each(self) -> int:
        """Width of every value, -1 if they differ."""
        return -1 if self.value_width == MIXED else self.value_width

    def value_ends_bytes(self) -> bytes:
        """The column of ends of the values, as it is: u32 [entries + 1]. Requires values that differ in length."""
        return self.payload[self._value_ends_at : self._value_ends_at + 4 * (self.entries + 1)]

    def _ends(self, at: int, i: int) -> tuple[int, int]:
        """Start and end of string i of a column of ends."""
        start, stop = _PAIR.unpack_from(self.payload, at + 4 * i)
        return start, stop

    def _suffix(self, i: int) -> bytes:
        """Key of entry i without the prefix."""
        width, at = self.key_width, self.keys_at
        if width != MIXED:
            at += i * width
            return self.payload[at : at + width]
        start, stop = _PAIR.unpack_from(self.payload, self._key_ends_at + 4 * i)
        return self.payload[at + start : at + stop]

    def key(self, i: int) -> bytes:
        """Key of entry i."""
        return self.prefix + self._suffix(i)

    def entry(self, i: int) -> Entry:
        """Sequence number and value (None: tombstone) of entry i."""
        payload, width = self.payload, self.tag_width
        tag = self.base_tag
        if width:
            tag += self._tag_at_byte(payload, self.tags_at + i * width)[0]
        if not tag & 0xFF:
            return tag >> 8, None
        width, at = self.value_width, self.values_at
        if width != MIXED:
            at += i * width
            return tag >> 8, payload[at : at + width]
        start, stop = _PAIR.unpack_from(payload, self._value_ends_at + 4 * i)
        return tag >> 8, payload[at + start : at + stop]

    def find(self, key: bytes) -> int:
        """The first (newest) entry of ``key``, or -1."""
        skip, width = self.prefix_bytes, self.key_width
        if self._few:
            if len(key) != skip + width or key[:skip] != self.prefix:
                return -1
            start = self.keys_at
            at: int = self.payload.find(key[skip:], start, self.values_at) - start
            if at < 0:
                return -1
            row = at // width
            if row * width == at:
                return row
        row = self.lower(key)
        return row if row < self.entries and self.key(row) == key else -1

    def newest(self, key: bytes) -> Entry | None:
        """The newest entry of ``key``; None if it is not here."""
        row = self.find(key)
        return self.entry(row) if row >= 0 else None

    def value(self, key: bytes) -> Value:
        """The newest value of ``key``: None for a tombstone, False if the key is not here."""
        entry = self.newest(key)
        return False if entry is None else entry[1]

    def holds(self, keys: Sequence[bytes], start: int) -> bool:
        """Whether the entries from ``start`` on are exactly these sorted keys.

        Requires ``vectorisable``, keys as wide as the block's, and that so many entries follow.
        """
        skip, at = self.prefix_bytes, self.keys_at + start * self.key_width
        if skip:
            prefix = self.prefix
            if keys[0][:skip] != prefix or keys[-1][:skip] != prefix:
                return False
            joined = b"".join([key[skip:] for key in keys])
        else:
            joined = b"".join(keys)
        return self.payload.startswith(joined, at)

    def lower(self, key: bytes) -> int:
        """The first entry whose key is >= ``key`` (``entries`` if none)."""
        skip, low, high = self.prefix_bytes, 0, self.entries
        if skip:
            head = key[:skip]
            if head != self.prefix:
                return low if head < self.prefix else high
            key = key[skip:]
        suffix = self._suffix
        while low < high:
            middle = (low + high) // 2
            if suffix(middle) < key:
                low = middle + 1
            else:
                high = middle
        return low

    def tags(self) -> U64:
        """Tag of every entry."""
        width, n = self.tag_width, self.entries
        if not width:
            return np.full(n, self.base_tag, np.uint64)
        return np.frombuffer(self.payload, TAG_DTYPES[width], n, self.tags_at) + np.uint64(self.base_tag)

    def suffixes(self) -> U8:
        """Equal-width keys without the prefix, as uint8 (entries, key width). Requires a key width."""
        n, width = self.entries, self.key_width
        return np.frombuffer(self.payload, np.uint8, n * width, self.keys_at).reshape(n, width)

    def key_ends(self) -> I64:
        """Where each suffix of a block of mixed widths ends: int64 (entries + 1), the first 0."""
        return np.frombuffer(self.payload, "<u4", self.entries + 1, self._key_ends_at).astype(np.int64)

    def value_ends(self) -> I64:
        """Where each value ends in the value column: int64 (entries + 1), the first 0."""
        if self.value_width != MIXED:
            return np.arange(self.entries + 1, dtype=np.int64) * self.value_width
        return np.frombuffer(self.payload, "<u4", self.entries + 1, self._value_ends_at).astype(np.int64)

    def keys_column(self) -> ByteColumn:
        """All keys, whole."""
        n, skip = self.entries, self.prefix_bytes
        if self.key_width == MIXED:
            data = np.frombuffer(self.payload, np.uint8, self.values_at - self.keys_at, self.keys_at)
            suffixes = ByteColumn(data, self.key_ends(), -1)
            return ByteColumn.from_list([self.prefix + s for s in suffixes.tolist()]) if skip else suffixes
        if not skip:
            return ByteColumn.fixed(self.suffixes().reshape(-1), n, self.key_width)
        rows = np.empty((n, skip + self.key_width), np.uint8)
        rows[:, :skip] = np.frombuffer(self.prefix, np.uint8)
        rows[:, skip:] = self.suffixes()
        return ByteColumn.fixed(rows.reshape(-1), n, skip + self.key_width)

    def values_bytes(self) -> U8:
        """All values end to end."""
        return np.frombuffer(self.payload, np.uint8, offset=self.values_at)

    def values_column(self) -> ByteColumn:
        """All values; tombstones are empty."""
        data = self.values_bytes()
        if self.value_width == MIXED:
            return ByteColumn(data, self.value_ends(), -1)
        return ByteColumn.fixed(data, self.entries, self.value_width)

    def keys_list(self, start: int, stop: int) -> list[bytes]:
        """Keys start..stop-1."""
        payload, at, width, prefix = self.payload, self.keys_at, self.key_width, self.prefix
        if width == MIXED:
            ends = self._ends_list(self._key_ends_at, start, stop)
            return [prefix + payload[at + a : at + b] for a, b in pairwise(ends)]
        if not width:
            return [prefix] * (stop - start)
        suffixes = split(payload, at + start * width, width, stop - start)
        return [prefix + suffix for suffix in suffixes] if prefix else suffixes

    def values_list(self, start: int, stop: int) -> list[bytes | None]:
        """Values start..stop-1; None for tombstones."""
        payload, at, width = self.payload, self.values_at, self.value_width
        values: list[bytes | None]
        if width == MIXED:
            ends = self._ends_list(self._value_ends_at, start, stop)
            values = [payload[at + a : at + b] for a, b in pairwise(ends)]
        elif width:
            values = split(payload, at + start * width, width, stop - start)  # type: ignore[assignment]  # none is None yet
        else:
            values = [b""] * (stop - start)
        if self.deletes:
            for i, tag in enumerate(self.tags_list(start, stop)):
                if not tag & 0xFF:
                    values[i] = None
        return values

    def tags_list(self, start: int, stop: int) -> list[int]:
        """Tags start..stop-1."""
        width, base = self.tag_width, self.base_tag
        if not width:
            return [base] * (stop - start)
        more = unpack_from(f"<{stop - start}{_TAG_CODES[width]}", self.payload, self.tags_at + start * width)
        return [base + m for m in more]

    def seqs_list(self, start: int, stop: int) -> list[int]:
        """Sequence numbers of entries start..stop-1."""
        width, base = self.tag_width, self.base_tag
        if not width:
            return [base >> 8] * (stop - start)
        more = unpack_from(f"<{stop - start}{_TAG_CODES[width]}", self.payload, self.tags_at + start * width)
        return [base + m >> 8 for m in more]

    def _ends_list(self, at: int, start: int, stop: int) -> tuple[int, ...]:
        """Entries start..stop of a column of ends: one more than strings."""
        return unpack_from(f"<{stop + 1 - start}I", self.payload, at + 4 * start)
