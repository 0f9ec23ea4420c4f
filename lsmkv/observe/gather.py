"""Collecting a :class:`~lsmkv.observe.stats.Stats` from the parts of an open store."""

from __future__ import annotations

from lsmkv.base.ledger import Account
from lsmkv.cost.seen import predicted_rate, space_bound
from lsmkv.live.core import Core
from lsmkv.live.state import ReadState
from lsmkv.maintain.switching import current_report
from lsmkv.maintain.upkeep import Upkeep
from lsmkv.observe.stats import LevelStats, Stats
from lsmkv.version.shape import Level, TreeShape
from lsmkv.write.commit import Committer
from lsmkv.write.stall import StallGate

__all__ = ["gather", "level_stats"]


def level_stats(shape: TreeShape, since: Account) -> tuple[LevelStats, ...]:
    """One record per level, shallow first; ``since`` is what was counted since opening."""
    return tuple(_one_level(number, level, since) for number, level in enumerate(shape.levels))


def _one_level(number: int, level: Level, since: Account) -> LevelStats:
    """The record of one level."""
    tables = [t for run in level.runs for t in run.tables]
    entries = sum(t.entries for t in tables)
    return LevelStats(
        level=number,
        runs=len(level.runs),
        tables=len(tables),
        entries=entries,
        tombstones=sum(t.tombstones for t in tables),
        bytes=sum(t.bytes for t in tables),
        filter_bits_per_key=sum(t.filter_bits for t in tables) / entries if entries else 0.0,
        false_positive_rate=since.level(number).gets.false_positive_rate,
        predicted_false_positive_rate=predicted_rate(level),
    )


def gather(
    core: Core,
    state: ReadState,
    committer: Committer,
    gate: StallGate,
    upkeep: Upkeep,
    recovery: tuple[str, ...],
    *,
    walk: bool = True,
) -> Stats:
    """The record of this moment. ``walk``: find out what a change of policy still costs, else as the last task left it."""
    work, shape = core.work, core.state.shape
    since = core.ledger.account()
    gets, counters, lookups = since.gets, since.gets + since.range_reads, since.lookups
    error = upkeep.last_error
    return Stats(
        path=core.path,
        policy=core.state.policy,
        last_seq=committer.last_seq,
        levels=level_stats(shape, since),
        entries=shape.entries,
        bytes=shape.bytes,
        memtable_entries=state.mem.entries,
        memtable_bytes=state.mem.bytes,
        immutable_memtables=len(state.imms),
        range_deletes=len(state.ranges.fragments) if state.ranges is not None else 0,
        range_deleted_entries=work.range_deleted,
        snapshots=core.snapshots.settle(),
        open_tables=len(core.tables),
        wal_bytes=since.wal.written_bytes,
        wal_syncs=committer.syncs,
        flushes=work.flushes,
        flush_bytes=work.flush_bytes,
        compactions=work.compactions,
        compactions_apart=work.merges_apart,
        moved_tables=work.moves,
        compaction_read_bytes=work.read_bytes,
        compaction_written_bytes=work.written_bytes,
        write_amplification=(work.flush_bytes + work.written_bytes) / work.flush_bytes if work.flush_bytes else 0.0,
        read_amplification=(gets.block_reads + gets.unfiltered_reads) / lookups if lookups else None,
        space_amplification=space_bound(shape),
        blocks_per_lookup=gets.block_fetches / lookups if lookups else None,
        block_reads=counters.block_reads,
        block_read_bytes=counters.block_bytes,
        cache_hits=counters.cache_hits,
        cache_bytes=core.cache.bytes + core.cache.lent if core.cache is not None else 0,
        cache_capacity_bytes=core.options.block_cache_bytes,
        hash_column_bytes=core.tables.directory.taken,
        filter_checks=counters.filter_checks,
        filter_negatives=counters.filter_negatives,
        filter_false_positives=counters.filter_false_positives,
        slowdowns=dict(gate.slow.count),
        slowdown_seconds=dict(gate.slow.seconds),
        stalls=dict(gate.count),
        stall_seconds=dict(gate.seconds),
        background_waits=dict(core.throttle.count),
        background_wait_seconds=dict(core.throttle.seconds),
        background_failures=work.failures,
        last_error=str(error) if error is not None else "",
        event_log_failures=core.events.failures if core.events is not None else 0,
        transition=current_report(core) if walk else core.transition,
        controller=upkeep.steering.stats(),
        ledger=since,
        totals=core.ledger.totals(),
        since_switch=core.ledger.since_switch(),
        recovery=recovery,
    )
