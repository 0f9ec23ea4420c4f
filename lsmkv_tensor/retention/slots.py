"""Packed state of resident pages: 15 bytes each in NumPy arrays indexed by slot, and a little slack.

::

    print   8   fingerprint of the page's key
    stamp   4   when it was last touched (or inserted), counted in touches; 0: the slot is empty
    size    2   which of the distinct sizes it has
    uses    1   how often it was used, 255 and more count as 255

Sizes of pages repeat (a namespace has one), so a code for each distinct size is enough; should there ever be more than 65,536
of them, later ones are counted as the next larger known size, or else the largest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.retention.protocol import Pages, Prints, Sizes

__all__ = ["MOST_USES", "SlotArrays"]

MOST_USES = 255
MOST_SIZES = 1 << 16
GROWTH = 32
"""Arrays grow by a part of so much: at most 3 % of them is slack."""


class SlotArrays:
    """The arrays, and sums over what is resident."""

    def __init__(self) -> None:
        self.prints: Prints = np.zeros(0, dtype=np.uint64)
        self.stamps: NDArray[np.uint32] = np.zeros(0, dtype=np.uint32)
        self.uses: NDArray[np.uint8] = np.zeros(0, dtype=np.uint8)
        self._codes: NDArray[np.uint16] = np.zeros(0, dtype=np.uint16)
        self._code_of: dict[int, int] = {}
        self._size_of: Sizes = np.zeros(0, dtype=np.int64)
        self.pages = 0
        """Resident pages."""
        self.nbytes = 0
        """Bytes of resident pages."""

    @property
    def memory_bytes(self) -> int:
        """Bytes of the arrays."""
        return sum(a.nbytes for a in (self.prints, self.stamps, self.uses, self._codes, self._size_of))

    def sizes(self, pages: Pages) -> Sizes:
        """Bytes of these pages."""
        return self._size_of[self._codes[pages]]

    def add(self, pages: Pages, sizes: Sizes, prints: Prints) -> None:
        """Fill slots; stamps and uses are the caller's to set."""
        top = int(pages.max()) + 1
        if top > len(self.stamps):
            self._grow(top)
        assert not self.stamps[pages].any(), "a slot is filled twice"
        self.prints[pages] = prints
        self._codes[pages] = self._encode(sizes)
        self.pages += len(pages)
        self.nbytes += int(self.sizes(pages).sum())

    def remove(self, pages: Pages) -> None:
        """Empty slots."""
        assert self.stamps[pages].all(), "a slot is emptied twice"
        self.pages -= len(pages)
        self.nbytes -= int(self.sizes(pages).sum())
        self.stamps[pages] = 0

    def resident(self) -> Pages:
        """All filled slots, ascending."""
        return np.flatnonzero(self.stamps)

    def _grow(self, least: int) -> None:
        """Make room for so many slots."""
        slots = max(least + least // GROWTH, 64)
        for name in ("prints", "stamps", "uses", "_codes"):
            old = getattr(self, name)
            new = np.zeros(slots, dtype=old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)

    def _encode(self, sizes: Sizes) -> NDArray[np.uint16]:
        """The code of each size."""
        if len(sizes) and int(sizes.min()) == (only := int(sizes.max())):
            return np.full(len(sizes), self._code(only), dtype=np.uint16)
        distinct, where = np.unique(sizes, return_inverse=True)
        return np.array([self._code(int(size)) for size in distinct], dtype=np.uint16)[where]

    def _code(self, size: int) -> int:
        """The code of one size, a new one if it is new."""
        code = self._code_of.get(size)
        if code is not None:
            return code
        if len(self._code_of) >= MOST_SIZES:
            known = sorted(self._code_of)
            return self._code_of[next((k for k in known if k >= size), known[-1])]
        code = self._code_of[size] = len(self._code_of)
        self._size_of = np.append(self._size_of, size)
        return code
