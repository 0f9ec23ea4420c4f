"""LMCache: an L2 adapter of its multi-process server over a page store.

::

    lmcache server ... --l2-adapter '{"type": "plugin", "module_path": "lsmkv_tensor.adapters.lmcache_l2",
        "class_name": "LsmkvL2Adapter", "adapter_params": {"path": "/nvme/kv", "capacity_bytes": 1000000000000}}'

Written for LMCache 0.5.6. Every call but ``delete`` and the listing returns at once; threads of the adapter move pages from and
into LMCache's memory, and an event descriptor tells when. A page is one object of LMCache's: a chunk of tokens of one rank and
object group. Keys and namespaces are described in :mod:`lsmkv_tensor.adapters.lmcache.identity`.

A store task is done when its objects are copied into the store's queue (``put_queue_bytes``): LMCache may use its memory again,
and lookups and loads find them. A worker writes them; LMCache's accounts hear of them then.

A locked object is a pinned page. The store makes room by itself, and tells LMCache what went; LMCache's own eviction may delete
before that, if it is configured. What an earlier process stored is told again at the start. Nothing raises into the server: a
failure is an object that is not there, counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from lsmkv.env.clock import SystemClock
from lsmkv_tensor.adapters.jobs import Jobs, Kind
from lsmkv_tensor.adapters.lmcache.identity import namespace_fields, read_fields
from lsmkv_tensor.adapters.lmcache.lanes import Lane
from lsmkv_tensor.adapters.lmcache.listing import listed
from lsmkv_tensor.adapters.lmcache.moving import Asked, Mover, Unpins, unpin_all
from lsmkv_tensor.adapters.lmcache.parts import Parts, lmcache_parts
from lsmkv_tensor.adapters.lmcache.settings import read_settings
from lsmkv_tensor.adapters.lmcache.shelves import Shelves
from lsmkv_tensor.adapters.lmcache.tally import Tally
from lsmkv_tensor.adapters.lmcache.telling import Teller
from lsmkv_tensor.adapters.versions import require_version
from lsmkv_tensor.pages import PageStore

if TYPE_CHECKING:
    Base: TypeAlias = Any
else:
    try:
        from lmcache.v1.distributed.l2_adapters.base import L2AdapterInterface as Base
    except ImportError:
        Base = object

__all__ = ["L2Pages", "LsmkvL2Adapter"]

T = TypeVar("T")
Key: TypeAlias = Any
"""LMCache's ``ObjectKey``."""
Item: TypeAlias = Any
"""LMCache's ``MemoryObj``."""
Listener: TypeAlias = Any
"""LMCache's ``L2AdapterListener``."""


