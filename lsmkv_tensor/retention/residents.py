"""The pages that are stored now, as columns: what choosing among them needs, without asking the index.

Each page has a *slot*, a small integer; columns are packed NumPy arrays by slot::

    key 32 | length u32 4 | segment u32 4 | expiry u32 4 | parent slot i32 4 | parent tag u32 4 | pins u16 2 |
    ranked 1                                                                                                 55 bytes

A hash table of slots (4 bytes an entry, at most two thirds full) finds them by key. Its hash is the *tag*: the low 32 bits of
the key's *print*, which is the 64 bits that policies know a page by. Keys are digests, so their last eight bytes are as good as
a hash; the namespace number is mixed in.

A link to a parent is a slot and the tag that its page must have: a slot that another page has taken meanwhile is not believed,
and a parent that was evicted and came back is found again by its tag.

Not safe for several threads: used under the commit lock. No I/O.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.vlog.layout import INDEX_KEY_BYTES, NO_PARENT

__all__ = [
    "NONE",
    "KeyRows",
    "Residents",
    "expiries_in",
    "key_rows",
    "parent_rows",
    "prefixed_rows",
    "prints_of",
    "word_of",
]

KeyRows: TypeAlias = NDArray[np.uint64]
"""Index keys as four little-endian 64-bit words each: shape [n, 4]."""

NONE = -1
"""No slot."""

MAX_ANCESTORS = 4096
"""Pages above the touched ones that a touch reaches, at most."""
LEAST_SLOTS = 1024
_EMPTY = -1
_DEAD = -2
_NEAR, _FAR = np.arange(8), np.arange(64)
"""Entries of the table that are looked at together, at first and for the few searches that do not end there."""
_MIX = np.uint64(0x9E3779B97F4A7C15)
_SPREAD = np.uint64(0x9E3779B1)
_LOW = np.uint64(0xFFFFFFFF)


def key_rows(keys: Sequence[bytes]) -> KeyRows:
    """Index keys (32 bytes each) as rows."""
    return np.frombuffer(b"".join(keys), np.uint64).reshape(len(keys), 4)


def prefixed_rows(prefix: bytes, keys: Sequence[bytes]) -> KeyRows:
    """Index keys that are ``prefix`` and a key each, as rows."""
    rows = np.empty((len(keys), INDEX_KEY_BYTES), np.uint8)
    rows[:, : len(prefix)] = np.frombuffer(prefix, np.uint8)
    rows[:, len(prefix) :] = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), INDEX_KEY_BYTES - len(prefix))
    return rows.view(np.uint64)


def parent_rows(keys: KeyRows, parents: Sequence[bytes]) -> KeyRows:
    """The index keys of the parents (28 bytes each) of these pages; a row of zeros where there is none."""
    joined = b"".join(parents)
    if joined.count(0) == len(joined):  # the usual case of engines that name no parents
        return np.zeros((len(keys), 4), np.uint64)
    prefixes = keys.view(np.uint8).reshape(len(keys), INDEX_KEY_BYTES)
    rows = np.zeros((len(keys), INDEX_KEY_BYTES), np.uint8)
    rows[:, 4:] = np.frombuffer(joined, np.uint8).reshape(len(keys), len(NO_PARENT))
    some = rows.any(axis=1)
    rows[some, :4] = prefixes[some, :4]
    return rows.view(np.uint64)


def expiries_in(places: NDArray[np.void]) -> NDArray[np.uint32]:
    """The expiries in index values."""
    kinds: NDArray[np.uint32] = places["kind"]
    return kinds >> np.uint32(8)


def word_of(space: int) -> int:
    """A namespace number as the low half of the first word of its keys."""
    return int.from_bytes(space.to_bytes(4, "big"), "little")


def prints_of(rows: KeyRows) -> NDArray[np.uint64]:
    """The 64-bit prints of index keys."""
    return rows[:, 3] ^ ((rows[:, 0] & _LOW) * _MIX)


class Residents:
    """Slots of pages, found by key."""

    def __init__(self, slots: int = LEAST_SLOTS) -> None:
        size = max(slots, LEAST_SLOTS)
        self.keys: KeyRows = np.zeros((size, 4), np.uint64)
        self.lengths = np.zeros(size, np.uint32)
        """Bytes of the page; 0: the slot is free."""
        self.segments = np.zeros(size, np.uint32)
        self.expiries = np.zeros(size, np.uint32)
        self.parents = np.zeros(size, np.int32)
        self.parent_tags = np.zeros(size, np.uint32)
        self.pins = np.zeros(size, np.uint16)
        self.ranked = np.zeros(size, np.bool_)
        """Whether the policy was told of the page."""
        self.count = 0
        self._used = 0
        self._free = np.zeros(0, np.int32)
        self._freed = 0
        """How many of ``_free`` are free slots: a stack."""
        self._table = np.empty(0, np.int32)
        self._filled = 0
        self._rehash(size)

    def __len__(self) -> int:
        """Pages."""
        return self.count

    @property
    def nbytes(self) -> int:
        """Bytes of memory of all columns and the hash table."""
        columns = (self.keys, self.lengths, self.segments, self.expiries, self.parents, self.parent_tags, self.pins, self.ranked)
        return sum(column.nbytes for column in columns) + self._table.nbytes + self._free.nbytes

    def slots(self) -> NDArray[np.int64]:
        """All slots with a page."""
        return np.flatnonzero(self.lengths[: self._used])

    def find(self, rows: KeyRows) -> NDArray[np.int64]:
        """The slot of each key, NONE where there is no page."""
        if len(rows) == 1:
            return np.array([self._find_one(rows[0].tolist())])
        found = np.full(len(rows), NONE, np.int64)
        if not self.count:
            return found
        at = self._home(_tags(rows))
        open_ = np.arange(len(rows))
        table, mask, window = self._table, len(self._table) - 1, _NEAR
        while len(open_):
            slots = table[(at[:, None] + window) & mask]
            asked = rows[open_]
            row, column = np.nonzero((self.keys[slots, 3] == asked[:, 3:]) & (slots >= 0))
            near = slots[row, column]
            same = (self.keys[near] == asked[row]).all(axis=1)
            row = row[same]
            found[open_[row]] = near[same]
            on = (slots != _EMPTY).all(axis=1)
            on[row] = False
            open_, at = open_[on], at[on] + len(window)
            window = _FAR
        return found

    def _find_one(self, row: list[int]) -> int:
        """:meth:`find` of one key, element by element: ten times as fast as by arrays of one."""
        tag = _tag_of(row)
        mask = len(self._table) - 1
        at = (tag * int(_SPREAD) & 0xFFFFFFFF) >> 33 - len(self._table).bit_length()
        while (slot := int(self._table[at])) != _EMPTY:
            if slot >= 0 and self.keys[slot].tolist() == row:
                return slot
            at = (at + 1) & mask
        return NONE

    @property
    def top(self) -> int:
        """One more than the highest slot that was ever used."""
        return self._used

    def insert(
        self,
        rows: KeyRows,
        lengths: NDArray[np.uint32],
        segment: NDArray[np.uint32] | int,
        parents: KeyRows,
        expiry: NDArray[np.uint32] | int = 0,
    ) -> NDArray[np.int64]:
        """Slots for pages that have none yet, distinct keys; parents are linked as far as they are here."""
        n = len(rows)
        slots = self._take(n)
        self.keys[slots] = rows
        self.lengths[slots] = lengths
        self.segments[slots] = segment
        if np.any(expiry):
            self.expiries[slots] = expiry
        self.ranked[slots] = False
        self.count += n
        self._place(_tags(rows), slots)
        self.parents[slots] = NONE
        self.parent_tags[slots] = 0
        some = parents.any(axis=1)
        if some.any():
            self.parent_tags[slots[some]] = _tags(parents[some])
            self.parents[slots[some]] = self.find(parents[some])
        return slots

    def reserve(self, pages: int) -> None:
        """Room for so many pages in all: columns that grow step by step are copied each time, and leave slack behind."""
        if pages > len(self.lengths):
            self._grow(pages)
        if 3 * pages > 2 * len(self._table):
            self._rehash(pages)

    def remove(self, slots: NDArray[np.int64]) -> None:
        """Free these slots."""
        if not len(slots):
            return
        at = self._where(slots)
        self._table[at] = _DEAD
        self.lengths[slots] = 0
        for column in (self.expiries, self.pins):  # a free slot has neither
            if column[slots].any():
                column[slots] = 0
        self.count -= len(slots)
        stop = self._freed + len(slots)
        if stop > len(self._free):
            self._free = np.concatenate([self._free[: self._freed], np.zeros(stop // 4 + stop - self._freed, np.int32)])
        self._free[self._freed : stop] = slots
        self._freed = stop

    def parent(self, slot: int) -> int:
        """The slot of the page before this one, NONE if it is not here."""
        return self._parent_of(slot)

    def prints(self, slots: NDArray[np.int64]) -> NDArray[np.uint64]:
        """The prints of the pages in these slots."""
        return prints_of(self.keys[slots])

    def with_ancestors(
        self, slots: NDArray[np.int64], known: Collection[int] = (), links: dict[int, int] | None = None
    ) -> NDArray[np.int64]:
        """These slots (root to leaf) and the ancestors that are here, all from leaf to root, none twice.

        The first page's ancestors are walked one by one: in a chain all others' are among the slots themselves. A walk ends
        at a slot of ``known``: its ancestors are known too. ``links``: parents by slot that were found before, for as long as no
        page comes or goes; it gains those that are found.
        """
        links = {} if links is None else links
        if len(slots) == 1 and not self.parent_tags[slots[0]]:
            return slots
        seen = set(slots.tolist())
        strays = {above for above in self._parents_of(slots).tolist() if above >= 0 and above not in seen}
        walked: list[int] = []
        for stray in sorted(strays):
            slot = stray
            while slot >= 0 and slot not in seen and slot not in known and len(walked) < MAX_ANCESTORS:
                seen.add(slot)
                walked.append(slot)
                above = links.get(slot)
                if above is None:
                    above = links[slot] = self._parent_of(slot)
                slot = above
        return np.concatenate([slots[::-1], np.array(walked, np.int64)]) if walked else slots[::-1]

    # helpers

    def _parents_of(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """The slots of the parents of many, NONE where there is none; links that were lost are found again."""
        above = self.parents[slots].astype(np.int64)
        tags = self.parent_tags[slots]
        wrong = (tags != 0) & ~self._is(above, tags)
        for i in np.flatnonzero(wrong).tolist():
            above[i] = self._relink(int(slots[i]))
        return above

    def _parent_of(self, slot: int) -> int:
        """The slot of the parent of one, NONE if there is none."""
        tag = int(self.parent_tags[slot])
        if not tag:
            return NONE
        above = int(self.parents[slot])
        if above >= 0 and self.lengths[above] and _tag_of(self.keys[above]) == tag:
            return above
        return self._relink(slot)

    def _is(self, slots: NDArray[np.int64], tags: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Whether each slot holds a page of this tag."""
        held = (slots >= 0) & (self.lengths[slots] > 0)
        held[held] = np.maximum(_tags(self.keys[slots[held]]), 1) == tags[held]
        return held

    def _relink(self, slot: int) -> int:
        """Find the parent of a page by its tag (and namespace), and note it."""
        tag = int(self.parent_tags[slot])
        space = int(self.keys[slot, 0]) & 0xFFFFFFFF
        at = int(self._home(np.array([tag], np.uint32))[0])
        mask = len(self._table) - 1
        found = NONE
        while (other := int(self._table[at])) != _EMPTY:
            if other >= 0 and int(self.keys[other, 0]) & 0xFFFFFFFF == space and _tag_of(self.keys[other]) == tag:
                found = other
                break
            at = (at + 1) & mask
        self.parents[slot] = found
        return found

    def _take(self, n: int) -> NDArray[np.int64]:
        """Free slots, the columns grown if need be."""
        reused = min(n, self._freed)
        slots = np.empty(n, np.int64)
        self._freed -= reused
        slots[:reused] = self._free[self._freed : self._freed + reused]
        fresh = n - reused
        if self._used + fresh > len(self.lengths):
            self._grow(max(self._used + fresh, len(self.lengths) * 5 // 4))
        slots[reused:] = np.arange(self._used, self._used + fresh)
        self._used += fresh
        if 3 * (self._filled + n) > 2 * len(self._table):
            self._rehash(self.count + n)
        return slots

    def _grow(self, size: int) -> None:
        """Longer columns. What was never written takes no memory: pins and expiries of pages that have none."""
        for name in ("keys", "lengths", "segments", "expiries", "parents", "parent_tags", "pins", "ranked"):
            old = getattr(self, name)
            longer = np.zeros((size, *old.shape[1:]), old.dtype)
            longer[: self._used] = old[: self._used]
            setattr(self, name, longer)

    def _rehash(self, pages: int) -> None:
        """A fresh table with room for so many pages, and half as many again before the next."""
        bits = max(int(pages * 7 // 4).bit_length(), 4)
        self._table = np.full(1 << bits, _EMPTY, np.int32)
        self._filled = 0
        slots = self.slots()
        self._place(_tags(self.keys[slots]), slots)

    def _place(self, tags: NDArray[np.uint32], slots: NDArray[np.int64]) -> None:
        """Enter slots into the table: each round all try their place, one per place wins, the others go on to the next."""
        table, mask = self._table, len(self._table) - 1
        at = self._home(tags)
        left = slots.astype(np.int32)
        while len(left):
            free = table[at] == _EMPTY
            table[at[free]] = left[free]
            lost = table[at] != left
            left, at = left[lost], (at[lost] + 1) & mask
        self._filled += len(slots)

    def _where(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where in the table these slots are."""
        table, mask = self._table, len(self._table) - 1
        at = self._home(_tags(self.keys[slots]))
        left, window = np.arange(len(slots)), _NEAR
        while len(left):
            here = table[(at[left, None] + window) & mask] == slots[left, None]
            at[left] += here.argmax(axis=1)
            left = left[~here.any(axis=1)]
            at[left] += len(window)
            window = _FAR
        return at & mask

    def _home(self, tags: NDArray[np.uint32]) -> NDArray[np.int64]:
        """Where in the table the search for each tag begins."""
        bits = len(self._table).bit_length() - 1
        spread = (tags.astype(np.uint64) * _SPREAD) & _LOW
        return (spread >> np.uint64(32 - bits)).astype(np.int64)


def _tags(rows: KeyRows) -> NDArray[np.uint32]:
    """The low half of the prints, never zero."""
    return np.maximum(prints_of(rows).astype(np.uint32), np.uint32(1))


def _tag_of(row: NDArray[np.uint64] | list[int]) -> int:
    """The tag of one key."""
    return (int(row[3]) ^ ((int(row[0]) & 0xFFFFFFFF) * int(_MIX))) & 0xFFFFFFFF or 1
