"""Pages that are known to be stored: the first thing a lookup looks at, because it takes no lock and no thread.

Whatever the index gains or loses is told here under the commit lock, behind the commit; a lookup that found a page in the index
tells it, too, unless a page was lost since it asked. So what is known is stored; of what is not known nothing is said. There is
room for so many pages: beyond that, each new one takes the place of any other, which the index finds all the same.

A set of page keys for each namespace: asking is one operation of a set, which no other thread can come into the middle of.

Of pages that were read lately it is also known where they are (:class:`ReadPlaces`), after an opening of all if they are not more
than that: the look-up of 32 scattered keys costs more than checking their bytes, once two megabytes have passed through the
processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from lsmkv.env.sync import Lock

__all__ = ["MOST_READ", "KnownPages", "ReadPlaces"]

MOST_READ = 1 << 14
"""Pages of which it is known where they are: a gigabyte of pages of 64 KiB, 5 MB of memory."""

PLACES_AT_ONCE = MOST_READ // 4

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
        self.read = ReadPlaces(min(limit, MOST_READ))
        """Changed under this one's lock."""

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

    def values(self, keys: Sequence[bytes], ask: Callable[[], list[bytes | None] | None]) -> list[bytes | None] | None:
        """The index values of these index keys: as remembered if all are, else what ``ask`` says of them, which is remembered.

        A page may have moved since; one that is there is stored (or was when it was asked for). I/O: that of ``ask``.
        """
        found = self.read.of(keys)
        return self.asked(keys, ask) if found is None else found

    def asked(self, keys: Sequence[bytes], ask: Callable[[], list[bytes | None] | None]) -> list[bytes | None] | None:
        """What ``ask`` says of these index keys, which is remembered. I/O: that of ``ask``."""
        losses = self.losses
        values = ask()
        if values is not None and self.limit:
            with self._lock:
                if self.losses == losses:
                    self.read.note(keys, values)
        return values

    def places(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """The index has these values for these index keys, and cannot change while the caller says so."""
        with self._lock:
            for start in range(0, len(keys), PLACES_AT_ONCE):
                self.read.note(keys[start : start + PLACES_AT_ONCE], values[start : start + PLACES_AT_ONCE])

    def moved(self, keys: Sequence[bytes]) -> None:
        """These index keys may have other places now."""
        with self._lock:
            self.read.forget(keys)

    def lose(self, keys: Sequence[bytes]) -> None:
        """These index keys are gone from the index: what a lookup found before may be of them."""
        with self._lock:
            self.losses += 1
            self._forget(keys)

    def doubt(self, keys: Sequence[bytes]) -> None:
        """These index keys did not come when they were read: the index is to be asked again."""
        with self._lock:
            self._forget(keys)

    def _forget(self, keys: Sequence[bytes]) -> None:
        """Know nothing of these index keys (lock held)."""
        self.read.forget(keys)
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


class ReadPlaces:
    """Index values of pages that were read lately, by index key: two dicts, of which the older goes when the younger is full."""

    def __init__(self, limit: int) -> None:
        """``limit``: pages, about 300 bytes each."""
        self._half = -(-limit // 2)
        self._young: dict[bytes, bytes] = {}
        self._old: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        """Pages, nearly."""
        return len(self._young) + len(self._old)

    def of(self, keys: Sequence[bytes]) -> list[bytes | None] | None:
        """The values of these keys, None if one of them is not remembered. Any thread, without a lock."""
        found: list[bytes | None] = list(map(self._young.get, keys))
        if None not in found:
            return found
        old = self._old
        if not old:
            return None
        found = [old.get(key) if value is None else value for key, value in zip(keys, found, strict=True)]
        return None if None in found else found

    def one(self, key: bytes) -> bytes | None:
        """The value of this key, None if it is not remembered. Any thread, without a lock."""
        return self._young.get(key) or self._old.get(key)

    def note(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """The index says so; of those that it does not know nothing is remembered."""
        young = self._young
        if len(young) + len(keys) > self._half:
            if len(keys) > self._half:
                self.forget(keys)  # what was remembered of them may be older
                return
            self._old, self._young = young, {}
            young = self._young
        young.update((key, value) for key, value in zip(keys, values, strict=True) if value is not None)

    def forget(self, keys: Sequence[bytes]) -> None:
        """Of these nothing is remembered any more."""
        for known in (self._young, self._old):
            if known:
                for key in keys:
                    known.pop(key, None)


def _by_space(keys: Sequence[bytes]) -> Iterator[tuple[bytes, list[bytes]]]:
    """Index keys as page keys by namespace; a key may come up in several groups."""
    for space, own in groupby(keys, _SPACE):
        yield space, [key[SPACE_BYTES:] for key in own]
