"""One block: some neighbouring entries as columns, read in place without making a Python object per key.

::

    header 32 bytes   entries u32 | prefix bytes u32 | key width u32 | value width u32 | base tag u64 |
                      tag width u8 | flags u8 | 0 u16 | 0 u32
    tags              entries x (tag - base tag), unsigned, of the tag width: 0 (all equal), 1, 2, 4 or 8 bytes
    key ends          u32 [entries + 1], the first 0; absent when the key width is not MIXED
    value ends        u32 [entries + 1], the first 0; absent when the value width is not MIXED
    prefix            what all keys of the block start with
    keys              what follows the prefix in each, end to end (key width: length without the prefix)
    values            end to end; tombstones are empty

    flags             1: some key occurs more than once

Entries ascend by key, then descend by tag. A decoded :class:`Block` is the payload itself plus every
:data:`SAMPLE`-th key for bisection, so a cached block weighs little more than its bytes.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from struct import Struct

import numpy as np

from lsmkv.base.columns import I64, U8, U64, ByteColumn
from lsmkv.base.keys import Entry
from lsmkv.errors import CorruptionError

__all__ = ["HEADER", "MIXED", "REPEATS", "SAMPLE", "TAG_DTYPES", "Block"]

HEADER = Struct("<IIIIQBBHI")
MIXED = (1 << 32) - 1
"""Key or value width of a block whose keys or values differ in length."""
REPEATS = 1
SAMPLE = 8
"""Keys between two samples: the last step of a lookup scans at most this many."""
OBJECT_BYTES = 400
"""What a Block weighs beside its payload and samples: the instance, ~14 integers, two lists."""
SAMPLE_BYTES = 42
"""Weight of one sample beside its bytes: object header and list slot."""

TAG_DTYPES = {1: "<u1", 2: "<u2", 4: "<u4", 8: "<u8"}
_TAG_STRUCTS = {1: Struct("<B"), 2: Struct("<H"), 4: Struct("<I"), 8: Struct("<Q")}
_PAIR = Struct("<II")


class Block:
    """A checked payload and where its columns are. Immutable, so threads may share it.

    Raises:
        CorruptionError: on construction, if the sizes in the header disagree with the payload.
    """

    __slots__ = (
        "_key_ends_at",
        "_keys_at",
        "_samples",
        "_tag_at",
        "_tag_width",
        "_value_ends_at",
        "_values_at",
        "base_tag",
        "entries",
        "key_width",
        "payload",
        "prefix",
        "prefix_bytes",
        "repeats",
        "value_width",
    )

    def __init__(self, payload: bytes, file: str, offset: int) -> None:
        if len(payload) < HEADER.size:
            raise CorruptionError(file, offset, "block is shorter than its header")
        n, prefix_bytes, key_width, value_width, base, tag_width, flags, zero16, zero32 = HEADER.unpack_from(payload)
        self.payload = payload
        self.entries: int = n
        self.prefix_bytes: int = prefix_bytes
        self.key_width: int = key_width
        self.value_width: int = value_width
        self.base_tag: int = base
        self._tag_width: int = tag_width
        self.repeats = bool(flags & REPEATS)
        self._tag_at = HEADER.size
        self._key_ends_at = at = HEADER.size + n * tag_width
        ends = 4 * (n + 1)
        self._value_ends_at = at = at + (ends if key_width == MIXED else 0)
        at += ends if value_width == MIXED else 0
        if not n or zero16 or zero32 or flags > REPEATS or (tag_width and tag_width not in TAG_DTYPES) or at > len(payload):
            raise CorruptionError(file, offset, "block header makes no sense")
        self.prefix = payload[at : at + prefix_bytes]
        self._keys_at = at = at + prefix_bytes
        self._values_at = at = at + (self._ends(self._key_ends_at, n - 1)[1] if key_width == MIXED else n * key_width)
        at += self._ends(self._value_ends_at, n - 1)[1] if value_width == MIXED else n * value_width
        if at != len(payload):
            raise CorruptionError(file, offset, f"block columns end at {at}, the block at {len(payload)}")
        self._samples = [self._suffix(i) for i in range(0, n, SAMPLE)]

    @property
    def vectorisable(self) -> bool:
        """Whether keys (without the prefix) have one width above 0, so that NumPy can search them."""
        return 0 < self.key_width < MIXED

    @property
    def charge(self) -> int:
        """Bytes of memory it holds."""
        samples = sum(map(len, self._samples)) + SAMPLE_BYTES * len(self._samples)
        return len(self.payload) + OBJECT_BYTES + self.prefix_bytes + samples

    def _ends(self, at: int, i: int) -> tuple[int, int]:
        """Start and end of string i of a column of ends."""
        start, stop = _PAIR.unpack_from(self.payload, at + 4 * i)
        return start, stop

    def _suffix(self, i: int) -> bytes:
        """Key of entry i without the prefix."""
        width, at = self.key_width, self._keys_at
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
        payload, width = self.payload, self._tag_width
        tag = self.base_tag
        if width:
            tag += _TAG_STRUCTS[width].unpack_from(payload, self._tag_at + i * width)[0]
        if not tag & 0xFF:
            return tag >> 8, None
        width, at = self.value_width, self._values_at
        if width != MIXED:
            at += i * width
            return tag >> 8, payload[at : at + width]
        start, stop = _PAIR.unpack_from(payload, self._value_ends_at + 4 * i)
        return tag >> 8, payload[at + start : at + stop]

    def find(self, key: bytes) -> int:
        """The first (newest) entry of ``key``, or -1."""
        skip, width = self.prefix_bytes, self.key_width
        if skip:
            if key[:skip] != self.prefix:
                return -1
            key = key[skip:]
        hi = bisect_left(self._samples, key)
        if width != MIXED and width:
            if len(key) != width:
                return -1
            start = self._keys_at
            lo = start + (hi - 1) * SAMPLE * width if hi else start
            at: int = self.payload.find(key, lo, min(start + (hi * SAMPLE + 1) * width, self._values_at))
            if at < 0:
                return -1
            at -= start
            if not at % width:
                return at // width
        i = self._lower(key, hi)
        return i if i < self.entries and self._suffix(i) == key else -1

    def lower(self, key: bytes) -> int:
        """The first entry whose key is >= ``key`` (``entries`` if none)."""
        skip = self.prefix_bytes
        if skip:
            head = key[:skip]
            if head != self.prefix:
                return 0 if head < self.prefix else self.entries
            key = key[skip:]
        return self._lower(key, bisect_left(self._samples, key))

    def _lower(self, suffix: bytes, hi: int) -> int:
        """The first entry whose suffix is >= ``suffix``, given the first such sample."""
        i = max(0, (hi - 1) * SAMPLE + 1)
        stop = min(hi * SAMPLE, self.entries)
        while i < stop and self._suffix(i) < suffix:
            i += 1
        return i

    def tags(self) -> U64:
        """Tag of every entry."""
        width, n = self._tag_width, self.entries
        if not width:
            return np.full(n, self.base_tag, np.uint64)
        return np.frombuffer(self.payload, TAG_DTYPES[width], n, self._tag_at) + np.uint64(self.base_tag)

    def suffixes(self) -> U8:
        """Equal-width keys without the prefix, as uint8 (entries, key width). Requires a key width."""
        n, width = self.entries, self.key_width
        return np.frombuffer(self.payload, np.uint8, n * width, self._keys_at).reshape(n, width)

    def key_ends(self) -> I64:
        """Where each suffix of a block of mixed widths ends: int64 (entries + 1), the first 0."""
        return np.frombuffer(self.payload, "<u4", self.entries + 1, self._key_ends_at).astype(np.int64)

    def value_bounds(self, index: I64 | None = None) -> tuple[list[int], list[int]]:
        """Starts and ends in the payload of the values of some (None: all) entries."""
        if self.value_width != MIXED:
            rows = np.arange(self.entries) if index is None else index
            starts = rows * self.value_width + self._values_at
            return starts.tolist(), (starts + self.value_width).tolist()
        ends = self.value_ends() + self._values_at
        if index is None:
            return ends[:-1].tolist(), ends[1:].tolist()
        return ends[index].tolist(), ends[index + 1].tolist()

    def value_ends(self) -> I64:
        """Where each value ends in the value column: int64 (entries + 1), the first 0."""
        if self.value_width != MIXED:
            return np.arange(self.entries + 1, dtype=np.int64) * self.value_width
        return np.frombuffer(self.payload, "<u4", self.entries + 1, self._value_ends_at).astype(np.int64)

    def keys_column(self) -> ByteColumn:
        """All keys, whole."""
        n, skip = self.entries, self.prefix_bytes
        if self.key_width == MIXED:
            data = np.frombuffer(self.payload, np.uint8, self._values_at - self._keys_at, self._keys_at)
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
        return np.frombuffer(self.payload, np.uint8, offset=self._values_at)

    def values_column(self) -> ByteColumn:
        """All values; tombstones are empty."""
        data = self.values_bytes()
        if self.value_width == MIXED:
            return ByteColumn(data, self.value_ends(), -1)
        return ByteColumn.fixed(data, self.entries, self.value_width)

    def keys_list(self, start: int, stop: int) -> list[bytes]:
        """Keys start..stop-1 as Python bytes."""
        payload, at, width, prefix = self.payload, self._keys_at, self.key_width, self.prefix
        if width == MIXED:
            ends = (self.key_ends()[start : stop + 1] + at).tolist()
            return [prefix + payload[a:b] for a, b in itertools.pairwise(ends)]
        if not width:
            return [prefix] * (stop - start)
        span = range(at + start * width, at + stop * width, width)
        if prefix:
            return [prefix + payload[a : a + width] for a in span]
        return [payload[a : a + width] for a in span]
