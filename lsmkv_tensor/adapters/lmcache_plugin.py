"""LMCache: a storage plug-in of its in-process engine over a page store, as an example; the server's adapter is ``lmcache_l2``.

::

    max_local_cpu_size: 5.0
    pre_caching_hash_algorithm: sha256_cbor
    storage_plugins: ["lsmkv"]
    extra_config:
      storage_plugin.lsmkv.module_path: lsmkv_tensor.adapters.lmcache_plugin
      storage_plugin.lsmkv.class_name: LsmkvStoragePlugin
      lsmkv: {path: /nvme/kv, capacity_bytes: 1000000000000}

Written for LMCache 0.5.6. Puts return at once: the object is counted up, a thread copies it into the queue of the page store
(``put_queue_bytes``; without one it writes it), and counts it down. Blocking calls read where they are called, asynchronous ones
on a thread, so that LMCache's event loop never waits. Recency is the store's own: LMCache tells plug-ins nothing of it, but
whoever asks and reads does.

LMCache's default hash is Python's, which differs from process to process: nothing would ever be found after a restart. It is
refused (:class:`UnstableHashError`) unless ``"allow_unstable_hash": true`` says that this is meant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from lsmkv.env.clock import SystemClock
from lsmkv.env.sync import Lock
from lsmkv_tensor.adapters.holding import Holding
from lsmkv_tensor.adapters.jobs import DroppedError, Jobs
from lsmkv_tensor.adapters.lmcache.carrying import Carrier
from lsmkv_tensor.adapters.lmcache.chunks import PluginParts, chunk_fields, plugin_parts, read_chunk_fields
from lsmkv_tensor.adapters.lmcache.reading import Reading
from lsmkv_tensor.adapters.lmcache.settings import read_settings
from lsmkv_tensor.adapters.lmcache.shelves import Shelves
from lsmkv_tensor.adapters.lmcache.tally import Tally
from lsmkv_tensor.adapters.versions import require_version
from lsmkv_tensor.errors import InvalidArgumentError

if TYPE_CHECKING:
    Base: TypeAlias = Any
else:
    try:
        from lmcache.v1.storage_backend.abstract_backend import StoragePluginInterface as Base
    except ImportError:
        Base = object

__all__ = ["ChunkPages", "LsmkvStoragePlugin", "UnstableHashError"]

T = TypeVar("T")
Key: TypeAlias = Any
"""LMCache's ``CacheEngineKey``."""
Item: TypeAlias = Any
"""LMCache's ``MemoryObj``."""
Loop: TypeAlias = asyncio.AbstractEventLoop
WHERE = 'extra_config["lsmkv"]'
FORCE = "allow_unstable_hash"
BORROWED = ("sha256", "sha256_cbor", "xxhash", "xxhash_cbor")
"""Hashes that LMCache has only where vLLM is installed."""


class UnstableHashError(InvalidArgumentError):
    """LMCache hashes tokens with Python's ``hash``: the keys of one process mean nothing to the next."""


