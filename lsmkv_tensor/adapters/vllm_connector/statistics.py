"""What the connector counts, as vLLM logs and exports it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeAlias

from lsmkv_tensor.adapters.vllm_connector.base import Statistics

__all__ = ["COUNTERS", "ConnectorStats", "prom_metrics"]

Config: TypeAlias = Any
"""``VllmConfig``."""

COUNTERS = {
    "stored_pages": "Blocks offered that are stored now.",
    "loaded_pages": "Blocks loaded into the paged cache.",
    "missing_pages": "Blocks of loads that were absent, damaged or late; vLLM computes them.",
    "corrupt_pages": "Blocks found damaged in this rank's own directory.",
    "declined_pages": "Blocks that admission did not want, that found no room in the queue, or that a follower cannot store.",
    "failed_pages": "Blocks that found no space, or a disk that failed.",
    "dropped_pages": "Blocks that still waited to be written when the engine ended.",
}
"""Counters of a rank, summed over ranks."""


class ConnectorStats(Statistics):  # type: ignore[misc]  # vLLM's KVConnectorStats where it is installed
    """What the counters gained since the last step."""

    def __init__(self, data: dict[str, Any] | None = None) -> None:
        self.data: dict[str, Any] = dict(data or {})

    def reset(self) -> None:
        """Nothing gained."""
        self.data.clear()

    def aggregate(self, other: Self) -> Self:
        """With what another rank, or step, gained."""
        for name, n in other.data.items():
            self.data[name] = self.data.get(name, 0) + n
        return self

    def reduce(self) -> dict[str, int | float]:
        """As vLLM logs it."""
        return {f"lsmkv {name.replace('_', ' ')}": n for name, n in self.data.items()}

    def is_empty(self) -> bool:
        """Whether nothing was gained."""
        return not any(self.data.values())


def prom_metrics(config: Config, types: Mapping[Any, Any], labels: Sequence[str], values: Mapping[int, Sequence[object]]) -> Any:  # noqa: ANN401  # vLLM's KVConnectorPromMetrics
    """The counters for Prometheus: ``vllm:lsmkv_connector_*``."""
    from prometheus_client import Counter  # noqa: PLC0415  # only vLLM asks
    from vllm.distributed.kv_transfer.kv_connector.v1.metrics import KVConnectorPromMetrics  # noqa: PLC0415  # see above

    class ConnectorMetrics(KVConnectorPromMetrics):  # type: ignore[misc]  # vLLM is untyped here
        """A counter a name and engine."""

        def __init__(self) -> None:
            super().__init__(config, types, labels, values)
            made = {
                name: types[Counter](name=f"vllm:lsmkv_connector_{name}", documentation=text, labelnames=labels)
                for name, text in COUNTERS.items()
            }
            self._counters = {
                engine: {name: counter.labels(*own) for name, counter in made.items()} for engine, own in values.items()
            }

        def observe(self, transfer_stats_data: dict[str, Any], engine_idx: int = 0) -> None:
            """Add what was gained."""
            for name, n in transfer_stats_data.items():
                self._counters[engine_idx][name].inc(n)

    return ConnectorMetrics()
