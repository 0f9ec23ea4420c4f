"""The class that vLLM makes, once for each role: what each of its calls means to the role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from lsmkv_tensor.adapters.versions import BUILDS, CONNECTOR, require_version
from lsmkv_tensor.adapters.vllm_connector.asking import SchedulerSide
from lsmkv_tensor.adapters.vllm_connector.base import Connector, Disk
from lsmkv_tensor.adapters.vllm_connector.blocks import PagedBlocks
from lsmkv_tensor.adapters.vllm_connector.identity import check_engine, hashes_per_block, member_name, rank_pages
from lsmkv_tensor.adapters.vllm_connector.moving import WorkerSide
from lsmkv_tensor.adapters.vllm_connector.plan import Plan, RankPages
from lsmkv_tensor.adapters.vllm_connector.settings import read_settings
from lsmkv_tensor.adapters.vllm_connector.statistics import ConnectorStats, prom_metrics

__all__ = ["LsmkvConnector"]

Config: TypeAlias = Any
"""``VllmConfig``."""
Role: TypeAlias = Any
"""``KVConnectorRole``."""
Caches: TypeAlias = Any
"""``KVCacheConfig``."""
Request: TypeAlias = Any
"""vLLM's ``Request``."""


class LsmkvConnector(Connector):  # type: ignore[misc]  # vLLM's class where it is installed
    """vLLM's connector over a page store; made by vLLM. What its settings are: :mod:`.settings`.

    Raises InvalidArgumentError (settings, or an engine that is not served), ImportError (another version of vLLM).

    I/O: none yet as a worker, which opens its store when vLLM has made its caches; a listing as a scheduler.
    """

    _cache_hit_source = Disk

    def __init__(self, vllm_config: Config, role: Role, kv_cache_config: Caches) -> None:
        self._version = "none"
        if Connector is not object:
            self._version = require_version("vllm", *CONNECTOR, BUILDS["vllm"])
            super().__init__(vllm_config, role, kv_cache_config)
        check_engine(vllm_config, kv_cache_config)
        transfer = vllm_config.kv_transfer_config
        self._settings = read_settings(transfer.kv_connector_extra_config)
        self._config, self._caches = vllm_config, kv_cache_config
        self._may = {"reads": transfer.is_kv_consumer, "writes": transfer.is_kv_producer}
        self._metadata: Plan | None = None
        self._pages: RankPages | None = None
        self.worker: WorkerSide | None = None
        self.scheduler: SchedulerSide | None = None
        if role.name == "SCHEDULER":
            self.scheduler = SchedulerSide(self._settings, hashes_per_block(kv_cache_config), **self._may)

    @property
    def requires_kv_delivery(self) -> bool:
        """Nobody waits for these pages: a dropped one is computed."""
        return False

    # worker

    def register_kv_caches(self, kv_caches: dict[str, Any]) -> None:
        """VLLM has made its caches: open the rank's store. InvalidArgumentError. I/O: as ``PageStore.open``."""
        if self.worker is not None:
            self.worker.close()
        blocks = PagedBlocks(kv_caches, self._caches.num_blocks)
        pages = rank_pages(self._config, self._caches, blocks, self._version, self._settings.revision)
        self.worker = WorkerSide(self._settings, member_name(self._config), blocks, pages, **self._may)
        self._pages = pages

    def get_handshake_metadata(self) -> RankPages | None:
        """What this rank's pages are called, for the scheduler."""
        return self._pages

    def bind_connector_metadata(self, connector_metadata: Plan) -> None:
        """What this step reads and writes."""
        self._metadata = connector_metadata

    def clear_connector_metadata(self) -> None:
        """The step is over."""
        self._metadata = None

    def has_connector_metadata(self) -> bool:
        """Whether a step is under way."""
        return self._metadata is not None

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:  # noqa: ANN401, ARG002  # vLLM's signature
        """Have blocks read, all layers. I/O: in the background, as ``Namespace.get_into``."""
        if self.worker is not None and self._metadata is not None:
            self.worker.load(self._metadata)

    def wait_for_layer_load(self, layer_name: str) -> None:
        """A request runs when all of its blocks were read."""

    def save_kv_layer(self, layer_name: str, kv_layer: Any, attn_metadata: Any, **kwargs: Any) -> None:  # noqa: ANN401  # vLLM's signature
        """Nothing: a page has all layers."""

    def wait_for_save(self) -> None:
        """Copy this step's full blocks and have them written. I/O: in the background, as ``Namespace.put_many``."""
        if self.worker is not None and self._metadata is not None:
            self.worker.save(self._metadata)

    def get_finished(self, finished_req_ids: set[str]) -> tuple[set[str] | None, set[str] | None]:  # noqa: ARG002  # vLLM's signature
        """Requests whose blocks were saved (none waits for that), and those whose blocks were read or could not be."""
        return None, None if self.worker is None else self.worker.arrived() or None

    def get_block_ids_with_load_errors(self) -> set[int]:
        """Blocks that vLLM must compute."""
        return set() if self.worker is None else self.worker.failed()

    def get_kv_connector_stats(self) -> ConnectorStats | None:
        """What the counters gained since the last call; None if nothing."""
        gained = {} if self.worker is None else self.worker.gained()
        return ConnectorStats(gained) if gained else None

    # scheduler

    def set_xfer_handshake_metadata(self, metadata: Mapping[int, RankPages]) -> None:
        """What every rank's pages are called."""
        if self.scheduler is not None:
            self.scheduler.learn_ranks(metadata)

    def on_new_request(self, request: Request) -> None:
        """Find out in the background what is stored of it."""
        if self.scheduler is not None:
            self.scheduler.arrived(request)

    def get_num_new_matched_tokens(self, request: Request, num_computed_tokens: int) -> tuple[int | None, bool]:
        """Tokens that can be loaded: whole blocks, never all of the request. None: not known yet. I/O: none here."""
        return (0, False) if self.scheduler is None else self.scheduler.matched(request, num_computed_tokens)

    def update_state_after_alloc(self, request: Request, blocks: Any, num_external_tokens: int) -> None:  # noqa: ANN401  # vLLM's signature
        """The request has blocks now."""
        if self.scheduler is not None:
            self.scheduler.allocated(request, blocks, num_external_tokens)

    def build_connector_meta(self, scheduler_output: Any) -> Plan:  # noqa: ANN401  # vLLM's SchedulerOutput
        """What the workers are to do in this step."""
        return Plan() if self.scheduler is None else self.scheduler.plan(scheduler_output)

    def request_finished(self, request: Request, block_ids: Sequence[int]) -> tuple[bool, dict[str, Any] | None]:  # noqa: ARG002  # vLLM's signature
        """The request has ended; its blocks may be used at once."""
        if self.scheduler is not None:
            self.scheduler.finished(request.request_id)
        return False, None

    def reset_cache(self) -> bool | None:
        """Drop every page of this engine with the next step: its weights have changed, say. Other engines' pages stay."""
        if self.scheduler is not None:
            self.scheduler.reset()
        return True

    # both

    def shutdown(self) -> None:
        """Write what waits, for a bounded time, and let go of the directory. I/O: as ``PageStore.close``."""
        for side in (self.worker, self.scheduler):
            if side is not None:
                side.close()

    @classmethod
    def build_kv_connector_stats(cls, data: dict[str, Any] | None = None) -> ConnectorStats:
        """Statistics that came from another process."""
        return ConnectorStats(data)

    @classmethod
    def build_prom_metrics(
        cls,
        vllm_config: Config,
        metric_types: Mapping[Any, Any],
        labelnames: Sequence[str],
        per_engine_labelvalues: Mapping[int, Sequence[object]],
    ) -> Any:  # noqa: ANN401  # vLLM's signature
        """The counters as Prometheus has them."""
        return prom_metrics(vllm_config, metric_types, labelnames, per_engine_labelvalues)
