"""The metrics of a page store: fixed names, units and labels, and where in the statistics each comes from. Pure.

The conventions are those of :mod:`lsmkv.observe.metrics`: base units, counters end in ``_total`` and count since opening, labels
are few and bounded. :class:`lsmkv_tensor.metrics.Collector` hands this to prometheus-client; docs/metrics.md is the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from lsmkv_tensor.pagestats import PageStoreStats
from lsmkv_tensor.runtime.health import State
from lsmkv_tensor.sharing.stats import SharingStats

__all__ = ["CATALOGUE", "NO_METRIC", "Metric", "Sample"]

Sample: TypeAlias = tuple[tuple[str, ...], float]
"""Values of the labels, and the number."""

NO_METRIC = {
    "segment_bytes": "it never changes: `lsmkv_tensor_physical_bytes` and `lsmkv_tensor_segments` say what it means",
    "controller": "a record of its own: `store.stats().controller` and `lsmkv controller log` tell it",
    "direct_io": "it is decided at opening and never changes",
}
"""Fields of the statistics that are no metric, and why."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One family of time series."""

    name: str
    """As scraped, ``_total`` included."""
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    """Beside ``store``, which every metric has."""
    help: str
    fields: tuple[str, ...]
    """Fields of :class:`~lsmkv_tensor.pagestats.PageStoreStats` it tells."""
    read: Callable[[PageStoreStats], Iterable[Sample]]
    """Its samples; of a histogram its labels alone matter."""


def _field(kind: Literal["counter", "gauge"], name: str, field: str, about: str) -> Metric:
    """A field that is a number."""
    return Metric(f"lsmkv_tensor_{name}", kind, (), about, (field,), lambda stats: [((), float(getattr(stats, field)))])


def _count(name: str, about: str, field: str | None = None) -> Metric:
    """A counter; its field is called as it is, unless said."""
    return _field("counter", f"{name}_total", field or name, about)


def _gauge(name: str, about: str, field: str | None = None) -> Metric:
    """A gauge; its field is called as it is, unless said."""
    return _field("gauge", name, field or name, about)


def _asked(name: str, attribute: str, about: str) -> Metric:
    """A number of the waterfall, by kind of call."""

    def read(stats: PageStoreStats) -> Iterator[Sample]:
        """Its samples."""
        for call, told in stats.waterfall.items():
            yield (call,), getattr(told, attribute)

    return Metric(f"lsmkv_tensor_{name}_total", "counter", ("call",), about, ("waterfall",), read)


def _lost(stats: PageStoreStats) -> Iterator[Sample]:
    """Tokens lost, by kind of call and cause; all causes from the start: a rate needs a first value."""
    for call, told in stats.waterfall.items():
        for cause, tokens in told.lost_tokens.items():
            yield (call, cause), tokens


def _times(stats: PageStoreStats) -> Iterator[Sample]:
    """The kinds of calls that are timed."""
    for kind, told in stats.times.items():
        yield (kind,), told.calls


def _state(stats: PageStoreStats) -> Iterator[Sample]:
    """1 for the state it is in."""
    for state in get_args(State):
        yield (state,), float(stats.health.state == state)


def _health(name: str, attribute: str, about: str) -> Metric:
    """A counter of the breaker."""
    return Metric(
        f"lsmkv_tensor_{name}_total", "counter", (), about, ("health",), lambda s: [((), float(getattr(s.health, attribute)))]
    )


def _shared(name: str, kind: Literal["counter", "gauge"], pick: Callable[[SharingStats], float], about: str) -> Metric:
    """A number about siblings; no sample where none are followed."""
    return Metric(
        f"lsmkv_tensor_sibling_{name}",
        kind,
        (),
        about,
        ("sharing",),
        lambda stats: [] if stats.sharing is None else [((), float(pick(stats.sharing)))],
    )


