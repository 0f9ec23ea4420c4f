"""Pages that are known to be stored: the first thing a lookup looks at, because it takes no lock and no thread.

Whatever the index gains or loses is told here under the commit lock, behind the commit; a lookup that found a page in the index
tells it, too, unless a page was lost since it asked. So what is known is stored; of what is not known nothing is said. There is
room for so many pages: beyond that, each new one takes the place of any other, which the index finds all the same.

A set of page keys for each namespace: asking is one operation of a set, which no other thread can come into the middle of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from lsmkv.env.sync import Lock

__all__ = ["KnownPages"]

SPACE_BYTES = 4
"""Bytes of an index key that are its namespace."""
_SPACE = itemgetter(slice(SPACE_BYTES))


class KnownPages:
    """What is known of one store. Any thread may call anything. No I/O."""

    def __init__(self, limit: int) -> None:
        """``limit``: pages that are known at most, about 125 bytes each; 0: none ever is."""
        self.limit = limit
        self._lock = Lock()
        self._spaces: dict[bytes, set[bytes]] = {}
        self._count = 0
        self.losses = 0
        """Grows whenever pages are lost: what was found before may be gone."""

    def __len__(self) -> int:
        """Pages."""
        return self._count

    def of(self, space: bytes) -> set[bytes]:
        """The page keys that are known of a namespace; for looking only, and the same set as long as this lives."""
        with self._lock:
            return self._spaces.setdefault(space, set())

    def add(self, keys: Sequence[bytes], *, spare: bool = False) -> None:
        """The index has these index keys now. ``spare``: as far as there is room that no other page takes."""
        if not self.limit:
            return
        with self._lock:
            for space, own in _by_space(keys):
                room = self.limit - self._count
                if not spare or room > 0:
                    self._add(self._spaces.setdefault(space, set()), own[:room] if spare else own)

    def found(self, space: bytes, keys: Sequence[bytes], losses: int) -> None:
        """A lookup found these page keys in the index; ``losses`` was as it is now before it looked."""
        if keys and self.limit:
            with self._lock:
                if self.losses == losses:
                    self._add(self._spaces.setdefault(space, set()), keys)

    def lose(self, keys: Sequence[bytes]) -> None:
        """These index keys are gone, or could not be read: the index is to be asked again."""
        with self._lock:
            self.losses += 1
            for space, own in _by_space(keys) if self._count else ():
                pages = self._spaces.get(space)
                if pages:
                    before = len(pages)
                    pages.difference_update(own)
                    self._count -= before - len(pages)

    def _add(self, pages: set[bytes], keys: Sequence[bytes]) -> None:
        """Know these page keys of one namespace (lock held); page keys are digests, so that any other is a random one."""
        before = len(pages)
        pages.update(keys[-self.limit :])
        self._count += len(pages) - before
        while self._count > self.limit:
            largest = max(self._spaces.values(), key=len)
            over = min(self._count - self.limit, len(largest))
            for _ in range(over):
                largest.pop()
            self._count -= over


def _by_space(keys: Sequence[bytes]) -> Iterator[tuple[bytes, list[bytes]]]:
    """Index keys as page keys by namespace; a key may come up in several groups."""
    for space, own in groupby(keys, _SPACE):
        yield space, [key[SPACE_BYTES:] for key in own]