class L2Pages:
    """All that the adapter does, over a base class that is LMCache's, or a test's. Any thread may call anything."""

    # of the base class
    _listeners: list[Listener]
    _notify_keys_stored: Callable[[list[Key], list[int]], None]
    _notify_keys_deleted: Callable[[list[Key], list[int]], None]
    _notify_keys_accessed: Callable[[list[Key]], None]

    def __init__(self, adapter_params: Mapping[str, Any], parts: Parts) -> None:
        settings = read_settings(adapter_params, "adapter_params", "server")
        self._parts = parts
        self._shutdown_s = settings.shutdown_s
        self.holding = settings.hold()
        try:
            super().__init__(_capacity_bytes(self.holding.store, settings.options.capacity_bytes))  # type: ignore[call-arg]  # the base's
            self._shelves = Shelves(
                partial(self.holding.view, codec=settings.codec),
                partial(namespace_fields, revision=settings.revision),
                partial(read_fields, revision=settings.revision),
            )
            self._teller = Teller(
                self._shelves,
                parts.object_key,
                self._notify_keys_stored,
                self._notify_keys_deleted,
                self._tell_listeners,
            )
            self._tally = Tally()
            clock, told = settings.options.clock or SystemClock(), self._notify_keys_accessed
            self._mover = Mover(self.holding, self._shelves, self._teller, self._tally, told, clock, settings.wait_s)
            self._jobs: Jobs[None] = Jobs("lsmkv-lmcache", threads=settings.threads, max_store_pages=settings.max_store_pages)
            self._tasks = count()
            self._stores: Lane[Any] = Lane(parts.notifier())
            self._lookups: Lane[Any] = Lane(parts.notifier())
            self._loads: Lane[Any] = Lane(parts.notifier())
            self._told: object = None
            self._learn()
        except BaseException:
            self.holding.close()
            raise

    @property
    def counts(self) -> Mapping[str, int]:
        """What happened so far (:data:`lsmkv_tensor.adapters.lmcache.tally.COUNTS`)."""
        return self._tally.counts

    # event descriptors

    def get_store_event_fd(self) -> int:
        """Readable when a store task has ended."""
        return self._stores.fileno()

    def get_lookup_and_lock_event_fd(self) -> int:
        """Readable when a lookup task has ended."""
        return self._lookups.fileno()

    def get_load_event_fd(self) -> int:
        """Readable when a load task has ended."""
        return self._loads.fileno()

    # storing

    def submit_store_task(self, keys: list[Key], objects: list[Item]) -> int:
        """Store objects that are not there yet. I/O: in the background, as ``Namespace.put_many``."""
        keys, objects = list(keys), list(objects)
        result = self._parts.store_result

        def store() -> Any:  # noqa: ANN401  # LMCache's L2StoreResult
            """Whether they are there, and bytes written."""
            if self.holding.claim():
                self._announce()
            return result(*self._mover.store(keys, objects))

        def refused() -> Any:  # noqa: ANN401  # LMCache's L2StoreResult
            """Too much waits, or the store cannot be written."""
            self._tally.count(failed_pages=len(keys))
            return result(False, 0)

        return self._submit("store", self._stores, len(keys), store, refused)

    def pop_completed_store_tasks(self) -> dict[int, Any]:
        """The results since the last call, by task: LMCache's ``L2StoreResult``. I/O: none."""
        return self._stores.take_all()

    # asking and loading

    def submit_lookup_and_lock_task(self, keys: list[Key], group_layout_descs: Mapping[int, Any]) -> int:
        """Which objects are there; those are locked. I/O: in the background, as ``Namespace.contains``.

        What needs no asking is told and locked before this returns.
        """
        keys, descs, bitmap = list(keys), dict(group_layout_descs or {}), self._parts.bitmap
        flags = self._tally.guarded("a lookup", lambda: self._mover.lookup_at_once(keys, descs), lambda: [False] * len(keys))
        rest = [i for i, flag in enumerate(flags) if not flag]
        if not rest:
            task = next(self._tasks)
            self._lookups.finish(task, bitmap(flags))
            return task
        asked: list[Asked] = []

        def ask() -> Any:  # noqa: ANN401  # LMCache's Bitmap
            """Those that are not known to be there."""
            for i, flag in zip(rest, self._mover.lookup([keys[i] for i in rest], descs, asked), strict=True):
                flags[i] = flag
            return bitmap(flags)

        touch = lambda: self._mover.touch(asked)  # noqa: E731  # LMCache need not wait for that
        return self._submit("load", self._lookups, len(keys), ask, lambda: bitmap(flags), touch)

    def query_lookup_and_lock_result(self, task_id: int) -> Any:  # noqa: ANN401  # LMCache's Bitmap
        """The result of a lookup task, once; None before its end. I/O: none."""
        return self._lookups.take(task_id)

    def submit_unlock(self, keys: list[Key]) -> None:
        """Undo one lock of each. I/O: none."""
        left: Unpins = self._tally.guarded("unlocking", lambda: self._mover.unlock(keys), list)
        if left:  # refused at the end: locks end there, too
            self._jobs.submit("load", 0, partial(unpin_all, left), lambda error: self._tally.failed("unlocking", error))

    def submit_load_task(self, keys: list[Key], objects: list[Item]) -> int:
        """Load objects into the caller's memory. I/O: in the background, as ``Namespace.get_into``."""
        keys, objects, bitmap = list(keys), list(objects), self._parts.bitmap
        load = lambda: bitmap(self._mover.load(keys, objects))  # noqa: E731  # one line says it
        return self._submit("load", self._loads, len(keys), load, lambda: bitmap([False] * len(keys)))

    def query_load_result(self, task_id: int) -> Any:  # noqa: ANN401  # LMCache's Bitmap
        """The result of a load task, once; None before its end. I/O: none."""
        return self._loads.take(task_id)

    # what LMCache knows of the pages

    def set_backend_identity(self, name: str, shared: bool = False) -> None:
        """LMCache knows this adapter by that name from now on; it is told what is here. I/O: a scan of the index."""
        super().set_backend_identity(name, shared)  # type: ignore[misc]  # the base's
        self._tally.guarded("telling what is here", self._announce, lambda: None)

    def register_listener(self, listener: Listener) -> None:
        """Tell this one, too, first of all that is here. I/O: a scan of the index."""
        with self._teller.lock:  # nothing may come between the two
            self._tally.guarded("telling what is here", self._announce, lambda: None)
            super().register_listener(listener)  # type: ignore[misc]  # the base's
            told = lambda: self._teller.tell_held(listener.on_l2_keys_stored)  # noqa: E731  # one line says it
            self._tally.guarded("telling what is here", told, lambda: None)

    def get_usage(self) -> Any:  # noqa: ANN401  # LMCache's AdapterUsage
        """Bytes here, in all and by salt. I/O: the first time a scan of the index."""
        self._tally.guarded("telling what is here", self._announce, lambda: None)
        return super().get_usage()  # type: ignore[misc]  # the base's

    def delete(self, keys: list[Key]) -> None:
        """Delete objects, but not those that are locked. I/O: as ``Namespace.delete_many``."""
        self._tally.guarded("deleting", lambda: self._mover.delete(keys), lambda: 0)

    def list_l2_keys(self, model_name: str | None = None, page_size: int = 500, cursor: str | None = None) -> Any:  # noqa: ANN401  # LMCache's KeyListPage
        """A page of the keys that are here. ValueError for a page size or cursor that is none. I/O: scans of the index."""
        shelves = [shelf for shelf in self._shelves.all() if model_name in (None, shelf.identity.model)]
        return self._parts.key_page(*listed(shelves, page_size, cursor, self._parts.object_key))

    def report_status(self) -> dict[str, Any]:
        """How the store is, and what happened so far. I/O: lists the index directory."""
        store = self.holding.store
        health = None if store is None else store.health()
        found: dict[str, Any] = {
            "is_healthy": health is not None and health.state in ("ok", "degraded") and not self.holding.barred,
            "type": type(self).__name__,
            "path": f"{self.holding.root}/{self.holding.member}",
            "state": self.holding.state,
            "reason": self.holding.reason,
            "health": None if health is None else health.state,
            "health_reasons": [] if health is None else list(health.reasons),
            "locked_pages": len(self._mover.locks),
            "evicted_pages": self._teller.evicted_pages,
            **self.counts,
        }
        stats = None if store is None else self._tally.guarded("report_status", store.stats, lambda: None)
        if stats is not None:
            names = ("pages", "live_bytes", "physical_bytes", "capacity_bytes", "corrupt_pages", "read_errors", "pinned_bytes")
            found |= {name: getattr(stats, name) for name in names}
        return found

    def wait_idle(self) -> None:
        """Wait until every task that was submitted has ended. I/O: theirs."""
        self._jobs.wait_idle()

    def close(self) -> None:
        """Do what was submitted, for ``shutdown_s`` seconds, and end the threads and the store. I/O: as ``PageStore.close``."""
        self._tally.guarded("closing", lambda: self.holding.end(self._jobs, self._shutdown_s), lambda: 0)
        for lane in (self._stores, self._lookups, self._loads):
            lane.close()

    # helpers

    def _submit(
        self,
        kind: Kind,
        lane: Lane[T],
        pages: int,
        work: Callable[[], T],
        otherwise: Callable[[], T],
        after: Callable[[], None] | None = None,
    ) -> int:
        """Have it done, and ``after`` when its result is there; the number of the task.

        If it cannot be done, its result is ``otherwise``.
        """
        task = next(self._tasks)

        def run() -> None:
            """On a thread."""
            lane.finish(task, work())
            if after is not None:
                self._tally.guarded("telling retention", after, lambda: None)

        def failed(error: Exception) -> None:
            """It raised."""
            self._tally.failed("a task", error)
            lane.finish(task, otherwise())

        self._jobs.finished()  # nobody asks for them: results go by the lanes
        if not self._jobs.submit(kind, pages, run, failed):
            lane.finish(task, otherwise())
        return task

    def _learn(self) -> object:
        """Know the namespaces of the store that this process holds; which store that is, None without one."""
        store = self.holding.store
        if not isinstance(store, PageStore):
            return None
        if store is not self._told:
            self._shelves.learn(store.namespaces())
        return store

    def _announce(self) -> None:
        """Tell LMCache what the store holds, once for each store that is held."""
        if self._told is not None and self._told is self.holding.store:
            return
        with self._teller.lock:
            store = self._learn()
            if store is not None and store is not self._told:
                self._teller.mend()
                self._teller.tell_held(self._notify_keys_stored)
                self._told = store

    def _tell_listeners(self, keys: list[Key], sizes: list[int]) -> None:
        """They are here, whatever was said before; their bytes are counted already."""
        for listener in self._listeners:
            listener.on_l2_keys_stored(keys, sizes)


class LsmkvL2Adapter(L2Pages, Base):  # type: ignore[misc]  # LMCache's class where it is installed
    """LMCache's L2 adapter over a page store; made by LMCache.

    ``adapter_params``: those of the configuration (:class:`lsmkv_tensor.adapters.lmcache.settings.LmcacheSettings`).
    ``l1_memory_desc``: LMCache's memory; its objects say themselves where they lie.

    Raises InvalidArgumentError for settings that cannot be meant, ImportError for another version of LMCache: both when the
    server starts. A store that cannot be had is no error (:mod:`lsmkv_tensor.adapters.holding`).

    I/O: as ``PageStore.open``.
    """

    def __init__(self, adapter_params: Mapping[str, Any], l1_memory_desc: object = None) -> None:
        del l1_memory_desc
        require_version("lmcache", "0.5.6", "0.6")
        super().__init__(adapter_params, lmcache_parts())


def _capacity_bytes(store: object, capacity_bytes: int) -> int:
    """Bytes of objects that there is room for: what LMCache's own eviction, where it is configured, takes for full."""
    if not isinstance(store, PageStore):
        return capacity_bytes
    stats = store.stats()
    return stats.segments_max * stats.segment_bytes
