"""The namespaces of one LMCache server: one for each rank, object group and layout of a model, found by any of these.

An object is stored and loaded under the layout of its own memory. It is asked for under the layout that LMCache will load it
with, or, where objects are serialised before they are stored, under another one: namespaces of serialised bytes are asked, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias

from lsmkv.env.sync import Lock
from lsmkv_tensor.adapters.holding import View
from lsmkv_tensor.adapters.lmcache.identity import page_key, read_record, record_of
from lsmkv_tensor.namespaces import Namespace
from lsmkv_tensor.registry import NamespaceInfo

__all__ = ["Shelf", "Shelves"]

Whose: TypeAlias = Any
"""What tells one rank's pages from another's: an ``Identity``, or the plug-in's ``Worker``."""
What: TypeAlias = Any
"""What the bytes are: a ``Layout``, or the plug-in's ``ChunkLayout``."""

BATCH = 1024
"""Records that are taken in hand at a time."""


class Shelf:
    """One namespace."""

    def __init__(self, identity: Whose, layout: What, page_bytes: int, view: Callable[[], View], number: int) -> None:
        self.identity = identity
        self.layout = layout
        self.page_bytes = page_bytes
        self.view = view
        self.number = number
        """Of this process, not the store's: it stays when another store is opened."""
        self.found = 0
        """Pages that were found here: where most were, the next are looked for first."""
        self.hooked: Namespace | None = None
        """The namespace whose evictions are told."""

    @property
    def writer(self) -> Namespace | None:
        """Where pages are stored, if they can be."""
        return self.view().writer

    def records_of(self, writer: Namespace, keys: Iterable[bytes]) -> dict[bytes, tuple[bytes, str]]:
        """Hash and salt by page key, of the pages that have a record. I/O: a short scan of the index for each."""
        found = {}
        for key in keys:
            for own, record in islice(writer.records(key), 1):
                read = read_record(record)
                if own == key and read is not None:
                    found[key] = read
        return found

    def held(self) -> Iterator[list[tuple[bytes, bytes, str]]]:
        """Page key, hash and salt of all pages here, in batches. I/O: scans of the namespace's index entries and records."""
        batch: list[tuple[bytes, bytes, str]] = []
        for key, read in self._noted():
            if read is not None:
                batch.append((key, *read))
            if len(batch) == BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def orphans(self) -> list[bytes]:
        """Keys of records whose page is not here: a process ended just after an eviction. I/O: as :meth:`held`."""
        return [key for key, read in self._noted() if read is None]

    def _noted(self) -> Iterator[tuple[bytes, tuple[bytes, str] | None]]:
        """What each record says, by page key; None where it says nothing or its page is not here."""
        writer = self.writer
        if writer is None:
            return
        records = writer.records()  # before the pages: a page that is stored meanwhile has no record yet, never the reverse
        pages = writer.keys()
        page = next(pages, None)
        for key, record in records:
            while page is not None and page < key:
                page = next(pages, None)
            yield key, read_record(record) if page == key else None


class Shelves:
    """All of them. Any thread may call anything."""

    def __init__(
        self,
        view: Callable[[Mapping[str, object], int], Callable[[], View]],
        fields: Callable[[Any, Any], Mapping[str, object]],
        read: Callable[[Mapping[str, Any]], tuple[Any, Any] | None],
    ) -> None:
        """``view`` opens a namespace (``Holding.view``); ``fields`` are those of one, ``read`` the reverse."""
        self._view = view
        self._fields = fields
        self._read = read
        self._lock = Lock()
        self._shelves: dict[tuple[Whose, What, int], Shelf] = {}
        self._where: dict[tuple[Whose, What | None], list[Shelf]] = {}

    def learn(self, infos: Iterable[NamespaceInfo]) -> None:
        """The store has these namespaces. I/O: none, they are registered."""
        for info in infos:
            read = self._read(info.fields)
            if read is not None:
                self.get(read[0], read[1], info.page_bytes)

    def get(self, identity: Whose, layout: What, page_bytes: int) -> Shelf:
        """The one for such objects. InvalidArgumentError if no segment holds one. I/O: if new as ``PageStore.namespace``."""
        key = (identity, layout, page_bytes)
        found = self._shelves.get(key)
        if found is None:
            view = self._view(self._fields(identity, layout), page_bytes)
            with self._lock:
                found = self._shelves.setdefault(key, Shelf(identity, layout, page_bytes, view, len(self._shelves)))
                self._where.clear()
        return found

    def where(self, identity: Whose, layout: What | None) -> list[Shelf]:
        """Where objects may be that will be loaded under this layout; None: under any."""
        with self._lock:
            found = self._where.get((identity, layout))
            if found is None:
                known = [shelf for (whose, *_), shelf in self._shelves.items() if whose == identity]
                found = [shelf for shelf in known if layout is None or shelf.layout == layout or shelf.layout.opaque]
                self._where[identity, layout] = found
            return list(found)

    def all(self) -> list[Shelf]:
        """Every one, in the order of their numbers."""
        with self._lock:
            return list(self._shelves.values())


def page_keys(keys: Sequence[object]) -> list[bytes]:
    """The page keys of LMCache's keys."""
    return [page_key(key.chunk_hash, key.cache_salt) for key in keys]  # type: ignore[attr-defined]  # LMCache's ObjectKey


def records_for(keys: Sequence[object]) -> list[bytes]:
    """The records of LMCache's keys."""
    return [record_of(key.chunk_hash, key.cache_salt) for key in keys]  # type: ignore[attr-defined]  # LMCache's ObjectKey
