"""Which reads go past the page cache, and which leave their bytes there. Pure.

What is read once is most often not read again before it has left every cache, and is read fastest past the page cache. What is
read again may be read a third time, so the second read brings it there; when it has gone from there it begins anew.

Bringing takes about as much longer as one later read from memory is shorter. So it is worth while if at least every other place
that was brought is asked for again before something else takes its memory. That is learned in two ways. *Whether places stay*:
what is found where it was brought speaks for it, what has gone from there against it. *Whether anybody asks*: bringings are lent,
and each later read from memory pays one back, so those in vain are bounded. Where it does not pay, a second read in a few brings
its place all the same: memory may have come free, and others may ask. ``docs/bringing_costs.py`` sets this beside bringing always
and never.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["GRANULE", "LEND_ONE_IN", "MOST_LENT", "MOST_TRUST", "TRUST", "TRY_ONE_IN", "Bringing"]

GRANULE = 14
"""Reads are remembered by pieces of this many bits: 16 KiB. Of pages that are no smaller each has pieces of its own."""
TRUST = 2
"""Brought places that may be gone when they are asked for, before it is thought that nothing stays: at first,"""
MOST_TRUST = 8
"""... and at most, after so many that were still there."""
TRY_ONE_IN = 8
"""Second reads of which one is brought when nothing stays."""
MOST_LENT = 4096
"""Bringings, more than later reads from memory, before it is thought that nobody asks: about a second of the device's time."""
LEND_ONE_IN = 4
"""Second reads of which one is brought when nobody asks."""

_TURNS, _STEP = 1 << 32, 0x9E3779B1
"""The golden part of all turns: whatever comes in a rhythm has its turn as often as anything else. By counting, one of three
pages that were asked for in turn never had."""


@dataclass(slots=True)
class _Segment:
    """Bits of its pieces."""

    generation: int
    seen: int = 0
    """They were read."""
    brought: int = 0
    """... and left in the page cache,"""
    found: int = 0
    """... and were found there since."""


class Bringing:
    """What is remembered of the places of one store. Any number of threads: what a race loses of it does no harm."""

    def __init__(self) -> None:
        self._segments: dict[int, _Segment] = {}
        self._trust = TRUST
        self._lent = 0
        """Bringings that nobody has paid back."""
        self._turn = 0
        """Whose turn it is where one second read in a few is brought: if this is in that part of all turns."""

    @property
    def doubted(self) -> bool:
        """Whether it matters that something is where it was brought: :meth:`found` wants to hear of it."""
        return self._trust < MOST_TRUST or self._lent > 0

    def past(self, segment: int, generation: int, offset: int, size: int, *, settled: bool) -> bool:
        """Whether a place that the page cache does not hold is to be read past it; else its bytes are to be left there.

        ``settled``: it will be read as this says. If not, it is asked once more where this says that they are to be left there.
        """
        mask = _mask(offset, size)
        known = self._of(segment, generation)
        if not _most(known.seen, mask):
            known.seen |= mask
            return True
        if _most(known.brought, mask):
            if not _most(known.found, mask):
                self._trust = max(self._trust - 1, 0)
            known.brought &= ~mask
            known.found &= ~mask
            return True
        one_in = TRY_ONE_IN if not self._trust else LEND_ONE_IN if self._lent >= MOST_LENT else 1
        if self._turn * one_in >= _TURNS:
            self._turn = (self._turn + _STEP) % _TURNS
            return True
        if settled:
            known.brought |= mask
            self._turn = (self._turn + _STEP) % _TURNS
            self._lent = min(self._lent + 1, MOST_LENT)
        return False

    def found(self, segment: int, generation: int, offset: int, size: int) -> None:
        """The page cache holds this place."""
        mask = _mask(offset, size)
        known = self._of(segment, generation)
        if not _most(known.brought, mask):
            return
        self._lent = max(self._lent - 1, 0)
        if not _most(known.found, mask):
            known.found |= mask
            self._trust = min(self._trust + 1, MOST_TRUST)

    def _of(self, segment: int, generation: int) -> _Segment:
        """What is known of a segment."""
        known = self._segments.get(segment)
        if known is None or known.generation != generation:
            known = self._segments[segment] = _Segment(generation)
        return known


def _mask(offset: int, size: int) -> int:
    """The bits of a place: of the pieces that begin in it, which are no neighbour's; without any, of the one it begins in."""
    first, stop = -(-offset >> GRANULE), -(-(offset + size) >> GRANULE)
    if first == stop:
        first -= 1
    return ((1 << (stop - first)) - 1) << first


def _most(bits: int, mask: int) -> bool:
    """Whether most of a place is among these: it may be some pages, of which not all were read before."""
    return (bits & mask).bit_count() * 2 > mask.bit_count()
