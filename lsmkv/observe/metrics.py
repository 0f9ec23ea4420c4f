"""The metrics of a store: fixed names, units and labels, and where in the statistics each comes from. Pure; needs no package.

Names follow the Prometheus conventions: prefix ``lsmkv_``, base units (seconds, bytes, ratios from 0 to 1), counters end in
``_total``. Counters count since the store was opened; whoever computes rates knows that they start again. Every label has a
small, fixed set of values: levels, causes, reasons, one policy. A number that does not exist yet (a rate before the first
event) has no sample. :class:`lsmkv.metrics.Collector` hands this to prometheus-client; docs/metrics.md is the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from lsmkv.base.ledger import LevelAccount
from lsmkv.observe.stats import LevelStats, Stats

__all__ = ["CATALOGUE", "NO_METRIC", "Metric", "Sample"]

Sample: TypeAlias = tuple[tuple[str, ...], float]
"""Values of the labels, and the number."""

STALL_REASONS = ("memtables", "level0")
"""Reasons that are told from the start, with zero: a rate needs a first value."""

LIMITED_WORK = ("flush", "compact")
"""What waits for the limit on background work."""

NO_METRIC = {
    "path": "the label `store` says which one",
    "entries": "the sum of `lsmkv_level_entries`",
    "bytes": "the sum of `lsmkv_level_bytes`",
    "controller": "a record of its own: `db.stats().controller` and `lsmkv controller log` tell it",
    "last_error": "a sentence: no label may hold one; `lsmkv top` and the log of your program show it",
    "since_switch": "what `lsmkv explain` tells; a metrics server has the event of the change and the counts before it",
    "totals": "since the store was created: a metrics server adds up restarts itself (`increase`)",
}
"""Fields of the statistics that are no metric, and why."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One family of time series."""

    name: str
    """As scraped, ``_total`` included."""
    kind: Literal["counter", "gauge"]
    labels: tuple[str, ...]
    """Beside ``store``, which every metric has."""
    help: str
    fields: tuple[str, ...]
    """Fields of :class:`~lsmkv.observe.stats.Stats` it tells."""
    read: Callable[[Stats], Iterable[Sample]]
    """Its samples."""


def _one(name: str, kind: Literal["counter", "gauge"], field: str, about: str) -> Metric:
    """A field that is a number, or None."""

    def read(stats: Stats) -> Iterator[Sample]:
        """Its samples."""
        value = getattr(stats, field)
        if value is not None:
            yield (), value

    return Metric(f"lsmkv_{name}", kind, (), about, (field,), read)


def _per_level(name: str, field: str, about: str) -> Metric:
    """A gauge with a value for each level that has one."""

    def read(stats: Stats) -> Iterator[Sample]:
        """Its samples."""
        for level in stats.levels:
            value = getattr(level, field)
            if value is not None:
                yield (str(level.level),), value

    assert field in LevelStats.__slots__
    return Metric(f"lsmkv_level_{name}", "gauge", ("level",), about, ("levels",), read)


def _counted(name: str, about: str, pick: Callable[[LevelAccount], int], *also: str) -> Metric:
    """A counter of the ledger that every level has."""

    def read(stats: Stats) -> Iterator[Sample]:
        """Its samples."""
        for number, level in enumerate(stats.ledger.levels):
            yield (str(number),), pick(level)

    return Metric(f"lsmkv_{name}", "counter", ("level",), about, ("ledger", *also), read)


Row: TypeAlias = Iterator[tuple[str, str, int]]
"""Cause, level (empty: of the store as a whole), count."""


def _by_cause(name: str, about: str, rows: Callable[[Stats], Row], *also: str) -> Metric:
    """A counter of the ledger by cause and level."""

    def read(stats: Stats) -> Iterator[Sample]:
        """Its samples."""
        for cause, level, count in rows(stats):
            yield (cause, level), count

    return Metric(f"lsmkv_{name}", "counter", ("cause", "level"), about, ("ledger", *also), read)


