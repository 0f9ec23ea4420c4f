"""A namespace of pages in a dict: what an adapter is tested against when disks, budgets and crashes are beside the point.

:class:`MemoryNamespace` answers like :class:`lsmkv_tensor.namespaces.Namespace`; pages are evicted when the test says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.keys.flat import flat_key
from lsmkv_tensor.services import Services
from lsmkv_tensor.spans import PageBuffers, page_views

__all__ = ["MemoryNamespace"]


class MemoryNamespace:
    """Pages and small records of one namespace, in memory.

    ``pages`` maps a 28-byte key to (bytes, parent's key or None); ``notes`` holds the records. Both may be looked at freely.
    """

    def __init__(self, page_bytes: int, digest: bytes = bytes(32)) -> None:
        self.page_bytes = page_bytes
        self.digest = digest
        self.services = Services()
        self.pages: dict[bytes, tuple[bytes, bytes | None]] = {}
        self.notes: dict[bytes, bytes] = {}
        self._callbacks: list[Callable[[list[bytes], list[int]], None]] = []

    def index_keys(self, keys: Sequence[bytes | str]) -> list[bytes]:
        """The keys as the dict has them: there is one namespace."""
        return [flat_key(key) for key in keys]

    def contains(self, keys: Sequence[bytes | str], *, queued: bool = True) -> NDArray[np.bool_]:
        """Which pages are stored; nothing is queued here."""
        del queued
        return np.array([flat_key(key) in self.pages for key in keys], np.bool_)

    def contains_own(self, keys: Sequence[bytes | str]) -> NDArray[np.bool_]:
        """As :meth:`contains`: it has no siblings."""
        return self.contains(keys)

    def to_store(self, keys: Sequence[bytes | str], *, queued: bool = True, touch: bool = False) -> NDArray[np.bool_]:
        """Which pages are not stored; nothing is evicted, so use tells nothing."""
        del touch
        return ~self.contains(keys, queued=queued)

    def contains_prefix(self, keys: Sequence[bytes | str], deadline_s: float | None = None, *, prefetch: bool = False) -> int:
        """How many pages from the first on are stored without a gap; memory never makes anybody wait, nor needs reading ahead."""
        del prefetch
        self.services.until(deadline_s)
        return next((i for i, key in enumerate(keys) if flat_key(key) not in self.pages), len(keys))

    def put_many(
        self,
        keys: Sequence[bytes | str],
        buffers: PageBuffers,
        parents: Sequence[bytes | str | None] | None = None,
        *,
        records: Mapping[bytes, bytes | None] | None = None,
        wait: bool | None = None,
    ) -> list[bool]:
        """Store pages that are not there yet, and records. ``wait=False`` is refused: there is no queue."""
        self.services.queue_for(wait)
        above = parents if parents is not None else [None] * len(keys)
        for key, views, parent in zip(keys, page_views(buffers, len(keys), self.page_bytes), above, strict=True):
            self.pages.setdefault(flat_key(key), (b"".join(views), None if parent is None else flat_key(parent)))
        self.write_records(records or {})
        return [True] * len(keys)

    def get_into(self, keys: Sequence[bytes | str], buffers: PageBuffers, deadline_s: float | None = None) -> list[bool]:
        """Copy pages into the caller's memory; whether each was there."""
        self.services.until(deadline_s)
        found = []
        for key, views in zip(keys, page_views(buffers, len(keys), self.page_bytes, writable=True), strict=True):
            page = self.pages.get(flat_key(key))
            found.append(page is not None)
            rest = page[0] if page is not None else b""
            for view in views if page is not None else ():
                view[:] = rest[: len(view)]
                rest = rest[len(view) :]
        return found

    def delete_many(self, keys: Sequence[bytes | str], *, records: Sequence[bytes] = ()) -> int:
        """Forget pages and records; how many pages were there."""
        self.write_records(dict.fromkeys(records))
        return sum(self.pages.pop(flat_key(key), None) is not None for key in keys)

    def write_records(self, records: Mapping[bytes, bytes | None]) -> None:
        """Change small records; None deletes one."""
        for key, value in records.items():
            if value is None:
                self.notes.pop(key, None)
            else:
                self.notes[key] = value

    def records(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Records whose key begins with ``prefix``, ascending, as of the call."""
        return iter([(key, value) for key, value in sorted(self.notes.items()) if key.startswith(prefix)])

    def keys(self) -> Iterator[bytes]:
        """The keys of all pages, ascending, as of the call."""
        return iter(sorted(self.pages))

    def parents(self, keys: Sequence[bytes | str]) -> list[bytes | None]:
        """The key of each page's predecessor, None where the page is absent or has none."""
        return [self.pages.get(flat_key(key), (b"", None))[1] for key in keys]

    def on_evict(self, callback: Callable[[list[bytes], list[int]], None]) -> None:
        """Call ``callback(keys, sizes)`` after each :meth:`evict`."""
        self._callbacks.append(callback)

    def evict(self, keys: Sequence[bytes]) -> None:
        """Lose these pages (as a full store would), then tell whoever asked to be told."""
        lost = [key for key in keys if self.pages.pop(key, None) is not None]
        for callback in self._callbacks if lost else ():
            callback(lost, [self.page_bytes] * len(lost))
