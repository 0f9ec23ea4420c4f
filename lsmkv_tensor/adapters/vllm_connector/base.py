"""vLLM's classes that the connector's are derived from; ``object`` where vLLM is not installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    Connector: TypeAlias = Any
    Handshake: TypeAlias = Any
    Metadata: TypeAlias = Any
    Statistics: TypeAlias = Any
    Disk: Any
else:
    try:
        from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorBase_V1 as Connector
        from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorHandshakeMetadata as Handshake
        from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorMetadata as Metadata
        from vllm.distributed.kv_transfer.kv_connector.v1.metrics import KVConnectorStats as Statistics
        from vllm.v1.metrics.cache_hit_source import CacheHitSource

        Disk = CacheHitSource.DISK
    except ImportError:
        Connector = Handshake = Metadata = Statistics = object
        Disk = "disk"

__all__ = ["Connector", "Disk", "Handshake", "Metadata", "Statistics"]