def _read_bytes(stats: Stats) -> Row:
    """Bytes that came from files."""
    for number, level in enumerate(stats.ledger.levels):
        yield "get", str(number), level.gets.block_bytes
        yield "scan", str(number), level.scans.block_bytes
        yield "compaction", str(number), level.merges.read_bytes
        yield "open", str(number), level.opens.read_bytes
    yield "wal", "", stats.ledger.wal.read_bytes
    yield "manifest", "", stats.ledger.manifest.read_bytes


def _reads(stats: Stats) -> Row:
    """Reads that reached the file system."""
    for number, level in enumerate(stats.ledger.levels):
        yield "get", str(number), level.gets.block_reads - level.gets.joined_reads + level.gets.unfiltered_reads
        yield "scan", str(number), level.scans.block_reads
        yield "compaction", str(number), level.merges.reads
        yield "open", str(number), level.opens.reads
    yield "wal", "", stats.ledger.wal.reads
    yield "manifest", "", stats.ledger.manifest.reads


def _written_bytes(stats: Stats) -> Row:
    """Bytes that went to files."""
    yield "flush", "0", stats.ledger.flush.written_bytes
    for number, level in enumerate(stats.ledger.levels):
        yield "compaction", str(number), level.merges.written_bytes
    yield "load", "", stats.ledger.load.written_bytes
    yield "wal", "", stats.ledger.wal.written_bytes
    yield "manifest", "", stats.ledger.manifest.written_bytes


def _written_entries(stats: Stats) -> Row:
    """Entries that went into tables."""
    yield "flush", "0", stats.ledger.flush.written_entries
    for number, level in enumerate(stats.ledger.levels):
        yield "compaction", str(number), level.merges.written_entries
    yield "load", "", stats.ledger.load.written_entries


def _syncs(stats: Stats) -> Row:
    """Calls of fdatasync."""
    ledger = stats.ledger
    yield "flush", "", ledger.flush.syncs
    yield "compaction", "", ledger.merges.syncs
    yield "load", "", ledger.load.syncs
    yield "wal", "", ledger.wal.syncs
    yield "manifest", "", ledger.manifest.syncs


def _hits(stats: Stats) -> Row:
    """Blocks found in the cache."""
    for number, level in enumerate(stats.ledger.levels):
        yield "get", str(number), level.gets.cache_hits
        yield "scan", str(number), level.scans.cache_hits


def _misses(stats: Stats) -> Row:
    """Blocks read from files by reads."""
    for number, level in enumerate(stats.ledger.levels):
        yield "get", str(number), level.gets.block_reads
        yield "scan", str(number), level.scans.block_reads


def _waits(name: str, field: str, about: str, label: str, values: tuple[str, ...]) -> Metric:
    """A counter of waits by reason or work; those not met yet are zero."""

    def read(stats: Stats) -> Iterator[Sample]:
        """Its samples."""
        told = getattr(stats, field)
        for value in (*values, *(v for v in told if v not in values)):
            yield (value,), told.get(value, 0)

    return Metric(f"lsmkv_{name}", "counter", (label,), about, (field,), read)


def _stalls(name: str, field: str, about: str) -> Metric:
    """Waits of writes, by reason."""
    return _waits(name, field, about, "reason", STALL_REASONS)


def _limited(name: str, field: str, about: str) -> Metric:
    """Waits of background work, by kind."""
    return _waits(name, field, about, "work", LIMITED_WORK)


def _ledger(name: str, about: str, pick: Callable[[Stats], int]) -> Metric:
    """A counter of the ledger for the whole store."""
    return Metric(f"lsmkv_{name}", "counter", (), about, ("ledger",), lambda stats: [((), pick(stats))])


def _transition(name: str, about: str, pick: Callable[[Stats], float]) -> Metric:
    """A gauge of the last change of policy; nothing where there was none."""
    return Metric(
        f"lsmkv_transition_{name}",
        "gauge",
        (),
        about,
        ("transition",),
        lambda stats: [((), pick(stats))] if stats.transition is not None else [],
    )


