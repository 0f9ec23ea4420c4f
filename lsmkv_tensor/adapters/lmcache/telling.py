"""What LMCache is told of what is here: each page's coming once, and its going once, in this order.

LMCache adds up bytes and keeps its own list of keys for its eviction policy: a page that is told twice, or whose going is told
before its coming, spoils its accounts for as long as it runs. Pages come in stores, they go by eviction (told later,
in any thread), by deletion, and when one is found damaged. So

* everything is told under one lock;
* who stores *claims* its keys, which are nobody else's then: a page that goes meanwhile is told of after that, behind its coming;
* a page's record lives as long as it is told of: who deletes the record tells its going.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeAlias

from lsmkv.env.sync import Condition
from lsmkv_tensor.adapters.lmcache.identity import PageId
from lsmkv_tensor.adapters.lmcache.shelves import BATCH, Shelf, Shelves
from lsmkv_tensor.namespaces import Namespace

__all__ = ["Claim", "Teller"]

Key: TypeAlias = Any
"""LMCache's ``ObjectKey``."""
Tell: TypeAlias = Callable[[list[Key], list[int]], None]


class Claim:
    """Pages that one store has for itself. Changed under the teller's lock."""

    __slots__ = ("keys", "queued")

    def __init__(self) -> None:
        self.keys: set[bytes] = set()
        self.queued = False
        """They are accepted: they can be found, and are released when they are written."""


