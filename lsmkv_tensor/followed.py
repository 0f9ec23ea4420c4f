"""PageFollower: the pages of stores that others write, for who writes none: inspection, readers, ranks that never store.

It has the calls of :class:`lsmkv_tensor.pages.PageStore` that read; those that write raise ReadOnlyError. It takes no lock, makes
no directory and changes nothing. How it follows and what it promises: :mod:`lsmkv_tensor.sharing`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lsmkv.arguments import PathArgument, checked_path
from lsmkv.env.clock import SystemClock
from lsmkv.env.posix import PosixFileSystem, anchored
from lsmkv.env.process import watch_forks
from lsmkv.env.rng import seeded
from lsmkv_tensor.errors import ReadOnlyError
from lsmkv_tensor.keys.given import PageKey, PageKeys, page_keys
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.pages import PageStoreStats
from lsmkv_tensor.registry import Described, NamespaceInfo, canonical
from lsmkv_tensor.retention.notify import EvictCallback
from lsmkv_tensor.runtime import CallGate, Health, StoreGate
from lsmkv_tensor.services import Services
from lsmkv_tensor.sharing import Sharing, SiblingReader, Siblings, leading
from lsmkv_tensor.spans import PageBuffers, page_views
from lsmkv_tensor.vlog.gc import GcReport
from lsmkv_tensor.vlog.hurried import read_by

__all__ = ["FollowedNamespace", "PageFollower"]


class PageFollower:
    """Every store under a root, or one store, read beside their writers; use it as a context manager.

    Made by :meth:`open`. Any thread may call anything.
    """

    def __init__(self, siblings: Siblings, services: Services) -> None:
        self.path = siblings.root
        self._siblings = siblings
        self._services = services
        self._gate = StoreGate(f"page follower {siblings.root}")
        self._in_child = False
        watch_forks(self)

    @classmethod
    def open(cls, path: PathArgument, *, options: StoreOptions | None = None, sharing: Sharing | None = None) -> PageFollower:
        """Follow the members under ``path``, or the one store that ``path`` is; it may also be empty or missing yet.

        Of the options the seams ``fs``, ``clock`` and ``rng`` count, and those about deadlines and prefill speed.
        Raises InvalidArgumentError.

        I/O: lists the directory; reads manifest and logs of each index.
        """
        options = options if options is not None else StoreOptions()
        path = anchored(checked_path(path), options.fs)
        fs = options.fs if options.fs is not None else PosixFileSystem()
        rng = options.rng if options.rng is not None else seeded()
        clock = options.clock if options.clock is not None else SystemClock()
        siblings = Siblings(path, None, fs, clock, rng, sharing if sharing is not None else Sharing())
        return cls(siblings, Services(options, siblings))

    def namespace(self, fields: Mapping[str, object], page_bytes: int, *, name: str | None = None) -> FollowedNamespace:
        """The namespace of pages with these fields; it need not be registered anywhere yet. InvalidArgumentError. I/O: none.

        ``name`` is taken so that the call is that of a store; labels are the writers' own.
        """
        del name
        with self._gate:
            return FollowedNamespace(canonical(fields, page_bytes), self._gate, self._siblings, self._services)

    def refresh(self) -> None:
        """See who is there and what was acknowledged before this call. I/O: a listing, and a look at each store."""
        with self._gate:
            self._siblings.look()

    def namespaces(self) -> list[NamespaceInfo]:
        """The namespaces of all stores, each once, numbered from 1 in the order of their digests. I/O: a scan of each index."""
        with self._gate:
            texts = sorted(self._siblings.namespaces(), key=lambda text: hashlib.sha256(text).digest())
            return [NamespaceInfo.of(number, text) for number, text in enumerate(texts, 1)]

    def stats(self) -> PageStoreStats:
        """As of a store, so that who reads statistics need not care: ``sharing`` says it all, what only a writer has is 0.

        ``pages`` are those of all stores. I/O: a scan of each store's segment records.
        """
        with self._gate:
            sharing = self._siblings.stats()
        nothing: dict[str, Any] = {f.name: 0 for f in fields(PageStoreStats) if f.default is MISSING}
        counted = {
            "pages": sum(s.pages for s in sharing.siblings),
            "hits": sharing.hits,
            "misses": sharing.misses,
            "read_bytes": sum(s.read_bytes for s in sharing.siblings),
            "direct_io": False,
        }
        return PageStoreStats(**(nothing | counted), sharing=sharing)

    def sync(self) -> None:
        """ReadOnlyError: who writes nothing has nothing to make durable."""
        raise ReadOnlyError(self.path, "sync")

    def health(self) -> Health:
        """Whether it is usable, and since when; what is wrong with the stores it follows is in ``stats().sharing``. I/O: none."""
        return self._services.health(closed=self._in_child or self._gate.is_shut, poison=None)

    def step(self) -> bool:
        """False: nothing works in the background here. I/O: none."""
        return False

    def gc(self) -> GcReport:
        """ReadOnlyError: each writer collects its own."""
        raise ReadOnlyError(self.path, "gc")

    def close(self) -> None:
        """Wait for calls inside and let go of every file. A second call does nothing."""
        if not self._in_child and self._gate.shut():
            self._services.close()

    def forked(self) -> None:
        """In a forked child: closed."""
        self._in_child = True
        self._gate.forked()
        self._services.forked()

    def __enter__(self) -> Self:
        """The follower itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close it."""
        self.close()


class FollowedNamespace(Described):
    """A view of everybody's pages of one namespace. Made by :meth:`PageFollower.namespace`; any thread may call anything.

    It has the calls of :class:`lsmkv_tensor.namespaces.Namespace`; those that write raise ReadOnlyError.
    """

    def __init__(self, text: bytes, gate: CallGate, siblings: Siblings, services: Services) -> None:
        self.info = NamespaceInfo.of(0, text)
        """As of a registered one; the number is 0: each store has its own."""
        self.services = services
        self._path = siblings.root
        self._gate = gate
        self._reader = SiblingReader(siblings, text)

    def contains(self, keys: Sequence[PageKey], *, queued: bool = True) -> NDArray[np.bool_]:  # noqa: ARG002 - nothing waits here
        """Which pages somebody holds; none is if that is not known within ``io_timeout_s``.

        I/O: index blocks, most often cached; a look at every store if one is missing.
        """
        until = self.services.until(None)
        with self._gate:
            if until is None:
                return self._reader.contains(page_keys(keys))
            found = self.services.attempts.one(lambda: self._reader.contains(page_keys(keys)), until)
            return np.zeros(len(keys), np.bool_) if found is None else found

    def known(self, keys: Sequence[PageKey]) -> bool:  # noqa: ARG002 - as a store's namespace has it
        """False: what others hold is known by asking them. I/O: none."""
        return False

    def contains_prefix(self, keys: Sequence[PageKey], deadline_s: float | None = None, *, prefetch: bool = False) -> int:
        """How many pages from the first on somebody holds, without a gap; 0 if that is not known by the deadline.

        ``deadline_s``: as for :meth:`get_into`. ``prefetch``: have the kernel begin to read these pages, and do not wait for it.

        I/O: as :meth:`contains`, up to the first gap; with ``prefetch`` a lookup and a hint a page.
        """
        until = self.services.until(deadline_s)
        with self._gate:
            if until is None:
                return self._prefix(keys, prefetch)
            return self.services.attempts.one(lambda: self._prefix(keys, prefetch), until) or 0

    def _prefix(self, keys: Sequence[PageKey], prefetch: bool) -> int:
        """:meth:`contains_prefix` without a deadline."""
        several = PageKeys(keys)
        known = leading(lambda part: self._reader.contains(several[part]), len(keys))
        if prefetch and known:
            self._reader.prefetch(page_keys(keys[:known]))
        return known

    def get_into(
        self, keys: Sequence[PageKey], buffers: PageBuffers, deadline_s: float | None = None, *, copied: set[int] | None = None
    ) -> list[bool]:
        """Read pages into the caller's memory, as :meth:`lsmkv_tensor.namespaces.Namespace.get_into`.

        Raises InvalidArgumentError (counts or sizes that do not fit; nothing is read), ClosedError.

        I/O: one batched index lookup a store, one read per stretch of neighbouring pages.
        """
        services = self.services
        until = services.until(deadline_s)
        with self._gate:
            views = page_views(buffers, len(keys), self.page_bytes, writable=True)
            wanted = page_keys(keys)
            began = services.clock.monotonic()
            if until is None:
                flags = self._reader.deliver(wanted, views)
            else:
                flags, late, twice = read_by(self._reader, services.attempts, services.staging, wanted, views, until)
                services.late_pages += len(late)
                if copied is not None:
                    copied.update(twice)
            if flags and all(flags):
                services.loads.note(len(flags) * self.page_bytes, services.clock.monotonic() - began)
            return flags

    def keys(self) -> Iterator[bytes]:
        """The 28-byte keys of all pages that somebody holds, ascending, each once. I/O: a scan of each index's entries."""
        with self._gate:
            return iter(sorted(self._reader.keys()))

    def on_evict(self, callback: EvictCallback) -> None:
        """Never called: nothing is evicted by who stores nothing."""

    def contains_own(self, keys: Sequence[PageKey]) -> NDArray[np.bool_]:
        """None is: there is no store of one's own. I/O: none."""
        return np.zeros(len(keys), np.bool_)

    def index_keys(self, *_: object) -> list[bytes]:
        """ReadOnlyError: each store has its own."""
        raise ReadOnlyError(self._path, "index_keys")

    def to_store(self, *_: object, **__: object) -> NDArray[np.bool_]:
        """ReadOnlyError."""
        raise ReadOnlyError(self._path, "put")

    def put_many(self, *_: object, **__: object) -> list[bool]:
        """ReadOnlyError."""
        raise ReadOnlyError(self._path, "put_many")

    def delete_many(self, *_: object, **__: object) -> int:
        """ReadOnlyError."""
        raise ReadOnlyError(self._path, "delete_many")

    def records(self, *_: object) -> Iterator[tuple[bytes, bytes]]:
        """ReadOnlyError: small records belong to the writer who keeps them in step with its pages."""
        raise ReadOnlyError(self._path, "records")

    def write_records(self, *_: object) -> None:
        """ReadOnlyError."""
        raise ReadOnlyError(self._path, "write_records")
