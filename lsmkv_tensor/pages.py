"""PageStore: pages of fixed size per namespace, in a value log with an LSM-tree as its index, inside a byte budget.

::

    PATH/STORE                 what this directory is (vlog/stamp.py)
    PATH/index/                an lsmkv store: page key -> place; namespaces; live bytes per segment
    PATH/vlog/000001.seg ...   preallocated segments of pages (vlog/layout.py)

A put writes the pages, then commits their places; a get looks the places up, reads into the caller's memory and checks every
page. Pages are a cache: when the budget is full those go that the eviction policy values least. What was stored before a
:meth:`PageStore.sync` that returned is there after a crash, unless it was evicted or deleted since.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from posixpath import join
from types import TracebackType
from typing import Self
from weakref import WeakMethod, WeakSet

from lsmkv.arguments import PathArgument
from lsmkv.env.process import watch_forks
from lsmkv_tensor.codec import Codec, namespace_codec
from lsmkv_tensor.errors import InvalidArgumentError, PoisonedError
from lsmkv_tensor.namespaces import Namespace
from lsmkv_tensor.opening import Parts, checked_paths, close_parts, open_parts
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.pagestats import PageStoreStats
from lsmkv_tensor.registry import NamespaceInfo
from lsmkv_tensor.retention.notify import Notifier
from lsmkv_tensor.retention.terms import checked_quota, checked_ttl
from lsmkv_tensor.runtime import Health, StoreGate
from lsmkv_tensor.runtime.putqueue import Finished
from lsmkv_tensor.services import Services
from lsmkv_tensor.sharing import Sharing, open_siblings
from lsmkv_tensor.standing import Standing
from lsmkv_tensor.upkeep import Upkeep, start_upkeep
from lsmkv_tensor.vlog.gc import GcReport
from lsmkv_tensor.vlog.segment import FREE, SEALED

__all__ = ["PageStore", "PageStoreStats"]

GC_MAX_LIVE = 0.75
"""Live fraction above which moving a segment's pages costs more than the space it frees is worth."""


