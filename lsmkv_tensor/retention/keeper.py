"""What a store keeps: its resident pages, the policy that ranks them, and who may not go.

The keeper mirrors the index: every page that the index gains, loses or moves is told to it under the commit lock, in the order
of the commits. It answers the one question that making room asks: which pages go first? Expired ones, then those of namespaces
that nobody uses any more, then what the policy says; never a pinned one.

After opening it knows nothing until it is *filled*: from the file that the last close left (:mod:`.saved`), else by reading the
index piece by piece, in the background or when somebody must know. What changes meanwhile is right at once; the policy learns of
all pages at the end, in the order of their places: the oldest first. Reads need none of this.

Not safe for several threads but for :attr:`touches`: used under the commit lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lsmkv import DB
from lsmkv_tensor.errors import CorruptionError, FormatTooNewError
from lsmkv_tensor.retention.hits import Hits
from lsmkv_tensor.retention.known import MOST_READ, KnownPages
from lsmkv_tensor.retention.pins import Pins
from lsmkv_tensor.retention.protocol import Eviction, Remembering
from lsmkv_tensor.retention.residents import Residents, expiries_in, key_rows, parent_rows, prefixed_rows, word_of
from lsmkv_tensor.retention.touches import MAX_WAITING, Note, Touches
from lsmkv_tensor.vlog.layout import BLOCK, INDEX_KEY_BYTES, PLACE_COLUMNS
from lsmkv_tensor.vlog.reserved import RESERVED

__all__ = ["FILL_PAGES", "Keeper", "Slots"]

Slots: TypeAlias = NDArray[np.int64]

FILL_PAGES = 4096
"""Index entries read in one step of filling: some milliseconds under the commit lock."""

SLICE_KEYS = 512
"""Keys whose use is told to the policy at a time, at least one call's."""

RANK_PAGES = 1 << 16
"""Pages that the policy is told of at a time when all are known: bounds the memory that telling takes."""

LATE_STEPS = 8
"""Steps of filling that a close does if nobody had a reason to before."""

_LOW = np.uint64(0xFFFFFFFF)
_NO_SLOTS = np.empty(0, np.int64)


