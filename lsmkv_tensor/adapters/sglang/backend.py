"""SGLang: the third tier of its hierarchical cache (HiCache) in a page store.

::

    --enable-hierarchical-cache --hicache-storage-backend dynamic --hicache-storage-backend-extra-config '{
        "backend_name": "lsmkv", "module_path": "lsmkv_tensor.adapters.sglang", "class_name": "LsmkvHiCache", "interface_v1": 1,
        "lsmkv": {"path": "/nvme/kv", "capacity_bytes": 1000000000000}}'

Written for SGLang 0.5.23; all three generations of its interface are there: tensors (``get``, ``set``), slots of a host pool
(``batch_get_v1``, ``batch_set_v1``), and several pools with their hit policies (``..._v2``). Every call is back within
``io_timeout_s``, and none raises into the server's threads: a failure is a page that is not there, logged and counted.

A page's key is SGLang's own digest, whatever ``prefix_keys`` says: these are passed in some calls and not in others, and only
tell retention which page comes before which. The namespace holds all that gives bytes a meaning (model, dtype, layout, geometry,
pool, ranks); what the model's name does not tell goes into the setting ``revision``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from lsmkv.env.clock import SystemClock
from lsmkv_tensor.adapters.holding import Holding
from lsmkv_tensor.adapters.hostpool import HostPages
from lsmkv_tensor.adapters.intime import InTime
from lsmkv_tensor.adapters.sglang.config import StorageConfig, member_name, read_config
from lsmkv_tensor.adapters.sglang.hits import PoolAsk, restorable_prefix
from lsmkv_tensor.adapters.sglang.meter import Meter
from lsmkv_tensor.adapters.sglang.pages import FLAT, PIECES, PoolStore
from lsmkv_tensor.adapters.versions import SUPPORTED, require_version
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.runtime.putpieces import Verdict

if TYPE_CHECKING:
    Base: TypeAlias = Any
else:
    try:
        from sglang.srt.mem_cache.hicache_storage import HiCacheStorage as Base
    except ImportError:
        Base = object

__all__ = ["LsmkvHiCache"]

T = TypeVar("T")
Keys: TypeAlias = Sequence[str]
Tensor: TypeAlias = Any
"""``torch.Tensor``: SGLang brings it."""
Pool: TypeAlias = Any
Transfers: TypeAlias = Sequence[Any]
"""SGLang's ``PoolTransfer``: name, keys, host_indices, hit_policy."""
KV = "kv"

_log = logging.getLogger(__name__)


