"""The statistics of page stores as Prometheus metrics. Needs ``prometheus-client`` (the ``metrics`` extra).

::

    from prometheus_client import REGISTRY, start_http_server

    REGISTRY.register(Collector({"llama": store}))      # TensorStore or PageStore; several in one collector
    start_http_server(9464)

Numbers are read when somebody scrapes, by one ``stats()`` a store; nothing runs in between. Names, units and labels are fixed:
docs/metrics.md. The engine's own metrics are told by :class:`lsmkv.metrics.Collector`.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol

from lsmkv_tensor.catalogue import CATALOGUE, Metric
from lsmkv_tensor.errors import InvalidArgumentError, LsmError
from lsmkv_tensor.pagestats import PageStoreStats
from lsmkv_tensor.runtime.calltimes import BOUNDS_S

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

__all__ = ["UP", "Collector", "Measurable"]

UP = Metric(
    "lsmkv_tensor_up",
    "gauge",
    (),
    "1 if the store is open, 0 if it was closed or could not be reopened.",
    (),
    lambda _: [((), 1.0)],
)


class Measurable(Protocol):
    """What is needed of an open store: PageStore and TensorStore have it."""

    def stats(self) -> PageStoreStats:
        """What it counted; ClosedError once it is closed, PoisonedError while it cannot be reopened."""
        ...


class Collector:
    """A prometheus-client collector over open stores by name; register it where you like, one for all stores of a process.

    A store that is closed, gone, or could not be reopened is told as ``lsmkv_tensor_up 0`` and nothing more; the collector keeps
    no store alive.
    Raises InvalidArgumentError for what is no store or no name; ModuleNotFoundError without prometheus-client.
    """

    def __init__(self, stores: Mapping[str, Measurable]) -> None:
        _core()
        self._stores: dict[str, weakref.ref[Measurable]] = {}
        for name, store in stores.items():
            self.add(name, store)

    def add(self, name: str, store: Measurable) -> None:
        """Tell of ``store``, too, or from now on, as ``name``."""
        if not isinstance(name, str) or not name:
            msg = f"Collector: the name of a store must be a string that is not empty, not {name!r}"
            raise InvalidArgumentError(msg)
        if not callable(getattr(store, "health", None)) or not callable(getattr(store, "stats", None)):
            msg = f"Collector: {name!r} is no TensorStore or PageStore, but {type(store).__name__}"
            raise InvalidArgumentError(msg)
        self._stores = {**self._stores, name: weakref.ref(store)}

    def remove(self, name: str) -> None:
        """Tell no more of ``name``; nothing happens if it is unknown."""
        self._stores = {known: store for known, store in self._stores.items() if known != name}

    def describe(self) -> Iterator[Family]:
        """Names and labels without values, for the registry. I/O: none."""
        return _told({})

    def collect(self) -> Iterator[Family]:
        """Every metric with its values of this moment. I/O: as ``stats``: lists the index directories."""
        told: dict[str, PageStoreStats | None] = {}
        for name, reference in self._stores.items():
            store = reference()
            try:
                told[name] = store.stats() if store is not None else None
            except LsmError:  # closed, or poisoned and not reopened yet
                told[name] = None
        return _told(told)


def _told(stores: Mapping[str, PageStoreStats | None]) -> Iterator[Family]:
    """The families of all stores together."""
    core = _core()
    up = core.GaugeMetricFamily(UP.name, UP.help, labels=("store",))
    for name, stats in stores.items():
        up.add_metric((name,), float(stats is not None))
    yield up
    kinds = {
        "counter": core.CounterMetricFamily,
        "gauge": core.GaugeMetricFamily,
        "histogram": core.HistogramMetricFamily,
    }
    for metric in CATALOGUE:
        family = kinds[metric.kind](metric.name, metric.help, labels=("store", *metric.labels))
        for name, stats in stores.items():
            if stats is not None:
                _add(family, metric, name, stats)
        yield family


def _add(family: Any, metric: Metric, name: str, stats: PageStoreStats) -> None:  # noqa: ANN401  # prometheus-client's own classes
    """Add what one store says of a metric."""
    for labels, value in metric.read(stats):
        if metric.kind != "histogram":
            family.add_metric((name, *labels), value)
            continue
        times = stats.times[labels[0]]
        bounds = [*map(str, BOUNDS_S), "+Inf"]
        family.add_metric((name, *labels), list(zip(bounds, accumulate(times.buckets), strict=True)), times.seconds)


def _core() -> Any:  # noqa: ANN401  # a module
    """prometheus-client's classes, or how to get them."""
    try:
        from prometheus_client import core  # noqa: PLC0415 - an extra: only here is it needed
    except ImportError as error:
        msg = "metrics need prometheus-client: pip install 'lsmkv[metrics]'"
        raise ModuleNotFoundError(msg, name="prometheus_client") from error
    return core
