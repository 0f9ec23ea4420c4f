"""The seam between a store and the rules of what it keeps: which pages go first, and which are let in at all.

An :class:`Eviction` ranks the pages that are stored; an :class:`Admission` judges those that are offered. Both are pure: no
I/O, no clock, no chance; what they may know is passed in. The owner (a store, or a simulator) calls them one call at a time,
in the order in which things happen, and alone decides what is evicted: neither ever touches a page.

A *page* is a small integer (a slot) that the owner assigns and may use again after ``on_remove``: state by page is an array.
A *print* is a 64-bit fingerprint of the page's key. It outlives the page: a policy that remembers evicted pages (ghosts)
knows them by it. Prints of different keys may be equal, as rarely as chance has it: then a page is misjudged, nothing else.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Admission", "Eviction", "Pages", "Prints", "Remembering", "Seen", "Sizes"]

Pages: TypeAlias = NDArray[np.int64]
"""Slots, no slot twice in one call."""
Prints: TypeAlias = NDArray[np.uint64]
"""Fingerprints of page keys."""
Sizes: TypeAlias = NDArray[np.int64]
"""Bytes each page takes of the capacity, at least 1."""


class Eviction(Protocol):
    """Ranks resident pages by who goes first. A class of this kind is made with the capacity in bytes as its one argument."""

    def on_insert(self, pages: Pages, sizes: Sizes, prints: Prints) -> None:
        """These pages are stored from now on. In the order of touching: leaf to root, where the owner knows it."""
        ...

    def on_hit(self, pages: Pages) -> None:
        """These resident pages were used, in the order of touching: leaf to root, so the root ends up most recent.

        The owner adds the resident ancestors of what it touched: whoever used a page used all pages before it.
        """
        ...

    def on_remove(self, pages: Pages, evicted: bool) -> None:
        """These pages are no longer stored. ``evicted``: to make room (worth remembering), not deleted by their owner."""
        ...

    def victims(self, nbytes: int) -> Pages:
        """The pages to evict next, the first first, together at least ``nbytes``; all pages if they are fewer bytes.

        Changes nothing: the owner says with ``on_remove`` which of them went. One that must pass some over (pinned pages)
        asks for more.
        """
        ...


@runtime_checkable
class Remembering(Protocol):
    """What an :class:`Eviction` offers beside if it remembers evicted pages."""

    ghost_hits: int
    """Inserted pages that were remembered from an earlier eviction, since the policy was made: evictions regretted."""

    def save(self) -> bytes:
        """What it remembers of pages, evicted and resident, as bytes that :meth:`load` understands."""
        ...

    def load(self, saved: bytes) -> None:
        """Remember what :meth:`save` saved, before any page is inserted. CorruptionError if the bytes are damaged."""
        ...


class Seen(NamedTuple):
    """What an owner tells an :class:`Admission` of itself. Totals run from opening."""

    now_s: float
    """Seconds on any clock that does not go back."""
    capacity_bytes: int
    used_bytes: int
    """Bytes of resident pages."""
    written_bytes: int
    """Bytes given to the disk: pages, headers, padding, copies of garbage collection."""
    evicted_bytes: int
    """Bytes of pages evicted to make room."""
    ghost_hits: int
    """As :attr:`Remembering.ghost_hits`; 0 if the eviction policy does not remember."""
    hits: int
    """Pages delivered."""


class Admission(Protocol):
    """Judges which offered pages are worth a write.

    A class of this kind is made with the capacity in bytes and the write budget in bytes a day (a float, None: no limit).

    A *sighting* of a page is a distinct request's probe miss or put; a request's own probe and the put that follows it are
    one sighting.
    """

    def sight(self, prints: Prints, now_s: float) -> None:
        """A probe asked for these pages, and they were not there."""
        ...

    def decide(self, prints: Prints, sizes: Sizes, now_s: float) -> NDArray[np.bool_]:
        """Which of these absent pages to store, offered by one put in prefix order (root to leaf)."""
        ...

    def observe(self, seen: Seen) -> None:
        """How the owner is doing; told now and then, before a decision at the latest."""
        ...