class ChunkPages:
    """All that the plug-in does, over a base class that is LMCache's, or a test's. Any thread may call anything."""

    def __init__(
        self,
        parts: PluginParts,
        dst_device: str,
        config: Any,  # noqa: ANN401  # LMCache's LMCacheEngineConfig
        metadata: Any,  # noqa: ANN401  # LMCache's LMCacheMetadata
        local_cpu_backend: Any,  # noqa: ANN401  # LMCache's LocalCPUBackend
        loop: Loop | None,
    ) -> None:
        super().__init__(dst_device, config, metadata, local_cpu_backend, loop)  # type: ignore[call-arg]  # the base's
        given = (config.extra_config or {}).get("lsmkv", {})
        forced, given = _without_force(given)
        settings = read_settings(given, WHERE, f"worker{metadata.worker_id}of{metadata.world_size}")
        if not forced and parts.hash_function(config, metadata) is hash:
            raise UnstableHashError(_unstable(config.pre_caching_hash_algorithm))
        self._allocator = local_cpu_backend
        self._shutdown_s = settings.shutdown_s
        self.holding: Holding | Reading = settings.hold() if local_cpu_backend is not None else Reading(settings)
        shelves = Shelves(
            partial(self.holding.view, codec=settings.codec),
            partial(chunk_fields, revision=settings.revision),
            partial(read_chunk_fields, revision=settings.revision),
        )
        self._tally = Tally()
        clock = settings.options.clock or SystemClock()
        self._carrier = Carrier(self.holding, shelves, parts, self._tally, local_cpu_backend, clock, settings.wait_s)
        self._ask: Callable[[list[Key], bool], int] = _asker(self._carrier, self._tally)
        self.batched_contains = self._ask  # type: ignore[method-assign]  # as the method says, with a call less
        self._jobs: Jobs[None] = Jobs("lsmkv-lmcache", threads=settings.threads, max_store_pages=settings.max_store_pages)
        self._lock = Lock()
        self._putting: set[Key] = set()

    @property
    def counts(self) -> dict[str, int]:
        """What happened so far (:data:`lsmkv_tensor.adapters.lmcache.tally.COUNTS`)."""
        return self._tally.counts

    # asking

    def contains(self, key: Key, pin: bool = False) -> bool:
        """Whether a chunk is there. I/O: as ``Namespace.contains_prefix``."""
        return self.batched_contains([key], pin) == 1

    def batched_contains(self, keys: list[Key], pin: bool = False) -> int:
        """How many chunks from the first on are there. I/O: as ``Namespace.contains_prefix``."""
        return self._ask(keys, pin)

    async def batched_async_contains(self, lookup_id: str, keys: list[Key], pin: bool = False) -> int:
        """As :meth:`batched_contains`, on another thread."""
        del lookup_id
        return await self._elsewhere(lambda: self._carrier.prefix(keys, pin=pin), 0, lambda _: None)

    def pin(self, key: Key) -> bool:
        """Keep a chunk from being evicted until :meth:`unpin`; whether it is there. I/O: as :meth:`contains`."""
        return self.contains(key, pin=True)

    def unpin(self, key: Key) -> bool:
        """Undo one pin; whether there was one. I/O: none."""
        return self._tally.guarded("unpin", lambda: self._carrier.unlock(key), lambda: False)

    def exists_in_put_tasks(self, key: Key) -> bool:
        """Whether it is about to be stored."""
        with self._lock:
            return key in self._putting

    # chunks in and out

    def batched_submit_put_task(
        self,
        keys: Sequence[Key],
        objs: list[Item],
        transfer_spec: Any = None,  # noqa: ANN401  # LMCache's
        on_complete_callback: Callable[[Key], None] | None = None,
    ) -> None:
        """Store chunks that are not there yet. I/O: in the background, as ``Namespace.put_many``."""
        del transfer_spec
        with self._lock:
            pairs = [(key, item) for key, item in zip(keys, objs, strict=True) if key not in self._putting]
            self._putting.update(key for key, _ in pairs)
        for _, item in pairs:
            item.ref_count_up()

        def done() -> None:
            """Nobody stores them any more."""
            with self._lock:
                self._putting.difference_update(key for key, _ in pairs)
            for _, item in pairs:
                item.ref_count_down()

        def store() -> None:
            """Store, let go, and tell."""
            try:
                self._carrier.put([key for key, _ in pairs], [item for _, item in pairs])
            finally:
                done()
            if on_complete_callback is not None:
                for key, _ in pairs:
                    self._tally.guarded("on_complete_callback", partial(on_complete_callback, key), lambda: None)

        def failed(error: Exception) -> None:
            """It was not stored; nor was it begun if the time was over."""
            self._tally.failed("storing", error)
            if isinstance(error, DroppedError):
                done()

        self._jobs.finished()
        if not self._jobs.submit("store", len(pairs), store, failed):
            self._tally.count(failed_pages=len(pairs))
            done()

    def get_blocking(self, key: Key) -> Item | None:
        """A chunk in memory of LMCache's; None if it is not there. I/O: as ``Namespace.get_into``."""
        return self.batched_get_blocking([key])[0]

    def batched_get_blocking(self, keys: list[Key]) -> list[Item | None]:
        """Chunks in memory of LMCache's; None for each that is not there. I/O: as ``Namespace.get_into``."""
        return self._tally.guarded("get", lambda: self._carrier.get(keys, wait=True), lambda: [None] * len(keys))

    async def batched_get_non_blocking(self, lookup_id: str, keys: list[Key], transfer_spec: Any = None) -> list[Item]:  # noqa: ANN401  # LMCache's
        """The chunks from the first on that could be read, on another thread. I/O: there, as ``Namespace.get_into``."""
        del lookup_id, transfer_spec
        return await self._elsewhere(lambda: _leading(self._carrier.get(keys, wait=False)), [], _let_go)

    def remove(self, key: Key, force: bool = True) -> bool:
        """Delete a chunk; whether it was there. I/O: as ``Namespace.delete_many``."""
        return self.batched_remove([key], force) == 1

    def batched_remove(self, keys: list[Key], force: bool = True) -> int:
        """Delete chunks; how many were there. I/O: as ``Namespace.delete_many``."""
        del force
        return self._tally.guarded("remove", lambda: self._carrier.remove(keys), lambda: 0)

    # the rest

    def get_allocator_backend(self) -> Any:  # noqa: ANN401  # LMCache's
        """Where the memory of chunks comes from."""
        return self._allocator

    def wait_idle(self) -> None:
        """Wait until what was submitted is done. I/O: that of it."""
        self._jobs.wait_idle()

    def close(self) -> None:
        """Store what was submitted, for ``shutdown_s`` seconds, and let go of the directory. I/O: as ``PageStore.close``."""
        self._tally.guarded("closing", lambda: self.holding.end(self._jobs, self._shutdown_s), lambda: 0)

    # helpers

    async def _elsewhere(self, work: Callable[[], T], otherwise: T, unused: Callable[[T], object]) -> T:
        """What ``work`` gives on a thread of ours; ``unused(that)`` if nobody waits for it any more."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def arrive(result: T) -> None:
            """On the loop."""
            if future.done():
                unused(result)
            else:
                future.set_result(result)

        def tell(result: T) -> None:
            """From the thread."""
            try:
                loop.call_soon_threadsafe(arrive, result)
            except RuntimeError:  # the loop has ended
                unused(result)

        def failed(error: Exception) -> None:
            """It raised."""
            self._tally.failed("an asynchronous call", error)
            tell(otherwise)

        self._jobs.finished()
        if not self._jobs.submit("load", 1, lambda: tell(work()), failed):
            return otherwise
        return await future


class LsmkvStoragePlugin(ChunkPages, Base):  # type: ignore[misc]  # LMCache's class where it is installed
    """LMCache's storage plug-in over a page store; made by LMCache, which logs what this raises and goes on without it.

    Its settings are those of :class:`lsmkv_tensor.adapters.lmcache.settings.LmcacheSettings`, and ``allow_unstable_hash``.
    Where LMCache gives no memory (in its scheduler) it reads what the workers store.

    Raises InvalidArgumentError for settings that cannot be meant, UnstableHashError, ImportError for another version of LMCache.

    I/O: as ``PageStore.open``.
    """

    def __init__(
        self,
        dst_device: str = "cpu",
        config: Any = None,  # noqa: ANN401  # LMCache's
        metadata: Any = None,  # noqa: ANN401  # LMCache's
        local_cpu_backend: Any = None,  # noqa: ANN401  # LMCache's
        loop: Loop | None = None,
    ) -> None:
        require_version("lmcache", "0.5.6", "0.6")
        super().__init__(plugin_parts(), dst_device, config, metadata, local_cpu_backend, loop)


def _asker(carrier: Carrier, tally: Tally) -> Callable[..., int]:
    """``batched_contains`` of a plug-in.

    A chunk that was found before and is known to be there still is said to be there in as few steps as LMCache looks into a dict
    in: with a method of each part the calls took half of the time.
    """
    known, prefix = carrier.names.by_hash, carrier.prefix

    def batched_contains(keys: list[Key], pin: bool = False) -> int:
        """How many chunks from the first on are there. I/O: as ``Namespace.contains_prefix``."""
        try:
            if len(keys) == 1 and not pin:
                key = keys[0]
                last, writer = known(key.chunk_hash), carrier.last_writer
                if last is not None and writer is not None:
                    kind, model, size, worker, dtype, name = last
                    same = key.model_name == model and key.world_size == size and key.worker_id == worker and key.dtype is dtype
                    if same and key.__class__ is kind and not key.tags and writer.found_one(name):
                        return 1
            return prefix(keys, pin=pin)
        except Exception as error:  # noqa: BLE001 - as guarded has it, which takes as long as all else here
            tally.failed("batched_contains", error)
            return 0

    return batched_contains


def _leading(items: Sequence[Item | None]) -> list[Item]:
    """The chunks before the first that is missing; the others are let go."""
    count = next((i for i, item in enumerate(items) if item is None), len(items))
    _let_go([item for item in items[count:] if item is not None])
    return list(items[:count])


def _let_go(items: Sequence[Item]) -> None:
    """Nobody needs these."""
    for item in items:
        item.ref_count_down()


def _without_force(given: Any) -> tuple[bool, Any]:  # noqa: ANN401  # whatever a configuration holds
    """Whether Python's hash is meant, and the other settings. InvalidArgumentError for an answer that is neither yes nor no."""
    if not isinstance(given, Mapping):
        return False, given
    forced = given.get(FORCE, False)
    if not isinstance(forced, bool):
        msg = f"{WHERE}: {FORCE} = {forced!r}: must be true or false"
        raise InvalidArgumentError(msg)
    return forced, {key: value for key, value in given.items() if key != FORCE}


def _unstable(algorithm: str) -> str:
    """What is wrong with the hash, and what to set."""
    why, first = "", "Set pre_caching_hash_algorithm: sha256_cbor"
    if algorithm in BORROWED:
        why, first = ", which LMCache takes from vLLM, and there is none in this Python", "Install vLLM there"
    elif algorithm != "builtin":
        why = ", which the vLLM that is here does not have, if one is"
    return (
        f"pre_caching_hash_algorithm is {algorithm!r}{why}, so LMCache hashes tokens with Python's own hash: it differs between "
        f"processes, and nothing would be found after a restart. {first}, use the server (docs/adapters/lmcache.md), or, with "
        f'the same PYTHONHASHSEED in every process, say {WHERE}: "{FORCE}": true'
    )
