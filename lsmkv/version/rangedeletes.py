"""Range deletes: every key of a range, gone in one operation, however many there are.

**What one means.** A range delete is ``(start, stop, seq)``: it removes every key k with start <= k < stop that was written
with a smaller sequence number. It takes one sequence number, so it has its place among all other operations, in a batch too:
what was put before it is gone, what is put after it stays, a snapshot taken before it still sees everything. ``start`` None
is the first key (``b""``), ``stop`` None the end of all keys. Start at or beyond stop is refused: an empty range is more often
two arguments in the wrong order than a wish.

**Small ranges.** If a bounded look finds few live keys in the range, they are deleted one by one instead, found again under
the commit lock, so that nothing written meanwhile is missed or hit. Nothing below is then needed.

**In the log** it is an operation of its batch (:mod:`lsmkv.wal.batch`), so it is atomic with it and replayed in order.

**In memory** a range delete begins a memtable: if the active one holds entries, it is put in line for its flush, and the
range delete is the first thing in the next log. Hence every memtable is either wholly older or wholly newer than any range
delete; entries of the active one are newer than all of them, which keeps the fastest read as it was; and a batch, its range
deletes included, becomes visible by one swap of the readers' state, all or nothing.

**In the tree** they are part of the Version, not of tables: this list, in the manifest. The edit that installs the table of a
memtable also brings in the range deletes of its log, and lets go of that log.

**The list** is cut into *fragments* that do not overlap, in key order, each with the sequence numbers of the range deletes
that cover it, newest first: ``[a, m) @7`` and ``[k, z) @9`` are ``[a, k) 7 | [k, m) 9 7 | [m, z) 9``. An older number goes
when no snapshot lies between it and the next newer one; neighbours that say the same become one. The list is bounded
(``MAX_PIECES`` numbers, ``MAX_BYTES`` of keys): every read consults it and every edit that changes it writes it anew. Beyond
that a range delete first does the clearing work of older ones itself, and is refused with a BusyError if snapshots do not
let it.

**Reading.** For a key read at sequence number r, the newest number up to r of the fragment it lies in is its *cover*: entries
below it do not exist. The level rule holds as ever, so the first version found still decides. Without a list a read asks one
attribute; keys outside all fragments cost one bisect; a table whose numbers lie all above the cover, or that was *swept*, is
read as ever; one whose numbers lie all below is passed over; only for the others are sequence numbers looked at.

**The end of it.** Merges drop what is covered, if no snapshot lies between the entry and the cover, and note in each output up
to which number it was swept. A table *owes* a fragment something if it overlaps it and may still hold an entry below its newest
number: ``min_seq`` below it, and not swept up to it. A fragment that no table owes anything retires, with the next edit. So
that this comes about, two chores are due whatever the policy: tables that lie inside one are dropped unread, others are
rewritten once nothing else is due (:mod:`lsmkv.policy.sweep`). Only what is in the manifest may make a merge drop anything: a
range delete that is in a log alone may be lost with the power, and then what it covered must still be there.

Everything here is immutable and pure.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from lsmkv.base.keys import MAX_SEQ

__all__ = ["MAX_BYTES", "MAX_PIECES", "NO_RANGES", "Fragment", "RangeDelete", "RangeDeletes"]

MAX_PIECES = 512
"""Most sequence numbers of all fragments together: a bisect over them takes a microsecond, the list some tens of kilobytes."""

MAX_BYTES = 1 << 20
"""Most bytes of keys in the list: it is written anew with every edit that changes it."""


class RangeDelete(NamedTuple):
    """One range delete, as it was asked for."""

    start: bytes
    stop: bytes | None
    """None: the end of all keys."""
    seq: int


class Fragment(NamedTuple):
    """A piece of the key space and the range deletes that cover it."""

    start: bytes
    stop: bytes | None
    """None: the end of all keys."""
    seqs: tuple[int, ...]
    """Newest first; never empty."""


@dataclass(frozen=True, slots=True)
class RangeDeletes:
    """The fragmented list, in key order."""

    fragments: tuple[Fragment, ...] = ()
    _starts: list[bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Make ready for bisecting."""
        object.__setattr__(self, "_starts", [fragment.start for fragment in self.fragments])

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.fragments)

    @property
    def newest(self) -> int:
        """The largest sequence number; 0: none."""
        return max((fragment.seqs[0] for fragment in self.fragments), default=0)

    @property
    def pieces(self) -> int:
        """Sequence numbers of all fragments together."""
        return sum(len(fragment.seqs) for fragment in self.fragments)

    @property
    def nbytes(self) -> int:
        """Bytes of the fragments' keys."""
        return sum(len(fragment.start) + len(fragment.stop or b"") for fragment in self.fragments)

    @property
    def full(self) -> bool:
        """Whether it is beyond its bounds."""
        return self.pieces > MAX_PIECES or self.nbytes > MAX_BYTES

    def cover(self, key: bytes, seq: int = MAX_SEQ) -> int:
        """The newest range delete up to ``seq`` that covers ``key``: entries below it do not exist. 0: none."""
        at = bisect_right(self._starts, key) - 1
        if at < 0:
            return 0
        _, stop, seqs = self.fragments[at]
        if stop is not None and key >= stop:
            return 0
        return seqs[0] if seqs[0] <= seq else next((one for one in seqs if one <= seq), 0)

    def covers(self, keys: Sequence[bytes], seq: int = MAX_SEQ) -> list[int] | None:
        """:meth:`cover` of each key; None if all are 0."""
        found = [self.cover(key, seq) for key in keys]
        return found if any(found) else None

    def meeting(self, low: bytes | None, high: bytes | None, *, open_end: bool = False) -> tuple[Fragment, ...]:
        """The fragments that share a key with [low, high], or with [low, high) if ``open_end``; None: unbounded."""
        first = max(bisect_right(self._starts, low) - 1, 0) if low is not None else 0
        after = len(self._starts)
        if high is not None:
            after = bisect_left(self._starts, high) if open_end else bisect_right(self._starts, high)
        found = self.fragments[first:after]
        if found and low is not None and found[0].stop is not None and found[0].stop <= low:
            return found[1:]
        return found

    def hides(self, low: bytes, high: bytes, max_seq: int) -> bool:
        """Whether everything in [low, high] with sequence numbers up to ``max_seq`` is gone for readers of the present."""
        at = low
        for start, stop, seqs in self.meeting(low, high):
            if start > at or seqs[0] <= max_seq:
                return False
            if stop is None or stop > high:
                return True
            at = stop
        return False

    def owed(self, low: bytes, high: bytes, min_seq: int, swept: int) -> tuple[Fragment, ...]:
        """The fragments to which a table owes something: it may hold entries that their newest range delete covers."""
        if not self.fragments:
            return ()
        floor = max(min_seq, swept)
        return tuple(fragment for fragment in self.meeting(low, high) if fragment.seqs[0] > floor)

    def added(self, deletes: Iterable[RangeDelete]) -> RangeDeletes:
        """With these range deletes, which come in order and are older than none before them."""
        fragments = list(self.fragments)
        for start, stop, seq in deletes:
            fragments = list(_covered(fragments, start, stop, seq))
        return RangeDeletes(_joined(fragments))

    def kept(self, snapshots: Sequence[int]) -> RangeDeletes:
        """Without the sequence numbers that only a reader between them and the next newer one would need.

        ``snapshots``: the registered sequence numbers, ascending.
        """
        return RangeDeletes(_joined([Fragment(a, b, _needed(seqs, snapshots)) for a, b, seqs in self.fragments]))

    def only(self, fragments: Iterable[Fragment]) -> RangeDeletes:
        """The given ones of its fragments."""
        wanted = set(fragments)
        return RangeDeletes(_joined([fragment for fragment in self.fragments if fragment in wanted]))

    def problems(self) -> Iterator[str]:
        """What is wrong with it as a sentence each; nothing for a sound list."""
        for start, stop, seqs in self.fragments:
            if stop is not None and start >= stop:
                yield f"a range delete is empty: {start!r} to {stop!r}"
            if not seqs or any(a <= b for a, b in pairwise(seqs)) or not 0 < min(seqs) <= max(seqs) <= MAX_SEQ:
                yield f"the range delete at {start!r} has the sequence numbers {seqs}"
        for a, b in pairwise(self.fragments):
            if a.stop is None or a.stop > b.start:
                yield f"range deletes at {a.start!r} and {b.start!r} overlap or are out of order"


