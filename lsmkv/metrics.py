"""Statistics as Prometheus metrics. Needs ``prometheus-client`` (the ``metrics`` extra); nothing else here does.

::

    from prometheus_client import REGISTRY, start_http_server

    REGISTRY.register(Collector(db))      # or Collector({"index": db, "users": other})
    start_http_server(9464)

Numbers are read when somebody scrapes, by one ``stats()`` a store; nothing is counted twice and nothing runs in between. Names,
units and labels are fixed: docs/metrics.md.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from lsmkv.errors import ClosedError, InvalidArgumentError
from lsmkv.follow import Follower
from lsmkv.observe.metrics import CATALOGUE, Metric
from lsmkv.observe.stats import Stats

if TYPE_CHECKING:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.core import Metric as Family

__all__ = ["Collector", "Measurable"]

UP = Metric("lsmkv_up", "gauge", (), "1 if the store is open, 0 if it was closed.", (), lambda _: [((), 1.0)])


class Measurable(Protocol):
    """What is needed of an open store (:class:`lsmkv.DB` is one)."""

    @property
    def path(self) -> str:
        """Where it is; its name unless another is given."""
        ...

    def stats(self) -> Stats:
        """What it counted; ClosedError once it is closed."""
        ...


class Collector:
    """A prometheus-client collector over open stores; register it where you like.

    A closed store, or one that is gone, is told as ``lsmkv_up 0`` and nothing more: the collector keeps no store alive. Every
    series has the label ``store``: the names given, or the path. Register one collector for all stores of a process: a registry
    takes each name once. Raises InvalidArgumentError for what is no open store, or no name; ModuleNotFoundError without
    prometheus-client.
    """

    def __init__(self, stores: Measurable | Mapping[str, Measurable]) -> None:
        _families()
        named = stores if isinstance(stores, Mapping) else {_path_of(stores): stores}
        self._stores = dict(_referred(name, store) for name, store in named.items())

    def add(self, name: str, store: Measurable) -> None:
        """Tell of ``store``, too, or from now on, as ``name``. InvalidArgumentError as for a new collector."""
        known, reference = _referred(name, store)
        self._stores = {**self._stores, known: reference}

    def remove(self, name: str) -> None:
        """Tell no more of ``name``; nothing happens if it is unknown."""
        self._stores = {known: store for known, store in self._stores.items() if known != name}

    def describe(self) -> Iterator[Family]:
        """Names and labels without values, for the registry. I/O: none."""
        return _told([], {})

    def collect(self) -> Iterator[Family]:
        """Every metric with its values of this moment. I/O: none."""
        stats: dict[str, Stats] = {}
        names = list(self._stores)
        for name, reference in self._stores.items():
            store = reference()
            if store is not None:
                try:
                    stats[name] = store.stats()
                except ClosedError:
                    continue
        return _told(names, stats)


def _path_of(store: object) -> str:
    """What a store given without a name is called."""
    path = getattr(store, "path", None)
    if not isinstance(path, str):
        msg = f"Collector takes an open store, or a mapping from names to open stores, not {type(store).__name__}"
        raise InvalidArgumentError(msg)
    return path


def _referred(name: object, store: Measurable) -> tuple[str, weakref.ref[Measurable]]:
    """A name and a reference that keeps nothing alive."""
    if not isinstance(name, str) or not name:
        msg = f"Collector: the name of a store must be a string that is not empty, not {name!r}"
        raise InvalidArgumentError(msg)
    if isinstance(store, Follower):
        msg = f"Collector: {name!r} is a follower: metrics are told where the store is open for writing"
        raise InvalidArgumentError(msg)
    if not callable(getattr(store, "stats", None)):
        msg = f"Collector: {name!r} is no open store: {type(store).__name__} has no stats()"
        raise InvalidArgumentError(msg)
    try:
        return name, weakref.ref(store)
    except TypeError as error:
        msg = f"Collector: {name!r} cannot be watched without keeping it alive: {error}"
        raise InvalidArgumentError(msg) from error


def _told(names: Iterable[str], stats: Mapping[str, Stats]) -> Iterator[Family]:
    """The families of all stores together."""
    counter, gauge = _families()
    up = gauge(UP.name, UP.help, labels=("store",))
    for name in names:
        up.add_metric((name,), float(name in stats))
    yield up
    for metric in CATALOGUE:
        family = (counter if metric.kind == "counter" else gauge)(metric.name, metric.help, labels=("store", *metric.labels))
        for name, told in stats.items():
            for labels, value in metric.read(told):
                family.add_metric((name, *labels), value)
        yield family


def _families() -> tuple[type[CounterMetricFamily], type[GaugeMetricFamily]]:
    """The classes of prometheus-client, or how to get it."""
    try:
        from prometheus_client import core  # noqa: PLC0415 - an extra: only here is it needed
    except ImportError as error:
        msg = "metrics need prometheus-client: pip install 'lsmkv[metrics]'"
        raise ModuleNotFoundError(msg, name="prometheus_client") from error
    return core.CounterMetricFamily, core.GaugeMetricFamily