def _left(stats: Stats, field: Literal["predicted", "remaining"], part: Literal["bytes", "steps"]) -> float:
    """A debt of the last change of policy."""
    assert stats.transition is not None
    return float(getattr(getattr(stats.transition, field), part))


def _paid(stats: Stats) -> float:
    """What has been paid of it."""
    assert stats.transition is not None
    return stats.transition.paid_bytes


CATALOGUE: tuple[Metric, ...] = (
    Metric(
        "lsmkv_policy_info",
        "gauge",
        ("policy",),
        "1 for the compaction policy that shapes the tree.",
        ("policy",),
        lambda stats: [((str(stats.policy.get("name", "unknown")),), 1.0)],
    ),
    # the tree
    _per_level("runs", "runs", "Sorted runs of a level."),
    _per_level("tables", "tables", "Table files of a level."),
    _per_level("entries", "entries", "Entries of a level, tombstones and shadowed versions included."),
    _per_level("tombstones", "tombstones", "Tombstones of a level."),
    _per_level("bytes", "bytes", "File bytes of a level."),
    _per_level("filter_bits_per_key", "filter_bits_per_key", "Bloom filter bits per entry of a level."),
    _per_level(
        "false_positive_ratio", "false_positive_rate", "Share of absent keys that the filters of a level let through, measured."
    ),
    _per_level("predicted_false_positive_ratio", "predicted_false_positive_rate", "The same as the filters there now predict."),
    _one("memtable_entries", "gauge", "memtable_entries", "Entries in the memtable that takes writes."),
    _one("memtable_bytes", "gauge", "memtable_bytes", "Bytes in the memtable that takes writes."),
    _one("immutable_memtables", "gauge", "immutable_memtables", "Full memtables that wait for their flush."),
    _one("range_deletes", "gauge", "range_deletes", "Fragments of the key space that range deletes cover and reads ask about."),
    _one("range_deleted_entries_total", "counter", "range_deleted_entries", "Entries that range deletes let compactions drop."),
    _one("snapshots", "gauge", "snapshots", "Snapshots and scans alive."),
    _one("open_tables", "gauge", "open_tables", "Table files kept open."),
    _one("last_sequence_number", "gauge", "last_seq", "Sequence number of the last write; a clean restart does not reset it."),
    # what it costs
    _one("write_amplification", "gauge", "write_amplification", "Bytes written by flushes and compactions per byte flushed."),
    _one("read_amplification", "gauge", "read_amplification", "Blocks read from files per key that no memtable answered."),
    _one("space_amplification", "gauge", "space_amplification", "Entries in tables over the fewest that can be live: a bound."),
    _one("blocks_per_lookup", "gauge", "blocks_per_lookup", "Blocks fetched, cache or file, per key that no memtable answered."),
    # calls
    _ledger("committed_entries_total", "Puts and deletes committed.", lambda s: s.ledger.entries),
    _ledger("committed_bytes_total", "Bytes of their keys and values.", lambda s: s.ledger.entry_bytes),
    _ledger("lookups_total", "Keys looked up that no memtable answered.", lambda s: s.ledger.lookups),
    _ledger("absent_lookups_total", "Keys looked up that neither a memtable nor a table held.", lambda s: s.ledger.absent),
    _ledger("scans_total", "Scans begun.", lambda s: s.ledger.scans),
    _counted("found_total", "Keys that a lookup found in a level.", lambda level: level.gets.found),
    _counted("filter_checks_total", "Keys asked of filters.", lambda level: level.gets.filter_checks, "filter_checks"),
    _counted(
        "filter_negatives_total", "Keys that filters ruled out.", lambda level: level.gets.filter_negatives, "filter_negatives"
    ),
    _counted(
        "filter_false_positives_total",
        "Absent keys let through.",
        lambda level: level.gets.filter_false_positives,
        "filter_false_positives",
    ),
    # the cache
    _one("cache_bytes", "gauge", "cache_bytes", "Bytes of blocks in the block cache."),
    _one("cache_capacity_bytes", "gauge", "cache_capacity_bytes", "Bytes that the block cache may hold."),
    _one("hash_column_bytes", "gauge", "hash_column_bytes", "Bytes of hash columns, and of finders without values."),
    _by_cause("cache_hits_total", "Blocks that lookups and scans found in the cache.", _hits, "cache_hits"),
    _by_cause("cache_misses_total", "Blocks that they read from files.", _misses, "block_reads"),
    # files
    _by_cause("read_bytes_total", "Bytes read from files.", _read_bytes, "block_read_bytes", "compaction_read_bytes"),
    _by_cause("reads_total", "Reads of files.", _reads),
    _by_cause(
        "written_bytes_total", "Bytes written to files.", _written_bytes, "flush_bytes", "compaction_written_bytes", "wal_bytes"
    ),
    _by_cause("written_entries_total", "Entries written to tables.", _written_entries),
    Metric(
        "lsmkv_syncs_total",
        "counter",
        ("cause",),
        "Calls of fdatasync.",
        ("ledger",),
        lambda stats: [((cause,), count) for cause, _, count in _syncs(stats)],
    ),
    _one("wal_sync_requests_total", "counter", "wal_syncs", "Times that everything written so far was made durable."),
    # background work
    _one("flushes_total", "counter", "flushes", "Memtables made into tables."),
    _counted("compactions_total", "Merges into a level.", lambda level: level.merges.tasks, "compactions"),
    _one("compactions_apart_total", "counter", "compactions_apart", "Merges that the helper process did, of all levels."),
    _one("moved_tables_total", "counter", "moved_tables", "Tables that changed their level without being read or written."),
    _counted("dropped_tables_total", "Tables of a level deleted as they were (FIFO).", lambda level: level.merges.drops),
    _stalls("slowdowns_total", "slowdowns", "Waits of writes that were slowed down because background work was behind."),
    _stalls("slowdown_seconds_total", "slowdown_seconds", "Seconds of these waits, all writers together."),
    _stalls("stalls_total", "stalls", "Writes that were stopped until background work had made room."),
    _stalls("stall_seconds_total", "stall_seconds", "Seconds they waited; of a wait in progress, nothing yet."),
    _limited("background_waits_total", "background_waits", "Waits of flushes and compactions for the limit on their bytes."),
    _limited("background_wait_seconds_total", "background_wait_seconds", "Seconds of these waits."),
    _one("background_failures_total", "counter", "background_failures", "Flushes and compactions that failed and were retried."),
    _one("event_log_failures_total", "counter", "event_log_failures", "Events that could not be written to the event log."),
    # change of policy
    _transition("active", "1 while a change of policy is being paid for, 0 after.", lambda s: float(not _done(s))),
    _transition(
        "predicted_bytes", "Bytes to merge that the change was predicted to cost.", lambda s: _left(s, "predicted", "bytes")
    ),
    _transition("paid_bytes", "Bytes merged for it so far.", _paid),
    _transition("remaining_bytes", "Bytes still to merge for it.", lambda s: _left(s, "remaining", "bytes")),
    _transition("remaining_tasks", "Compactions still to do for it.", lambda s: _left(s, "remaining", "steps")),
    # the last opening
    Metric(
        "lsmkv_recovery_notes",
        "gauge",
        (),
        "Things that opening found worth telling: dropped tails of logs, removed files. 0 after a clean close.",
        ("recovery",),
        lambda stats: [((), float(len(stats.recovery)))],
    ),
)
"""Every metric, in the order of a scrape; ``lsmkv_up`` comes before them."""


def _done(stats: Stats) -> bool:
    """Whether the last change of policy is paid."""
    assert stats.transition is not None
    return stats.transition.done