class LsmkvHiCache(Base):  # type: ignore[misc]  # SGLang's class where it is installed
    """SGLang's storage backend over a page store; made by SGLang. Any thread may call anything.

    ``storage_config``: SGLang's ``HiCacheStorageConfig``. ``kwargs``: an empty dict from SGLang; from tests those fields of
    StoreOptions that no JSON can say (``fs``, ``clock``, ``rng``, ``scheduler``).

    Raises InvalidArgumentError for settings that cannot be meant, and
    ImportError for another version of SGLang: both when the server starts. A store that cannot be had is no error
    (:mod:`lsmkv_tensor.adapters.holding`).

    I/O: as ``PageStore.open``.
    """

    def __init__(self, storage_config: StorageConfig, kwargs: Mapping[str, Any] | None = None) -> None:
        if Base is not object:
            require_version("sglang", *SUPPORTED["sglang"])
        self.config = read_config(storage_config.extra_config, kwargs or {})
        self.ranks = storage_config
        self.meter = Meter()
        self._metrics = _metrics_class() if getattr(storage_config, "enable_storage_metrics", False) else None
        self._clock = self.config.options.clock or SystemClock()
        self._bounded = InTime(self._clock)
        self.holding = Holding(
            self.config.path,
            self.config.member or member_name(storage_config),
            self.config.options,
            on_conflict=self.config.on_conflict,
            wait_s=self.config.conflict_wait_s,
        )
        self._order = PIECES if storage_config.extra_config.get("interface_v1") else FLAT
        self._pools: dict[str, PoolStore] = {}
        self._flat: dict[int, PoolStore] = {}

    # what the engine tells

    def register_mem_pool_host(self, mem_pool_host: Pool) -> None:
        """The host pool of the KV pages. InvalidArgumentError for pages that no segment holds. I/O: as a namespace's."""
        self.mem_pool_host = mem_pool_host
        self._register(KV, mem_pool_host)

    def register_mem_host_pool_v2(self, host_pool: Pool, host_pool_name: str) -> None:
        """The host pool of this name; one that cannot be kept never holds anything.

        A refusal would leave SGLang's threads behind by now. I/O: as a namespace's.
        """
        self._guarded("register_mem_host_pool_v2", lambda: self._register(str(host_pool_name), host_pool), lambda: None)

    def on_host_pools_registered(self) -> None:
        """All pools are known; nothing waits for that."""

    # host pools: what SGLang calls with "interface_v1": 1

    def batch_get_v1(self, keys: Keys, host_indices: Tensor, extra_info: object = None) -> list[bool]:
        """Read KV pages into the host pool; which are there, every byte checked. I/O: as ``Namespace.get_into``."""
        del extra_info
        return self._get(KV, keys, host_indices)

    def batch_set_v1(self, keys: Keys, host_indices: Tensor, extra_info: object = None) -> list[bool]:
        """Store KV pages from the host pool; False: there is no room, or the disk failed. I/O: as ``Namespace.put_many``."""
        return self._set(KV, keys, host_indices, _above(extra_info))

    def batch_get_v2(self, transfers: Transfers, extra_info: object = None) -> dict[str, list[bool]]:
        """As :meth:`batch_get_v1` for each pool named. I/O: the same."""
        del extra_info
        return {t.name: self._get(str(t.name), t.keys or [], t.host_indices) for t in transfers}

    def batch_set_v2(self, transfers: Transfers, extra_info: object = None) -> dict[str, list[bool]]:
        """As :meth:`batch_set_v1` for each pool named. I/O: the same."""
        above = _above(extra_info)
        return {t.name: self._set(str(t.name), t.keys or [], t.host_indices, above) for t in transfers}

    def batch_exists(self, keys: Keys, extra_info: object = None) -> int:
        """How many KV pages from the first on are there. I/O: as ``Namespace.contains_prefix``."""
        del extra_info
        return self._guarded("batch_exists", lambda: self._kv().prefix(keys), lambda: 0)

    def batch_exists_v2(self, keys: Keys, pool_transfers: Transfers | None = None, extra_info: object = None) -> Any:  # noqa: ANN401  # SGLang's
        """The prefixes that every pool can restore, as its hit policy asks: SGLang's ``PoolTransferResult``.

        A pool with another policy than "all_pages" and "trailing_pages" shortens nothing and gets no verdict. I/O: as
        :meth:`batch_exists`, and as ``Namespace.contains`` for each other pool.
        """
        del extra_info

        def asked() -> Any:  # noqa: ANN401  # SGLang's
            """The pools' answers together."""
            n = self._kv().prefix(keys)
            asks = [
                PoolAsk(
                    str(t.name),
                    self._pools[str(t.name)].held(keys[:n]),
                    str(getattr(t.hit_policy, "value", t.hit_policy)),
                    len(t.keys or ()) or 1,
                )
                for t in (pool_transfers or () if n else ())
            ]
            hit = restorable_prefix(n, asks)
            return _transfer_result(hit.pages, hit.boundaries, hit.restorable)

        return self._guarded("batch_exists_v2", asked, lambda: _transfer_result(0, {}, []))

    # tensors: the interface without "interface_v1"

    def exists(self, key: str) -> bool:
        """Whether a page is there. I/O: as ``Namespace.contains``."""
        return self.batch_exists([key]) == 1

    def get(self, key: str, target_location: Tensor = None, target_sizes: object = None) -> Tensor | None:
        """Read a page into a flat tensor; None if it is not there. I/O: as ``Namespace.get_into``."""
        del target_sizes
        return self.batch_get([key], [target_location])[0]

    def batch_get(
        self, keys: Keys, target_locations: Sequence[Tensor] | None = None, target_sizes: object = None
    ) -> list[Tensor | None]:
        """Read pages into flat tensors of equal size; None for each that is not there. I/O: as ``Namespace.get_into``."""
        del target_sizes

        def read() -> list[Tensor | None]:
            """The tensors whose pages came."""
            targets = [] if target_locations is None else list(target_locations)
            if not len(keys):
                return []
            if len(targets) != len(keys) or any(t is None for t in targets):
                msg = f"{len(keys)} keys and {sum(t is not None for t in targets)} tensors to read into"
                raise InvalidArgumentError(msg)
            began = self._clock.monotonic()
            store = self._flat_store(targets[0].nbytes)
            got = store.read(keys, targets)
            came = sum(got.flags)
            self.meter.read(came, got.copies, came * store.page_bytes, self._clock.monotonic() - began)
            return [t if flag else None for t, flag in zip(targets, got.flags, strict=True)]

        return self._guarded("batch_get", read, lambda: [None] * len(keys))

    def set(self, key: str, value: Tensor = None, target_location: object = None, target_sizes: object = None) -> bool:
        """Store a flat tensor as a page; whether it is there now. I/O: as ``Namespace.put_many``."""
        del target_location, target_sizes
        return self.batch_set([key], [value])

    def batch_set(
        self, keys: Keys, values: Sequence[Tensor] | None = None, target_locations: object = None, target_sizes: object = None
    ) -> bool:
        """Store flat tensors of equal size; whether all are there now. I/O: as ``Namespace.put_many``."""
        del target_locations, target_sizes

        def write() -> bool:
            """Whether every page is there."""
            pages = [] if values is None else [v.contiguous() for v in values]
            if len(pages) != len(keys):
                msg = f"{len(keys)} keys and {len(pages)} tensors to store"
                raise InvalidArgumentError(msg)
            if not pages:
                return True
            return all(self._written(self._flat_store(pages[0].nbytes), keys, pages, None))

        return self._guarded("batch_set", write, lambda: False)

    # the rest

    def clear(self) -> bool:
        """Drop every page that this process stored; whether that was done in time. I/O: as ``PageStore.drop_namespace``."""
        return self._guarded("clear", lambda: self._in_time(lambda: self.holding.forget() >= 0), lambda: False)

    def get_stats(self) -> Any:  # noqa: ANN401  # SGLang's StorageMetrics
        """What was moved since the last call, as SGLang's ``StorageMetrics``; None if it did not ask for metrics. I/O: none."""
        return None if self._metrics is None else self._metrics(*self.meter.drain())

    def close(self) -> None:
        """Write what was accepted and let go of the directory; a second call does nothing.

        What the disk does not let be done within ``io_timeout_s`` goes on on a thread. I/O: as ``PageStore.close``.
        """
        self._guarded("close", lambda: self._in_time(self._closed), lambda: None)

    # helpers

    def _closed(self) -> bool:
        """Close."""
        self.holding.close()
        return True

    def _in_time(self, call: Callable[[], bool]) -> bool:
        """What a call returns that touches no memory of SGLang's. TimeoutError after ``io_timeout_s``: a thread goes on."""
        seconds = self.config.options.io_timeout_s
        if seconds is None:
            return call()
        found = self._bounded.call(call, seconds)
        if found is None:
            msg = f"not done within {seconds:g} s; it goes on"
            raise TimeoutError(msg)
        return found[0]

    def _register(self, name: str, pool: Pool) -> None:
        """Keep this pool's pages."""
        pages = HostPages(pool)
        known = self._pools.get(name)
        if known is None or known.host is None or known.host.pool is not pool:
            self._pools[name] = PoolStore(self.holding, self.config, self.ranks, name, pages, told=self._ended)

    def _kv(self) -> PoolStore:
        """The store that KV pages are in, as SGLang was told to pass them."""
        store = self._pools[KV]
        return store if self._order == PIECES else self._flat_store(store.page_bytes)

    def _flat_store(self, page_bytes: int) -> PoolStore:
        """The store of flat tensors of this size."""
        store = self._flat.get(page_bytes)
        if store is None:
            pool = self._pools.get(KV)
            host = None if pool is None else pool.host
            store = self._flat[page_bytes] = PoolStore(
                self.holding, self.config, self.ranks, KV, host, order=FLAT, page_bytes=page_bytes, told=self._ended
            )
        return store

    def _get(self, name: str, keys: Keys, host_indices: Tensor) -> list[bool]:
        """Pages of one pool into its memory."""

        def read() -> list[bool]:
            """Which came."""
            store, began = self._pools[name], self._clock.monotonic()
            got = store.get(keys, host_indices)
            came = sum(got.flags)
            self.meter.read(came, got.copies, came * store.page_bytes, self._clock.monotonic() - began)
            return got.flags

        return self._guarded(f"get {name}", read, lambda: [False] * len(keys))

    def _set(self, name: str, keys: Keys, host_indices: Tensor, above: str | None) -> list[bool]:
        """Pages of one pool out of its memory."""

        def write() -> list[bool]:
            """Which are there."""
            store = self._pools[name]
            return self._written(store, keys, store.memory(host_indices, len(keys)), above)

        return self._guarded(f"set {name}", write, lambda: [False] * len(keys))

    def _written(self, store: PoolStore, keys: Keys, pages: Any, above: str | None) -> list[bool]:  # noqa: ANN401  # PageBuffers
        """Store pages; which SGLang is told are there."""
        began = self._clock.monotonic()
        put = store.put(keys, pages, above)
        self.meter.declined(put.declined)
        stored = sum(put.flags) - put.declined
        self.meter.wrote(
            stored, len(keys) - sum(put.flags), store.write_copies, stored * store.page_bytes, self._clock.monotonic() - began
        )
        return put.flags

    def _ended(self, keys: Sequence[bytes], verdicts: Sequence[Verdict]) -> None:
        """These waited to be written; called by the store's worker."""
        del keys
        failed = verdicts.count(False)
        times = self.meter.ended(failed, verdicts.count(None))
        if failed and times & (times - 1) == 0:
            where = f"{self.holding.root}/{self.holding.member}"
            told = "lsmkv: %d pages could not be written after their call: is the disk full, or does it fail? lsmkv doctor %s"
            _log.warning(told, self.meter.failed_pages, where)

    def _guarded(self, what: str, call: Callable[[], T], otherwise: Callable[[], T]) -> T:
        """What the call returns; ``otherwise`` if it fails, whatever the reason."""
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - nothing may reach the server's threads
            times = self.meter.failed(what)
            if times & (times - 1) == 0:  # 1, 2, 4, 8, ...: a failing disk must not fill another one with its log
                _log.warning("lsmkv: %s failed (%d times so far): %s: %s", what, times, type(error).__name__, error)
            return otherwise()


def _above(extra_info: object) -> str | None:
    """The key of the page before the first of a call, if SGLang says it."""
    before = getattr(extra_info, "prefix_keys", None)
    return before[-1] if before else None


def _metrics_class() -> Callable[..., object] | None:
    """SGLang's ``StorageMetrics``; None where there is none."""
    try:
        from sglang.srt.observability.metrics_collector import StorageMetrics  # noqa: PLC0415  # only with SGLang
    except ImportError:
        return None
    found: Callable[..., object] = StorageMetrics
    return found


def _transfer_result(pages: int, boundaries: dict[str, int], restorable: list[int]) -> Any:  # noqa: ANN401  # SGLang's
    """SGLang's ``PoolTransferResult``; without SGLang the three values."""
    try:
        from sglang.srt.mem_cache.hicache_storage import PoolName, PoolTransferResult  # noqa: PLC0415  # only with SGLang
    except ImportError:
        return pages, boundaries, restorable
    return PoolTransferResult(pages, {PoolName(name): n for name, n in boundaries.items()}, restorable)
