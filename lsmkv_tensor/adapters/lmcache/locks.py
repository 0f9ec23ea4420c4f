"""Pages that LMCache has locked between asking and loading: each lock is a pin of the store, as far as that grants one.

A pin can be refused (the page is a sibling's or still waits to be written, or half of the store is pinned). The lock counts all
the same, so that its end takes away no other lock's pin. What was locked while it waited is pinned once it is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lsmkv.env.sync import Lock
from lsmkv_tensor.adapters.lmcache.identity import PageId

__all__ = ["Locks"]


class Locks:
    """Locks and pins by page. Any thread may call anything."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: dict[PageId, tuple[int, int]] = {}
        self._askers: dict[PageId, int] = {}

    def add(self, pages: Sequence[PageId], pinned: Sequence[bool], asker: int | None = None) -> None:
        """These are locked once more; ``pinned``: which the store has pinned for it, each once. ``asker``: who asked for them."""
        with self._lock:
            if asker is not None:
                self._askers.update(dict.fromkeys(pages, asker))
            given = set[PageId]()
            for page, pin in zip(pages, pinned, strict=True):
                locks, pins = self._held.get(page, (0, 0))
                self._held[page] = (locks + 1, pins + (pin and page not in given))
                given.add(page)

    def asker(self, page: PageId) -> int | None:
        """Who asked for it last, as long as it is locked."""
        with self._lock:
            return self._askers.get(page)

    def pinned(self, page: PageId) -> bool:
        """The store has pinned this once more; False: nobody has it locked any more, and the pin is the caller's to undo."""
        with self._lock:
            locks, pins = self._held.get(page, (0, 0))
            if locks > pins:
                self._held[page] = (locks, pins + 1)
            return locks > pins

    def remove(self, pages: Iterable[PageId]) -> list[PageId]:
        """Undo one lock of each; those of which one pin is not needed any more. One that is not locked is passed over."""
        unpin = []
        with self._lock:
            for page in pages:
                locks, pins = self._held.pop(page, (0, 0))
                if locks > 1:
                    self._held[page] = (locks - 1, min(pins, locks - 1))
                else:
                    self._askers.pop(page, None)
                if pins and pins > locks - 1:
                    unpin.append(page)
        return unpin

    def holds(self, page: PageId) -> bool:
        """Whether it is locked."""
        with self._lock:
            return page in self._held

    def __len__(self) -> int:
        """Pages that are locked."""
        return len(self._held)