def _covered(fragments: list[Fragment], start: bytes, stop: bytes | None, seq: int) -> Iterator[Fragment]:
    """The fragments with one more range delete, cut at its ends; what it covers alone becomes fragments of its own."""
    at: bytes | None = start  # up to where [start, stop) is accounted for; None: all of it
    for one in fragments:
        if at is None or (stop is not None and one.start >= stop):
            if at is not None:
                yield Fragment(at, stop, (seq,))
                at = None
            yield one
            continue
        if one.stop is not None and one.stop <= start:
            yield one
            continue
        if one.start < start:
            yield Fragment(one.start, start, one.seqs)
        elif at < one.start:
            yield Fragment(at, one.start, (seq,))
        low = max(one.start, start)
        if stop is not None and (one.stop is None or one.stop > stop):
            yield Fragment(low, stop, _upon(seq, one.seqs))
            yield Fragment(stop, one.stop, one.seqs)
            at = None
        else:
            yield Fragment(low, one.stop, _upon(seq, one.seqs))
            at = one.stop if one.stop != stop else None
    if at is not None:
        yield Fragment(at, stop, (seq,))


def _upon(seq: int, seqs: tuple[int, ...]) -> tuple[int, ...]:
    """The numbers with one more on top, unless it is there (a range delete may come in pieces that overlap)."""
    return seqs if seqs[0] == seq else (seq, *seqs)


def _joined(fragments: Sequence[Fragment]) -> tuple[Fragment, ...]:
    """Neighbours with the same sequence numbers as one."""
    out: list[Fragment] = []
    for one in fragments:
        if out and out[-1].stop == one.start and out[-1].seqs == one.seqs:
            out[-1] = Fragment(out[-1].start, one.stop, one.seqs)
        else:
            out.append(one)
    return tuple(out)


def _needed(seqs: tuple[int, ...], snapshots: Sequence[int]) -> tuple[int, ...]:
    """The newest number, and each older one with a snapshot between it and the next newer one."""
    if len(seqs) == 1:
        return seqs
    return (seqs[0], *(old for new, old in pairwise(seqs) if bisect_left(snapshots, old) < bisect_left(snapshots, new)))


NO_RANGES = RangeDeletes()
