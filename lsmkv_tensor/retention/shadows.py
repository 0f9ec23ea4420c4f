"""Miniatures: what a store would have hit and written under other admission policies, without storing a page. Pure.

A miniature follows a sample of the pages (chosen by their prints, so all uses of a page are seen or none) with the same part of
the capacity, under the store's own eviction policy and an admission policy to be tried. Such miniature simulations predict the
hit rates of large caches well (Waldspurger et al., USENIX ATC 2017). They evict single pages in exact order and pay for no
headers, so they hit a little more than a store of segments does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.retention.protocol import Admission, Eviction, Pages, Prints, Sizes
from lsmkv_tensor.retention.steering_settings import Tried

__all__ = ["Miniature", "Miniatures", "sample_bits"]

MINIATURE_PAGES = 2048
"""Pages that a miniature holds, at least, where the store does: fewer are tossed about by chance."""
_MIX = np.uint64(0xD6E8FEB86659FD93)
_WORD = 64


def sample_bits(capacity_bytes: int, page_bytes: int) -> int:
    """One page in 2 to the power of this is sampled."""
    pages = capacity_bytes // max(page_bytes, 1)
    return max((pages // MINIATURE_PAGES).bit_length() - 1, 0)


class Miniature:
    """A cache of pages by print that holds none of them."""

    def __init__(self, capacity_bytes: int, eviction: Eviction, admission: Admission) -> None:
        self._capacity = capacity_bytes
        self._eviction = eviction
        self._admission = admission
        self._slots: dict[int, int] = {}
        self._prints: list[int] = []
        self._sizes: NDArray[np.int64] = np.zeros(1024, np.int64)
        self._free: list[int] = []
        self._used = 0
        self.delivered_bytes = 0
        self.written_bytes = 0
        self.evicted_bytes = 0

    def use(self, prints: Prints, sizes: Sizes) -> None:
        """These distinct pages were used or offered, leaf to root: it has those it has, and may store the others."""
        slots = np.array([self._slots.get(one, -1) for one in prints.tolist()], np.int64)
        here = slots >= 0
        if here.any():
            self._eviction.on_hit(slots[here])
            self.delivered_bytes += int(sizes[here].sum())
        if not here.all():
            self._offer(prints[~here], sizes[~here])

    def _offer(self, prints: Prints, sizes: Sizes) -> None:
        """Store those of these absent pages that admission wants."""
        wanted = self._admission.decide(prints[::-1], sizes[::-1], 0.0)[::-1]
        taken = np.where(wanted, sizes, 0)
        wanted &= np.cumsum(taken[::-1])[::-1] <= self._capacity  # what does not fit are leaves: without the root they are no use
        if not wanted.any():
            return
        prints, sizes = prints[wanted], sizes[wanted]
        short = self._used + int(sizes.sum()) - self._capacity
        if short > 0:
            self._evict(short)
        slots = np.array([self._take(one) for one in prints.tolist()], np.int64)
        self._sizes[slots] = sizes
        self._eviction.on_insert(slots, sizes, prints)
        self._used += int(sizes.sum())
        self.written_bytes += int(sizes.sum())

    def _take(self, one: int) -> int:
        """A slot for a page."""
        if self._free:
            slot = self._free.pop()
            self._prints[slot] = one
        else:
            slot = len(self._prints)
            self._prints.append(one)
            if slot >= len(self._sizes):
                self._sizes = np.concatenate([self._sizes, np.zeros_like(self._sizes)])
        self._slots[one] = slot
        return slot

    def _evict(self, nbytes: int) -> None:
        """Make room."""
        slots: Pages = self._eviction.victims(nbytes)
        self._eviction.on_remove(slots, evicted=True)
        gone = int(self._sizes[slots].sum())
        self._used -= gone
        self.evicted_bytes += gone
        for slot in slots.tolist():
            del self._slots[self._prints[slot]]
            self._free.append(slot)


class Miniatures:
    """One miniature for each admission, fed with the same sample."""

    def __init__(
        self,
        capacity_bytes: int,
        page_bytes: int,
        eviction: Callable[[int], Eviction],
        admissions: Mapping[str, Callable[[int], Admission]],
    ) -> None:
        """Policies are made for a capacity in bytes. ``page_bytes``: of one page, about."""
        self._bits = sample_bits(capacity_bytes, page_bytes)
        small = capacity_bytes >> self._bits
        self._of = {name: Miniature(small, eviction(small), make(small)) for name, make in admissions.items()}
        self._asked_bytes = 0
        self._before: dict[str, tuple[int, int]] = dict.fromkeys(self._of, (0, 0))

    @property
    def bits(self) -> int:
        """One page in 2 to the power of this is sampled."""
        return self._bits

    @property
    def sampled(self) -> float:
        """The part of the pages that is sampled."""
        return 0.5**self._bits

    @property
    def turned_over(self) -> bool:
        """Whether what stores the most has had to evict: before, no setting has shown what it costs."""
        return max(one.evicted_bytes for one in self._of.values()) > 0

    def use(self, prints: Prints, sizes: Sizes) -> None:
        """These distinct pages were used or offered, leaf to root."""
        prints, sizes = self.sample(prints, sizes)
        if not len(prints):
            return
        self._asked_bytes += int(sizes.sum())
        for one in self._of.values():
            one.use(prints, sizes)

    def sample(self, prints: Prints, sizes: Sizes) -> tuple[Prints, Sizes]:
        """Those of these pages that are in the sample."""
        if not self._bits:
            return prints, sizes
        chosen = (prints * _MIX) >> np.uint64(_WORD - self._bits) == 0
        return prints[chosen], sizes[chosen]

    def take(self) -> tuple[float, dict[str, Tried]]:
        """Bytes used or offered since the last time, and what each admission would have done with them: scaled up."""
        scale = 1 << self._bits
        found = {}
        for name, one in self._of.items():
            delivered, written = self._before[name]
            found[name] = Tried(float((one.delivered_bytes - delivered) * scale), float((one.written_bytes - written) * scale))
            self._before[name] = (one.delivered_bytes, one.written_bytes)
        asked, self._asked_bytes = self._asked_bytes * scale, 0
        return float(asked), found