CATALOGUE: tuple[Metric, ...] = (
    # what is there
    _gauge("pages", "Pages stored, all namespaces."),
    _gauge("live_bytes", "Bytes of these pages in segments, padding included."),
    _gauge("physical_bytes", "Bytes of all segment files and the index on disk."),
    _gauge("capacity_bytes", "Bytes on disk the store may take."),
    _gauge("index_bytes", "Bytes of the index on disk."),
    _gauge("index_share_bytes", "Bytes on disk that are kept for the index."),
    _gauge("segments", "Segment files."),
    _gauge("segments_max", "Segment files that may exist."),
    _gauge("sealed_segments", "Segments that are full."),
    _gauge("free_segments", "Segments that hold nothing."),
    _gauge("disks", "Disks it was opened with."),
    _gauge("failed_disks", "Disks that are left out: their pages are misses."),
    _gauge("disks_left_alone", "Disks, of several, from which reads failed in a row: tried again after a back-off."),
    _gauge("namespaces", "Registered namespaces."),
    _gauge("pinned_bytes", "Bytes of pages that may not be evicted now."),
    # where hits are lost
    _asked("asked_tokens", "asked_tokens", "Tokens asked for: ask by probes, get by reads."),
    _asked("hit_tokens", "hit_tokens", "Tokens found (ask) or delivered (get)."),
    Metric(
        "lsmkv_tensor_lost_tokens_total",
        "counter",
        ("call", "cause"),
        "Tokens asked for and not found or delivered, each for exactly one cause.",
        ("waterfall",),
        _lost,
    ),
    # reading
    _count("hits", "Pages delivered."),
    _count("misses", "Pages asked for by reads and not delivered."),
    _count("read_bytes", "Bytes of pages read from segments for callers."),
    _count("corrupt_pages", "Pages dropped because their bytes failed the check."),
    _count("lost_pages", "Pages dropped because their segment file was missing, or reused since."),
    _count("read_errors", "Pages not delivered because reading failed."),
    _count("late_pages", "Pages not delivered by their deadline."),
    _gauge("hanging_reads", "Reads whose callers have left and that have not ended."),
    # writing
    _count("put_pages", "Pages newly stored."),
    _count("put_bytes", "Bytes of the pages newly stored."),
    _count("put_stored_bytes", "Bytes that they take as their codec wrote them, padding not included."),
    _count("present_pages", "Pages offered that were there already."),
    _count("declined_pages", "Pages offered and not stored: no space, or a write failed."),
    _count("refused_pages", "Pages offered and not stored: the admission policy did not think them worth a write."),
    _count("written_bytes", "Bytes given to the file system for segments: pages, headers, padding, moved pages."),
    _count("bounced_bytes", "Part of it that was copied to aligned memory first."),
    _gauge("queued_pages", "Pages accepted and waiting to be written."),
    _gauge("queued_bytes", "Bytes of these."),
    _count("queue_accepted_pages", "Pages accepted by the queue of puts."),
    _count("queue_declined_pages", "Pages that the queue of puts had no room for."),
    _count("queue_failed_calls", "Accepted calls whose write raised."),
    # leaving
    _count("deleted_pages", "Pages that their owners deleted."),
    _count("evicted_pages", "Pages evicted to make room."),
    _count("untold_uses", "Uses of pages that the eviction policy never heard of, nearly: too many waited."),
    _count("recycled_segments", "Segments emptied and made free."),
    _count("callback_errors", "Eviction callbacks that raised."),
    _count("gc_runs", "Collections of garbage."),
    _count("gc_segments", "Segments that they freed."),
    _count("gc_moved_bytes", "Bytes of pages that they moved."),
    _count("gc_read_bytes", "Bytes that they read."),
    _count("gc_dropped_pages", "Pages given up because the segment they were in was reclaimed."),
    _count("upkeep_failures", "Steps of background reclaiming that ended in an error and are tried again."),
    # siblings
    _shared("stores", "gauge", lambda s: sum(sibling.followed for sibling in s.siblings), "Siblings that are followed now."),
    _shared("lag_seconds", "gauge", lambda s: s.lag_s, "Age of the oldest look among them."),
    _shared("hits_total", "counter", lambda s: s.hits, "Pages that siblings delivered."),
    _shared("misses_total", "counter", lambda s: s.misses, "Pages asked of siblings and not delivered."),
    _shared("held_pages_total", "counter", lambda s: s.held_pages, "Pages offered and not stored because a sibling holds them."),
    _shared("heard_pages_total", "counter", lambda s: s.heard_pages, "Pages of ours that siblings said they used."),
    _shared("lag_misses_total", "counter", lambda s: s.lag_misses, "Pages told missing that a sibling had: follower lag."),
    # calls and health
    Metric("lsmkv_tensor_call_seconds", "histogram", ("call",), "How long calls took: ask, read, write.", ("times",), _times),
    Metric("lsmkv_tensor_state", "gauge", ("state",), "1 for the state of the store's health.", ("health",), _state),
    _health("breaker_trips", "trips", "Times that failures opened the breaker, or that the store was poisoned."),
    _health("breaker_attempts", "attempts", "Times that the disk was tried since."),
    _health("breaker_recoveries", "recoveries", "Times that it was found well again."),
)