class Keeper(Pins):
    """Ranks the pages of one store."""

    def __init__(self, db: DB, policy: Eviction, pin_limit_bytes: int, idle: Callable[[int], frozenset[int]]) -> None:
        self._db = db
        self.known = KnownPages(0)
        """Told of all that comes and goes. Set by the store."""
        self.policy = policy
        self.table = Residents()
        self.touches = Touches()
        self.filled = False
        self.used_bytes = 0
        """Bytes of all pages, padding included."""
        self._by_space: dict[int, int] = {}
        self._cursor: bytes | None = RESERVED + b"\xff"
        self._births = np.zeros(0, np.uint64)
        """While filling: generation and block of each slot."""
        self._expected = 0
        self._places_too = False
        """While filling: where pages are is worth remembering, as all of it will be."""
        self._hits = Hits(policy)
        self.pinned_bytes = 0
        self._pin_limit_bytes = pin_limit_bytes
        self._pins_due: dict[bytes, int] = {}
        """Pins of an earlier life, until all pages are known."""
        self.remembered: bytes | None = None
        """What the policy saved in an earlier life, until it is told of all pages."""
        self._idle = idle
        self.watch: Callable[[Slots, bool], None] = lambda _, __: None
        """Told of the pages that the policy hears of, leaf to root; whether they were there already: used, not stored."""

    # filling

    def expect(self, pages: int) -> None:
        """About so many pages will be found; more or fewer do no harm."""
        self._expected = pages
        self._places_too = pages <= MOST_READ

    def fill_step(self) -> bool:
        """Read some of the index; True while there is more. I/O: a scan of FILL_PAGES index entries."""
        if self.filled:
            return False
        if self._expected:
            self.table.reserve(self._expected)
            self._expected = 0
        start = self._cursor
        entries = list(islice(self._db.scan(start=start), FILL_PAGES))
        pages = [(key, value) for key, value in entries if len(key) == INDEX_KEY_BYTES and len(value) == PLACE_COLUMNS.itemsize]
        if pages:
            keys, values = [key for key, _ in pages], [value for _, value in pages]
            self._found(keys, np.frombuffer(b"".join(values), PLACE_COLUMNS))
            if self._places_too:
                self.known.places(keys, values)
        if len(entries) == FILL_PAGES:
            self._cursor = entries[-1][0] + b"\0"
            return True
        self._all_found()
        return False

    def fill(self) -> None:
        """Know every page. I/O: a scan of the index, if it was not yet read."""
        while self.fill_step():
            pass

    def _found(self, keys: Sequence[bytes], places: NDArray[np.void]) -> None:
        """Pages in the index: those not known yet are stored."""
        rows = key_rows(keys)
        new = self.table.find(rows) < 0
        rows, places = rows[new], places[new]
        if len(rows):
            parents = parent_rows(rows, [places["parent"].tobytes()])
            slots = self.table.insert(rows, places["length"], places["segment"], parents, expiries_in(places))
            self._note_births(slots, places["generation"], places["block"])
            self._count(slots, 1)
            self.known.add(self.keys(slots), spare=True)

    def _note_births(self, slots: Slots, generation: NDArray[np.uint32] | int, block: NDArray[np.uint32]) -> None:
        """Remember the age of pages until the policy is told."""
        if len(self._births) < len(self.table.lengths):
            self._births = np.concatenate([self._births, np.zeros(len(self.table.lengths) - len(self._births), np.uint64)])
        self._births[slots] = (np.uint64(1 << 32) * np.asarray(generation, np.uint64)) | block.astype(np.uint64)

    def _all_found(self) -> None:
        """Tell the policy of every page, the oldest first."""
        slots = self.table.slots()
        slots = slots[np.argsort(self._births[slots], kind="stable")]
        self._births = np.zeros(0, np.uint64)
        self.filled = True
        due, self._pins_due = self._pins_due, {}
        self._pin_again(due)
        if self.remembered is not None and isinstance(self.policy, Remembering):
            with suppress(CorruptionError, FormatTooNewError):  # then by age
                self.policy.load(self.remembered)
        self.remembered = None
        for start in range(0, len(slots), RANK_PAGES):
            self._rank(slots[start : start + RANK_PAGES])

    def memories(self) -> bytes | None:
        """What is worth keeping for the next life; None if the policy remembers nothing."""
        for _ in range(LATE_STEPS):
            if not self.fill_step():
                break
        if not self.filled:
            return self.remembered
        self.drain()
        if not isinstance(self.policy, Remembering):
            return None
        try:
            return self.policy.save()
        except Exception:  # noqa: BLE001 - a policy of somebody else must not fail the close: ranks are lost, nothing else
            return None

    def take_over(self, earlier: Keeper) -> None:
        """Go on where the keeper of an earlier life stopped: its pins, memories and counts. Before this one is filled."""
        assert not self.filled
        self.remembered = earlier.memories() if earlier.filled else earlier.remembered
        self.touches.lost = earlier.touches.lost
        self._pins_due = earlier.pins()

    # what happens to pages

    def stored(self, keys: Sequence[bytes], places: NDArray[np.void]) -> Slots:
        """These pages (in prefix order) are in the index now; their slots. The policy is told later, of their ancestors first."""
        rows = key_rows(keys)
        parents = parent_rows(rows, [places["parent"].tobytes()])
        slots = self.table.insert(rows, places["length"], places["segment"], parents, expiries_in(places))
        self._count(slots, 1)
        self.known.add(keys)
        if not self.filled:
            self._note_births(slots, places["generation"], places["block"])
            return slots
        if self.touches.waiting >= MAX_WAITING:  # notes of readers are lost then, these are not
            self.drain_some()
        self.touches.note_stored(keys[0], slots)
        return slots

    def gone(self, slots: Slots, *, evicted: bool) -> None:
        """The pages in these slots are no longer in the index."""
        if not len(slots):
            return
        self.known.lose(self.keys(slots))
        pinned = slots[self.table.pins[slots] > 0]
        self.pinned_bytes -= int(self.sizes(pinned).sum()) if len(pinned) else 0
        self._count(slots, -1)
        if self.filled:
            if not self.table.ranked[slots].all():
                self.drain()
            self.policy.on_remove(slots, evicted)
        self.table.remove(slots)

    def find(self, keys: Sequence[bytes]) -> Slots:
        """The slots of those of these distinct keys that are known, in order."""
        slots = self.table.find(key_rows(keys)) if keys else _NO_SLOTS
        return slots[slots >= 0]

    def in_segment(self, number: int) -> Slots:
        """The slots of the known pages in a segment."""
        table = self.table
        return np.flatnonzero((table.segments[: table.top] == number) & (table.lengths[: table.top] > 0))

    def keys(self, slots: Slots) -> list[bytes]:
        """The index keys of the pages in these slots."""
        raw = self.table.keys[slots].tobytes()
        return [raw[at : at + INDEX_KEY_BYTES] for at in range(0, len(raw), INDEX_KEY_BYTES)]

    def forget(self, keys: Sequence[bytes], *, evicted: bool) -> None:
        """:meth:`gone` for pages that may not be known yet."""
        for key in keys if self._pins_due else ():
            self._pins_due.pop(key, None)
        if not self.filled:  # else those that are known are among the ones that are found
            self.known.lose(keys)
        self.gone(self.find(keys), evicted=evicted)

    def moved(self, keys: Sequence[bytes], segment: int) -> None:
        """These pages lie in another segment now."""
        self.table.segments[self.find(keys)] = segment
        self.known.moved(keys)

    def drain(self) -> None:
        """Tell the policy what was used since the last time, with all resident ancestors, leaf to root.

        What is noted meanwhile waits for the next time: readers may note as fast as this tells.
        """
        left = self.touches.notes
        while left > 0 and (told := self._tell_some()):
            left -= told

    def drain_some(self) -> bool:
        """:meth:`drain`, but only a few; whether there are more. It takes less than a millisecond."""
        return self._tell_some() > 0 and self.touches.notes > 0

    def _tell_some(self) -> int:
        """Tell the policy the oldest notes; how many."""
        if not self.filled:
            return 0
        notes = self.touches.take(SLICE_KEYS)
        if not notes:
            return 0
        rows = [prefixed_rows(note.prefix, list(dict.fromkeys(note.keys))) for note in notes]
        found = self.table.find(np.concatenate(rows))
        stops = np.cumsum([len(part) for part in rows])
        links: dict[int, int] = {}
        for note, slots in zip(notes, np.split(found, stops[:-1]), strict=True):
            used = slots[slots >= 0] if note.stored is None else note.stored[:1]
            if len(used):
                self._used(note, used, links)
        self._hits.tell()
        return len(notes)

    def _used(self, note: Note, slots: Slots, links: dict[int, int]) -> None:
        """Tell the policy of one call, which used the pages in these slots or stored pages from this one on.

        ``links``: as of :meth:`~lsmkv_tensor.retention.residents.Residents.with_ancestors`.
        """
        request = self.touches.request(note.thread)
        request.goes_on(note.kind, note.prefix + note.keys[0], self.table.parent(int(slots[0])))
        used = self.table.with_ancestors(slots, request.seen, links)
        used = request.fresh(used[self.table.ranked[used]])
        if len(used):
            self._hits.add(used)
            self.watch(used, True)
        if note.stored is not None:
            self._hits.tell()
            request.seen.update(note.stored.tolist())
            self._rank(note.stored[::-1])
            self.watch(note.stored[::-1], False)

    def _rank(self, slots: Slots) -> None:
        """Tell the policy that these pages are stored."""
        self.table.ranked[slots] = True
        self.policy.on_insert(slots, self.sizes(slots), self.table.prints(slots))

    # who goes first

    def coldest(self, nbytes: int, now_minutes: int) -> Slots:
        """The pages to evict next, first first, together at least ``nbytes`` (padding included); fewer if there are no more."""
        assert self.filled
        self.drain()
        lapsed = self.lapsed(now_minutes)
        left = nbytes - int(self.sizes(lapsed).sum()) if len(lapsed) else nbytes
        if left <= 0:
            return lapsed
        ranked = self._ranked(lapsed, left)
        return np.concatenate([lapsed, ranked]) if len(lapsed) else ranked

    def coldest_of(self, space: int, nbytes: int, now_minutes: int) -> Slots:
        """:meth:`coldest` among the pages of one namespace. Looks through all pages: ask for many at a time."""
        ranked = self.coldest(self.used_bytes, now_minutes)
        own: Slots = ranked[(self.table.keys[ranked, 0] & _LOW) == word_of(space)]
        first: Slots = own[: int(np.searchsorted(np.cumsum(self.sizes(own)), nbytes)) + 1]
        return first

    def lapsed(self, now_minutes: int) -> Slots:
        """Unpinned pages that have expired, then those of namespaces that nobody uses."""
        table = self.table
        expiries = table.expiries[: table.top]
        over: Slots = np.flatnonzero((expiries > 0) & (expiries <= now_minutes) & (table.lengths[: table.top] > 0))
        words = [word_of(space) for space in self._idle(now_minutes)]
        if any(self._by_space.get(word) for word in words):
            slots = table.slots()
            idle = slots[np.isin(table.keys[slots, 0] & _LOW, np.array(words, np.uint64))]
            over = np.concatenate([over, idle[~np.isin(idle, over)]])
        free: Slots = over[table.pins[over] == 0]
        return free

    def _ranked(self, lapsed: Slots, nbytes: int) -> Slots:
        """What the policy gives up first beside the lapsed pages, at least ``nbytes``, without pinned ones."""
        ask = nbytes + self.pinned_bytes
        while True:
            victims = self.policy.victims(min(ask, self.used_bytes))
            free: Slots = victims[self.table.pins[victims] == 0]
            if len(lapsed):
                free = free[~np.isin(free, lapsed)]
            sums = np.cumsum(self.sizes(free))
            if len(free) and sums[-1] >= nbytes:
                first: Slots = free[: int(np.searchsorted(sums, nbytes)) + 1]
                return first
            if ask >= self.used_bytes:
                return free
            ask *= 2

    # sizes

    def sizes(self, slots: Slots) -> NDArray[np.int64]:
        """Bytes the pages in these slots take, padding included."""
        return (self.table.lengths[slots].astype(np.int64) + (BLOCK - 1)) & -BLOCK

    def space_bytes(self, space: int) -> int:
        """Bytes of the pages of one namespace, padding included."""
        return self._by_space.get(word_of(space), 0)

    def _count(self, slots: Slots, sign: int) -> None:
        """Add pages to the sums, or take them off."""
        sizes = self.sizes(slots)
        self.used_bytes += sign * int(sizes.sum())
        words = self.table.keys[slots, 0] & _LOW
        for word in words[:1].tolist() if (words == words[0]).all() else sorted(set(words.tolist())):
            self._by_space[word] = self._by_space.get(word, 0) + sign * int(sizes[words == word].sum())
