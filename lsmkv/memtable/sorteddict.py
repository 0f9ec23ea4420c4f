"""The alternative ordered part: ``sortedcontainers.SortedList``, a two-level list of lists, in pure Python like the skiplist.

It cannot be read while it changes, so a lock guards it: adding holds it for a batch, a scan for one chunk at a time and then
finds its place again by key. The name recalls that dict and ordered keys together are what a ``SortedDict`` would be.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise

from sortedcontainers import SortedList

from lsmkv.env.sync import Lock
from lsmkv.memtable.keyset import FIRST_CHUNK_KEYS, MAX_CHUNK_KEYS

__all__ = ["SortedKeys"]


class SortedKeys:
    """An ordered set of keys; see :class:`lsmkv.memtable.keyset.KeySet`."""

    __slots__ = ("_keys", "_lock")

    def __init__(self) -> None:
        """Begin empty."""
        self._keys = SortedList()
        self._lock = Lock()

    def __len__(self) -> int:
        """Number of keys."""
        return len(self._keys)

    def add(self, keys: list[bytes]) -> None:
        """Add ascending keys that are not in the set (a large batch rebuilds the list, a small one inserts)."""
        with self._lock:
            self._keys.update(keys)

    def chunks(self, start: bytes | None, stop: bytes | None, *, reverse: bool) -> Iterator[list[bytes]]:
        """See :meth:`lsmkv.memtable.keyset.KeySet.chunks`."""
        if start is not None and stop is not None and start >= stop:
            return
        low, high = start, stop
        inclusive = (True, False)
        size = FIRST_CHUNK_KEYS
        while True:
            with self._lock:
                chunk = list(islice(self._keys.irange(low, high, inclusive, reverse), size))
            if not chunk:
                return
            yield chunk
            if len(chunk) < size:
                return
            size = min(2 * size, MAX_CHUNK_KEYS)
            if reverse:
                high = chunk[-1]
            else:
                low, inclusive = chunk[-1], (False, False)

    def check(self) -> None:
        """Assert the invariants of the list and that no key is there twice."""
        with self._lock:
            self._keys._check()  # noqa: SLF001 - the library's documented self-test has no public name
            assert all(a < b for a, b in pairwise(self._keys)), "a key is there twice"