class PageStore(Standing):
    """An open page store; use it as a context manager. Made by :meth:`open`. Any thread may call anything."""

    def __init__(self, path: str, parts: Parts, services: Services) -> None:
        self.path = path
        self._services = services
        self._notifier = Notifier()
        self._gate = StoreGate(f"page store {path}")
        self._views: WeakSet[Namespace] = WeakSet()
        self._failed_syncs = {}
        self._in_child = False
        self._steering = None
        self._upkeep = Upkeep(self._notifier, self._gate, services.options.gc_bytes_per_s)
        self._notifier.watch = lambda keys: services.waterfall.fates.note(keys, "evicted")
        self._build(parts)
        self._upkeep.on_error = services.background_failed
        start_upkeep(self._upkeep, services.workers)
        recover, tried = WeakMethod(self._recover), WeakMethod(self._try_disk)  # held, they would keep a store open for ever
        services.watch_disk(
            lambda: found() if (found := recover()) is not None else None,
            lambda disk: found(disk) if (found := tried()) is not None else None,
        )
        watch_forks(self)

    @classmethod
    def open(
        cls,
        path: PathArgument | Sequence[PathArgument],
        *,
        options: StoreOptions | None = None,
        member: str | None = None,
        sharing: Sharing | None = None,
    ) -> PageStore:
        """Open the store in directory ``path`` (a str or a path object), creating it if there is none.

        Several paths are one store on several disks: the first holds the index, all of them segments (docs/disks.md). The first
        alone opens the others too, once they were named.

        ``member``: the store is ``path/member`` (of each path); reads also find what the other members under the first path
        hold, as ``sharing`` says (:mod:`lsmkv_tensor.sharing`; to read without a store of one's own: PageFollower).

        Raises InvalidArgumentError (no path; a capacity too small, another segment_bytes than recorded), LockedError,
        CorruptionError, FormatTooNewError, IOFailedError.

        I/O: opens the index, reads the stamp and one record per segment; no segment is read. A member also opens the index of
        each sibling.
        """
        options = options if options is not None else StoreOptions()
        first, *further = checked_paths(path, options.fs)
        with ExitStack() as undo:  # an engine tries again every second: a failure leaves no thread and no file behind
            siblings = open_siblings(first, member, options, sharing)
            if siblings is not None:
                undo.callback(siblings.close)
                first, *further = (join(root, siblings.name) for root in (first, *further))
            parts = open_parts(first, options, further)
            undo.callback(close_parts, parts)
            services = Services(options, siblings)
            undo.callback(services.close)
            store = cls(first, parts, services)
            undo.pop_all()
            return store

    def namespace(
        self,
        fields: Mapping[str, object],
        page_bytes: int,
        *,
        name: str | None = None,
        codec: str | Codec = "raw",
        ttl_s: float | None = None,
        quota_bytes: int | None = None,
    ) -> Namespace:
        """The namespace of pages with these meaning-giving fields (JSON values), registered if it is new.

        ``page_bytes``: bytes of every page in it. ``name``: a label that belongs to the first fields it was used with.
        ``codec``: how this view stores pages: "raw" or "shuffle_zstd" (lossless, docs/codecs.md; element size by
        ``fields["dtype"]``, else 2 bytes). It may differ every time: pages say themselves how they are read. (A Codec object is
        what TensorStore passes.)
        ``ttl_s``: seconds that pages put through this view exist, rounded up to whole minutes; None: until they are evicted.
        ``quota_bytes``: what its pages may take in segments, padding included, until the store is closed; its own coldest pages
        make room. None: as it is (no quota at first).

        Raises InvalidArgumentError (not JSON; a page larger than a segment holds; no such codec, or a lossy one),
        NamespaceMismatchError, PoisonedError.

        I/O: one index commit and sync if it is new.
        """
        largest = self._quota.largest_page_bytes
        with self._services.telling_poison(), self._gate:
            if isinstance(page_bytes, int) and page_bytes > largest:
                segment = self._quota.segment_bytes
                msg = (
                    f"page_bytes = {page_bytes}: the segments of {self.path} have {segment} bytes and hold pages of at most "
                    f"{largest}. They keep that size: take another directory, or remove this one, with segment_bytes = "
                    f"{page_bytes + segment - largest} or more"
                )
                raise InvalidArgumentError(msg)
            writes = namespace_codec(codec, fields)
            ttl_s = checked_ttl(ttl_s)
            quota_bytes = checked_quota(quota_bytes, page_bytes)
            info = self._registry.register(fields, page_bytes, name)
            self._registry.note_opened(info.number, quota_bytes)
            view = Namespace(info, self._gate, self._log, self._reader, self._notifier, writes, self._services, ttl_s)
            self._views.add(view)
            return view

    def retire_namespace(self, which: str | int) -> None:
        """Nobody will use this namespace again (its model was replaced): from now on its pages go first when room is needed.

        ``which``: as for :meth:`drop_namespace`. Opening it again undoes this. InvalidArgumentError (no such namespace).

        I/O: one index commit.
        """
        with self._services.telling_poison(), self._gate:
            self._registry.retire(which)

    def namespaces(self, *, sizes: bool = False) -> list[NamespaceInfo]:
        """All registered namespaces, by number. ``sizes``: with their pages and bytes (`info.size`).

        I/O: none; with ``sizes`` a scan of the index (1.4 s per million pages).
        """
        with self._gate:
            return self._registry.listed(sizes=sizes)

    def drop_namespace(self, which: str | int, *, progress: Callable[[int], None] | None = None) -> int:
        """Forget a namespace with all its pages, names and records; how many pages there were. Durable on return.

        ``which``: a name, a number, or the digest in hexadecimal. ``progress`` is called with the number of pages done since
        the last call. Views of the namespace read nothing from then on, and raise ClosedError when they are to write. The
        pages' bytes are reclaimed later, or by :meth:`gc`. Cut short by an error or a crash it has forgotten a part of the
        pages: repeat it.

        Raises InvalidArgumentError (no such namespace), BusyError (it is being dropped), NoSpaceError, IOFailedError,
        PoisonedError.

        I/O: a scan of its index entries, one commit per 32,768 pages, one sync of the log.
        """
        self._services.settle()
        with self._services.telling_poison(), self._gate:
            return self._registry.drop(which, progress if progress is not None else lambda _: None)

    def sync(self) -> None:
        """Make everything stored or accepted so far durable.

        Raises IOFailedError, PoisonedError, ClosedError (also if :meth:`finish_puts` drops some of it).

        I/O: writes what waits in the queue; one fdatasync of a segment, one of the log.
        """
        self._services.settle(whole=True)
        with self._services.telling_poison(), self._gate:
            self._log.sync()

    def gc(self, *, max_live: float = GC_MAX_LIVE) -> GcReport:
        """Reclaim dead bytes: move the pages out of sealed segments at most ``max_live`` (fraction) alive, best first.

        The segment that is being filled is sealed first if it is dead to that extent. Nothing is evicted but what expired.

        Raises InvalidArgumentError, NoSpaceError, IOFailedError, PoisonedError.

        I/O: reads and rewrites the live pages of the victims; one fdatasync and one log sync a victim.
        """
        if isinstance(max_live, bool) or not isinstance(max_live, int | float) or not 0 <= max_live < 1:
            msg = f"max_live = {max_live!r}: must be a number of at least 0 and below 1"
            raise InvalidArgumentError(msg)
        with self._services.telling_poison(), self._gate:
            return self._collector.run(max_live)

    def step(self) -> bool:
        """Do one unit of each background worker's work, here; whether there may be more. For a manual scheduler. I/O: theirs."""
        return self._services.workers.step()

    def health(self) -> Health:
        """How the store is and since when; never waits, never raises. I/O: none."""
        poison = None if self._services.breaker.enabled else self._log.space.poison
        return self._services.health(closed=self._in_child or self._gate.is_shut, poison=poison)

    def stats(self) -> PageStoreStats:
        """Sizes and counters. IOFailedError if the index cannot be measured. I/O: lists the index directory."""
        with self._gate:
            segments = list(self._space.segments.values())
            index_bytes = self._share.disk_bytes()
            c = self._log.counters
            return PageStoreStats(
                pages=sum(s.pages for s in segments),
                live_bytes=sum(s.live_bytes for s in segments),
                physical_bytes=len(segments) * self._files.segment_bytes + index_bytes,
                capacity_bytes=self._quota.capacity_bytes,
                index_bytes=index_bytes,
                index_share_bytes=self._quota.index_bytes,
                segment_bytes=self._files.segment_bytes,
                segments=len(segments),
                segments_max=self._quota.segments,
                disks=len(self._files.disks.homes),
                failed_disks=len(self._files.disks.failed),
                disks_left_alone=len(self._services.disk_breakers.errors()),
                sealed_segments=sum(s.state == SEALED for s in segments),
                free_segments=sum(s.state == FREE for s in segments),
                direct_io=self._files.modes.direct_writes,
                namespaces=len(self._registry.listed()),
                hits=c.hits,
                misses=c.misses,
                corrupt_pages=c.corrupt,
                lost_pages=c.lost,
                read_errors=c.read_errors,
                late_pages=self._services.late_pages,
                hanging_reads=self._services.hanging_reads,
                put_pages=c.put_pages,
                put_bytes=c.put_bytes,
                put_stored_bytes=c.put_stored_bytes,
                present_pages=c.present_pages,
                declined_pages=c.declined_pages,
                **self._services.queue_stats(),
                waterfall=self._services.waterfall.told(),
                times=self._services.times.told(),
                upkeep_failures=self._upkeep.failures,
                health=self.health(),
                refused_pages=c.refused_pages,
                deleted_pages=c.deleted_pages,
                evicted_pages=self._space.evicted_pages,
                recycled_segments=self._space.recycled,
                read_bytes=c.read_bytes,
                written_bytes=self._writer.bytes_written,
                bounced_bytes=self._writer.bounced_bytes,
                gc_runs=c.gc_runs,
                gc_segments=c.gc_segments,
                gc_moved_bytes=c.gc_moved_bytes,
                gc_read_bytes=c.gc_read_bytes,
                gc_dropped_pages=c.gc_dropped_pages,
                pinned_bytes=self._keeper.pinned_bytes,
                untold_uses=self._keeper.touches.lost,
                callback_errors=self._notifier.errors,
                sharing=None if self._services.siblings is None else self._services.siblings.stats(),
                controller=None if self._steering is None else self._steering.stats(),
            )

    def finish_puts(self, seconds: float) -> Finished:
        """Before :meth:`close`: accept no more puts into the queue, write what waits for so many real seconds, and drop the rest.

        How many pages were dropped, and whether a write has ended that was under way: if not the disk hangs, and close would wait
        for it.

        I/O: writes what waits in the queue.
        """
        return self._services.finish_within(seconds)

    def close(self) -> None:
        """Write what was accepted, wait for calls inside, make everything durable, release the directory.

        A second call does nothing. BusyError from inside another call of the same thread. IOFailedError if making it durable
        failed (the directory is released all the same).

        I/O: as :meth:`sync`, and the index's clean close.
        """
        if self._in_child:
            return
        self._gate.check_outside()
        self._services.breaker.release()
        self._services.finish()
        if not self._gate.shut():
            return
        self._services.close()
        try:
            if self._gate.broken is None:
                self._log.sync()
                self._keep_ranks()
        except PoisonedError:
            pass  # whoever wrote was told; reopening recovers
        finally:
            if self._steering is not None:
                self._steering.close()
            self._files.close()
            self._db.close()

    def forked(self) -> None:
        """In a forked child: closed; files, locks and pages stay the parent's."""
        self._in_child = True
        self._gate.forked()
        self._services.forked()
        self._space.evicted = []

    def __enter__(self) -> Self:
        """The store itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close it."""
        self.close()
