"""Which reads go past the page cache, and which leave their bytes there. Pure.

What is read once is most often not read again before it has left every cache, and is read fastest past the page cache. What is
read again may be read a third time, so the second read brings it there; when it has gone from there it begins anew.

Bringing takes about as much longer as one later read from memory is shorter. So it is worth while if at least every other place
that was brought is asked for again before something else takes its memory. That is learned: what is found where it was brought
speaks for it, what has gone from there against it. Where it does not pay, a second read in a few brings its place all the same:
memory may have come free.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["GRANULE", "MOST_TRUST", "TRUST", "TRY_ONE_IN", "Bringing"]

GRANULE = 16
"""Reads are remembered by pieces of this many bits: 64 KiB."""
TRUST = 2
"""Brought places that may be gone when they are asked for, before it is thought that nothing stays: at first,"""
MOST_TRUST = 8
"""... and at most, after so many that were still there."""
TRY_ONE_IN = 8
"""Second reads of which one is brought when nothing stays."""


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
        self._passed = 0
        """Second reads since one was brought."""

    @property
    def doubted(self) -> bool:
        """Whether it matters that something is where it was brought: :meth:`found` wants to hear of it."""
        return self._trust < MOST_TRUST

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
        if not self._trust and self._passed < TRY_ONE_IN - 1:
            self._passed += 1
            return True
        if settled:
            known.brought |= mask
            self._passed = 0
        return False

    def found(self, segment: int, generation: int, offset: int, size: int) -> None:
        """The page cache holds this place."""
        mask = _mask(offset, size)
        known = self._of(segment, generation)
        if _most(known.brought, mask) and not _most(known.found, mask):
            known.found |= mask
            self._trust = min(self._trust + 1, MOST_TRUST)

    def _of(self, segment: int, generation: int) -> _Segment:
        """What is known of a segment."""
        known = self._segments.get(segment)
        if known is None or known.generation != generation:
            known = self._segments[segment] = _Segment(generation)
        return known


def _mask(offset: int, size: int) -> int:
    """The bits of a place."""
    first = offset >> GRANULE
    return ((1 << ((offset + size - 1 >> GRANULE) - first + 1)) - 1) << first


def _most(bits: int, mask: int) -> bool:
    """Whether most of a place is among these: its ends are its neighbours', too."""
    return (bits & mask).bit_count() * 2 > mask.bit_count()
