"""The memtable: what has been written since the last flush.

A dict from key to newest version answers every point read. The ordered part (a :class:`~lsmkv.memtable.keyset.KeySet`) holds
keys only and is fed lazily: a dict remembers insertion order and an overwritten key keeps its place, so the keys not fed
yet are exactly the last ones of the dict. Writing therefore pays nothing for order; a load that is never scanned before its
flush is sorted once, at the flush.

Versions. ``newest[key]`` is ``(seq, value)``, value None for a tombstone. Versions superseded while a snapshot is alive are
kept in ``older[key]``, oldest first, so that keeping one more is an append. They are put there *before* the newest one is
replaced: a concurrent reader may find a version twice, never not at all.

Concurrency. One writer at a time (the commit lock) and any number of readers without a lock. A batch reaches the dict by one
``dict.update`` from another dict, during which the interpreter runs no other thread and no finaliser: readers see all of a
batch or nothing. Whoever reads at a sequence number below the newest must have the writer keep versions from then on.

Accounting. ``bytes`` = keys + values + ENTRY_OVERHEAD_BYTES for each version held; an overwritten version that is not kept is
given back. ``applied_bytes`` never goes down: overwriting one key for ever fills the log, not the memtable, so whoever bounds
the log looks at that.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import itemgetter

from lsmkv.base.alike import Alike
from lsmkv.base.columns import Columns
from lsmkv.base.keys import Entry
from lsmkv.base.pauses import UNMINDED, Pause
from lsmkv.env.sync import Lock
from lsmkv.memtable.freeze import to_columns
from lsmkv.memtable.gathering import SortedRows
from lsmkv.memtable.keyset import KeySet
from lsmkv.memtable.ordering import sorted_order
from lsmkv.memtable.plain import PlainBatches

__all__ = ["ENTRY_OVERHEAD_BYTES", "Memtable"]

MANY_KEYS = 10_000
"""From here on keys are sorted by NumPy, during which other threads run."""

_VALUE = itemgetter(1)  # of an entry

ENTRY_OVERHEAD_BYTES = 200
"""What CPython adds to the bytes of an entry: two bytes headers (66), an integer (32), a tuple (56), a dict slot (about 46)."""


class Memtable:
    """Recent writes in memory: point reads by dict, ordered reads through a lazily fed key set."""

    __slots__ = ("_fed", "_feeding", "_last_seq", "_ordered", "_plain", "applied_bytes", "bytes", "entries", "newest", "older")

    def __init__(self, ordered: KeySet) -> None:
        """Begin empty, with an empty ordered part."""
        self.newest: dict[bytes, Entry] = {}
        self.older: dict[bytes, list[Entry]] = {}
        self.entries = 0
        self.bytes = 0
        self.applied_bytes = 0
        self._ordered = ordered
        self._last_seq = 0  # raised before a batch becomes visible
        self._fed = 0  # keys of `newest`, in insertion order, that the ordered part has
        self._feeding = Lock()
        self._plain = PlainBatches()

    @property
    def last_seq(self) -> int:
        """The largest sequence number written to it; 0: none."""
        return self._last_seq

    def apply(
        self,
        keys: Sequence[bytes],
        values: Sequence[bytes | None],
        first_seq: int,
        *,
        keep_versions: bool,
        alike: Alike | None = None,
    ) -> None:
        """Write a batch: entry i gets sequence number ``first_seq + i``; value None deletes.

        Of a key that occurs twice the last entry wins. With ``keep_versions`` everything superseded stays readable through
        :meth:`get_at` and scans at its sequence number. One writer at a time; sequence numbers only rise. ``alike`` is the same
        batch joined, if it is known.
        """
        n = len(keys)
        newest = self.newest
        # Entries before keys: objects made one behind the other, then looked at one behind the other, cost a sixth less.
        made: list[Entry] = list(zip(range(first_seq, first_seq + n), values, strict=True))
        batch: dict[bytes, Entry] = dict(zip(keys, made, strict=True))
        if alike is not None:
            size = alike.nbytes + ENTRY_OVERHEAD_BYTES * n
        else:
            size = sum(map(len, keys)) + sum(map(len, filter(None, values))) + ENTRY_OVERHEAD_BYTES * n
        self.applied_bytes += size
        plain = self._plain.note(keys, values, first_seq, alike)
        self._last_seq = first_seq + n - 1
        if plain and not keep_versions:  # all entries weigh the same: counting the new ones is enough
            held = len(newest)
            newest.update(batch)
            held = len(newest) - held
            self.entries += held
            self.bytes += held * (size // n)
            if held < n:
                self._plain.overwritten()
        elif len(batch) == n and newest.keys().isdisjoint(batch):
            newest.update(batch)
            self.entries += n
            self.bytes += size
        elif keep_versions:
            self._set_aside(keys, values, first_seq)
            self._plain.overwritten()
            newest.update(batch)
            self.entries += n
            self.bytes += size
        else:
            replaced = [(key, newest[key]) for key in batch if key in newest]
            newest.update(batch)
            self.entries += len(batch) - len(replaced)
            self.bytes += _accounted(batch.items()) - _accounted(replaced)

    def _set_aside(self, keys: Sequence[bytes], values: Sequence[bytes | None], first_seq: int) -> None:
        """Keep the versions that a batch is about to supersede, those inside the batch included."""
        latest: dict[bytes, Entry] = {}
        for i, key in enumerate(keys):
            entry = latest.get(key) or self.newest.get(key)
            if entry is not None:
                self.older.setdefault(key, []).append(entry)
            latest[key] = (first_seq + i, values[i])

    def get_at(self, key: bytes, seq: int) -> Entry | None:
        """The newest version of ``key`` with a sequence number of at most ``seq``, or None."""
        entry = self.newest.get(key)
        if entry is None or entry[0] <= seq:
            return entry
        versions = self.older.get(key)
        if versions is None:
            return None
        at = bisect_left(versions, (seq + 1,))
        return versions[at - 1] if at else None

    def scan_chunks(
        self, start: bytes | None, stop: bytes | None, *, reverse: bool, seq: int
    ) -> Iterator[list[tuple[bytes, bytes | None]]]:
        """What is visible at ``seq`` with start <= key < stop, in key order (descending if ``reverse``).

        Lists of ``(key, value)``, at most one version per key, tombstones as None; never an empty list. The keys are those
        held at the time of the call; the writer may go on meanwhile.
        """
        self._feed()
        return self._visible(self._ordered.chunks(start, stop, reverse=reverse), seq)

    def _visible(self, chunks: Iterator[list[bytes]], seq: int) -> Iterator[list[tuple[bytes, bytes | None]]]:
        """Pair the keys of each chunk with what is visible of them."""
        newest = self.newest.__getitem__
        for keys in chunks:
            entries = list(map(newest, keys))  # in a loop of its own: cache misses overlap (0.6 us a key, not 0.85)
            if self._last_seq <= seq:  # asked after reading: nothing read is newer than the last batch begun by now
                yield list(zip(keys, map(_VALUE, entries), strict=True))
                continue
            seen = [(key, self.get_at(key, seq)) for key in keys]
            if visible := [(key, entry[1]) for key, entry in seen if entry is not None]:
                yield visible

    def _feed(self) -> None:
        """Bring the ordered part up to date: sort and add the keys inserted since the last time."""
        newest = self.newest
        if self._fed == len(newest):
            return
        with self._feeding:
            while (missing := len(newest) - self._fed) > 0:
                try:
                    fresh = list(islice(reversed(newest), missing))
                except RuntimeError:
                    continue  # the writer inserted between `reversed` and `list`: look again
                if len(newest) - self._fed != missing:
                    continue  # it inserted before `reversed`: these are not the keys right after the fed ones
                # Few keys sort fastest in the interpreter; many would hold it for long (0.4 us a key).
                fresh = sorted(fresh) if missing < MANY_KEYS else [fresh[i] for i in sorted_order(fresh)]
                self._ordered.add(fresh)
                self._fed += missing

    def columns(self) -> Columns:
        """All versions held, sorted by key and then newest first: the input of a flush.

        Meant for a memtable that is no longer written to. Takes about 1 us an entry, in slices that let other threads run.
        """
        rows = self.rows()
        return rows.part(0, len(rows)) if rows is not None else to_columns(self.newest, self.older)

    def rows(self, pause: Pause = UNMINDED) -> SortedRows | None:
        """As :meth:`columns`, part by part, if all was put in batches that are alike and each key once; else None.

        ``pause`` is entered while keys are sorted.
        """
        return self._plain.rows(self.entries, pause) if len(self.newest) == self.entries else None

    def check(self) -> None:
        """Assert every structural invariant (not while a writer is at work)."""
        versions = [(key, entry) for key, old in self.older.items() for entry in old]
        held = [*self.newest.items(), *versions]
        assert self.entries == len(held), f"entries is {self.entries}, versions held are {len(held)}"
        assert self.bytes == _accounted(held), f"bytes is {self.bytes}, versions held have {_accounted(held)}"
        assert self.applied_bytes >= self.bytes, "more is held than was applied"
        for key, old in self.older.items():
            seqs = [entry[0] for entry in old] + [self.newest[key][0]]
            assert seqs == sorted(set(seqs)), f"versions of {key!r} are not in order"
        assert 0 <= self._fed <= len(self.newest), "more keys fed than held"
        assert len(self._ordered) == self._fed, "the ordered part lost count"
        self._ordered.check()
        ordered = [key for chunk in self._ordered.chunks(None, None, reverse=False) for key in chunk]
        assert ordered == sorted(islice(self.newest, self._fed)), "the ordered part holds other keys than it was fed"


def _accounted(held: Iterable[tuple[bytes, Entry]]) -> int:
    """The accounted bytes of some versions."""
    return sum(len(key) + len(value or b"") + ENTRY_OVERHEAD_BYTES for key, (_, value) in held)