class Teller:
    """The accounts. Any thread may call anything."""

    def __init__(self, shelves: Shelves, make_key: Callable[..., Key], stored: Tell, deleted: Tell, again: Tell) -> None:
        """``stored`` and ``deleted`` tell everybody; ``again`` tells the listeners alone that a page is still there."""
        self._shelves = shelves
        self._make_key = make_key
        self._stored = stored
        self._deleted = deleted
        self._again = again
        self._lock = Condition()
        self._storing: dict[PageId, Claim] = {}
        self._gone: Counter[PageId] = Counter()
        self.evicted_pages = 0

    @property
    def lock(self) -> AbstractContextManager[bool]:
        """Nothing is told while it is held by another thread."""
        return self._lock

    def tell_held(self, tell: Tell) -> None:
        """Tell of every page that is here and not being stored. I/O: as :meth:`Shelf.held`."""
        with self._lock:
            for shelf in self._shelves.all():
                self.hook(shelf)
                for batch in shelf.held():
                    keys = [
                        self._key(shelf, chunk, salt) for page, chunk, salt in batch if (shelf.number, page) not in self._storing
                    ]
                    tell(keys, [shelf.page_bytes] * len(keys))

    def mend(self) -> None:
        """Delete the records whose page is gone. I/O: as :meth:`Shelf.orphans`."""
        with self._lock:
            for shelf in self._shelves.all():
                writer = shelf.writer
                if writer is not None:
                    orphans = [key for key in shelf.orphans() if (shelf.number, key) not in self._storing]
                    for at in range(0, len(orphans), BATCH):
                        self._forget(writer, _absent(writer, orphans[at : at + BATCH]))

    def hook(self, shelf: Shelf) -> Namespace | None:
        """The shelf's writer, its evictions told from now on."""
        with self._lock:
            writer = shelf.writer
            if writer is not None and writer is not shelf.hooked:
                writer.on_evict(partial(self._on_evict, shelf))
                shelf.hooked = writer
            return writer

    def claim(self, shelf: Shelf, keys: Iterable[bytes]) -> Claim:
        """Until :meth:`release` these are stored by nobody else; waits for whoever is storing one of them.

        Not for what waits in the queue of puts: that is as good as stored, and is left out of the claim.
        """
        wanted = {(shelf.number, key) for key in keys}
        claim = Claim()

        def being_stored(page: PageId) -> bool:
            """Whether somebody else may still not store it."""
            found = self._storing.get(page)
            return found is not None and not found.queued

        with self._lock:
            self._lock.wait_for(lambda: not any(map(being_stored, wanted)))
            claim.keys = {key for number, key in wanted if (number, key) not in self._storing}
            self._storing.update(((shelf.number, key), claim) for key in claim.keys)
        return claim

    def queued(self, claim: Claim) -> None:
        """What has not been released of these was accepted by the queue of puts."""
        with self._lock:
            claim.queued = True
            self._lock.notify_all()

    def release(self, shelf: Shelf, mine: Collection[bytes], new: dict[bytes, Key], refused: Sequence[bytes]) -> None:
        """The storing of these is over.

        ``new``: those that were stored by it. ``refused``: those that were not, whose records were. I/O: index blocks.
        """
        with self._lock:
            writer = shelf.writer
            gone = {key: times for key in mine if (times := self._gone.pop((shelf.number, key), 0))}
            for key in mine:
                self._storing.pop((shelf.number, key), None)
            self._lock.notify_all()
            absent = set() if writer is None else set(_absent(writer, list(new)))
            # a sibling's page is as good as stored, but is not ours; one that went meanwhile was
            came = [new[key] for key in new if key not in absent or key in gone]
            if came:
                self._stored(came, [shelf.page_bytes] * len(came))
            if refused and writer is not None:
                self._forget(writer, [key for key in _absent(writer, refused) if key not in gone])
            if gone and writer is not None:
                self._note_gone(shelf, writer, [key for key, times in gone.items() for _ in range(times)])

    def dropped(self, shelf: Shelf, keys: Sequence[bytes], *, mine: bool = False) -> None:
        """These could not be read: tell of those that are not here any more, unless somebody stores them (other than the caller).

        I/O: index blocks.
        """
        with self._lock:
            writer = shelf.writer
            if writer is not None and keys:
                absent = [key for key in _absent(writer, keys) if mine or (shelf.number, key) not in self._storing]
                self._note_gone(shelf, writer, absent)

    def delete(self, shelf: Shelf, keys: Sequence[bytes]) -> int:
        """Delete pages that are not being stored just now; how many were here. I/O: as ``Namespace.delete_many``."""
        with self._lock:
            writer = shelf.writer
            if writer is None:
                return 0
            keys = [key for key in keys if (shelf.number, key) not in self._storing]
            here = [key for key, flag in zip(keys, writer.contains_own(keys), strict=True) if flag]
            told = shelf.records_of(writer, here)
            found = writer.delete_many(here, records=list(told))
            if told:
                self._deleted([self._key(shelf, *what) for what in told.values()], [shelf.page_bytes] * len(told))
            return found

    # helpers

    def _on_evict(self, shelf: Shelf, keys: list[bytes], sizes: list[int]) -> None:
        """The store made room."""
        del sizes
        with self._lock:
            self.evicted_pages += len(keys)
            storing = [key for key in keys if (shelf.number, key) in self._storing]
            self._gone.update((shelf.number, key) for key in storing)
            writer = shelf.writer
            if writer is not None:
                self._note_gone(shelf, writer, [key for key in keys if (shelf.number, key) not in self._storing])

    def _note_gone(self, shelf: Shelf, writer: Namespace, keys: Sequence[bytes]) -> None:
        """Tell of these that went (once for each time given) and delete their records, unless they have come back (lock held)."""
        told = shelf.records_of(writer, dict.fromkeys(keys))
        names = {key: self._key(shelf, *what) for key, what in told.items()}
        went = [names[key] for key in keys if key in names]
        if went:
            self._deleted(went, [shelf.page_bytes] * len(went))
            absent = _absent(writer, list(names))
            self._forget(writer, absent)
            back = [name for key, name in names.items() if key not in set(absent)]
            if back:
                self._again(back, [shelf.page_bytes] * len(back))

    def _forget(self, writer: Namespace, keys: Sequence[bytes]) -> None:
        """Delete these records."""
        if keys:
            writer.write_records(dict.fromkeys(keys))

    def _key(self, shelf: Shelf, chunk_hash: bytes, salt: str) -> Key:
        """LMCache's key."""
        whose = shelf.identity
        return self._make_key(
            chunk_hash=chunk_hash, model_name=whose.model, kv_rank=whose.kv_rank, object_group_id=whose.group, cache_salt=salt
        )


def _absent(writer: Namespace, keys: Sequence[bytes]) -> list[bytes]:
    """Which of these pages are not here. A disk that cannot be asked says so of all: what can be pinned is here."""
    found = []
    for key, here in zip(keys, writer.contains_own(keys), strict=True):
        if not here:
            if writer.pin([key])[0]:
                writer.unpin([key])
            else:
                found.append(key)
    return found
