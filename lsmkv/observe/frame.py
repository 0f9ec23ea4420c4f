"""What ``lsmkv top`` shows at one moment: a look at a store, and rates as the difference of two.

Rates come from the counters that a live writer tells in its status file. Two statuses of the same opening give the rate of the
time between them; a single one gives the average since opening, and says so. Where no writer tells, rates are what the event
log saw of flushes and compactions in the last minute. Nothing is guessed: a number nobody knows is None.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Literal

from lsmkv.base.ledger import Account
from lsmkv.env.clock import Clock
from lsmkv.env.fs import FileSystem
from lsmkv.observe.onlook import Look, State, look, number
from lsmkv.observe.picture import LevelRow, rows

__all__ = ["Frame", "Memory", "Rates", "Stall", "Watcher"]

EVENT_WINDOW_S = 60.0
"""How far back rates from the event log look."""

SHORTEST_S = 0.05
"""Two statuses nearer to each other than this give no rate."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Per second; None: nobody tells."""

    source: Literal["status", "opening", "events"]
    """The difference of two statuses; the average since opening; the event log."""
    over_s: float
    writes_per_s: float | None = None
    """Puts and deletes committed."""
    write_bytes_per_s: float | None = None
    """Bytes of their keys and values."""
    lookups_per_s: float | None = None
    """Keys looked up that no memtable answered."""
    scans_per_s: float | None = None
    wal_bytes_per_s: float | None = None
    flush_bytes_per_s: float = 0.0
    compaction_read_bytes_per_s: float = 0.0
    compaction_written_bytes_per_s: float = 0.0
    level_bytes_per_s: tuple[float, ...] = ()
    """Bytes written into each level, by flushes (level 0) and merges."""
    stalled_share: float | None = None
    """Seconds writes were stopped, per second."""
    slowed_share: float | None = None
    """Seconds writes were slowed down, all writers together, per second."""
    cache_hit_ratio: float | None = None
    """Of the blocks fetched in this time, the share that the cache had; None: none was fetched."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Waits of writes for one reason, since opening."""

    reason: str
    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Memtables and block cache of a live writer, in bytes."""

    memtable_bytes: int
    memtable_limit_bytes: int
    immutable_memtables: int
    max_immutables: int
    cache_bytes: int
    cache_capacity_bytes: int
    cache_hit_ratio: float | None
    """Since opening."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything one refresh shows. Times in seconds since 1970."""

    at_s: float
    path: str
    state: State
    about: str
    status_age_s: float | None
    up_s: float | None
    """Since opening: what the last status says and, while its writer is taken to be alive, the age of that status."""
    policy: Mapping[str, object] | None
    levels: tuple[LevelRow, ...]
    entries: int
    tables: int
    table_bytes: int
    log_bytes: int
    logs: int
    rates: Rates | None
    memory: Memory | None
    stalls: tuple[Stall, ...]
    slowdowns: tuple[Stall, ...]
    blocked: str
    """What stands in the way of the next full memtable; empty: nothing."""
    slowed: str
    """What makes writes slower; empty: nothing."""
    failures: int
    last_error: str
    write_amplification: float | None
    read_amplification: float | None
    transition: Mapping[str, object] | None
    """The change of policy going on, or the last one."""
    events: tuple[Mapping[str, object], ...]
    """The last ones, oldest first, without their pictures of the tree."""

    def to_dict(self) -> dict[str, object]:
        """Plain values, ready for JSON."""
        return asdict(self)


class Watcher:
    """Looks at the store at ``path`` again and again."""

    def __init__(self, fs: FileSystem, path: str, clock: Clock, inside: Callable[[], str] | None = None) -> None:
        """``inside`` is asked before each look where the store's tree is, if not at ``path`` itself."""
        self._fs = fs
        self._path = path
        self._inside = inside
        self._clock = clock
        self._statuses: deque[Mapping[str, object]] = deque(maxlen=2)

    def frame(self) -> Frame:
        """What there is to see now. Never fails. I/O: as :func:`lsmkv.observe.onlook.look`."""
        seen = look(self._fs, self._inside() if self._inside is not None else self._path, self._clock)
        status = seen.status
        if status is None:
            self._statuses.clear()
        elif not self._statuses or status != self._statuses[-1]:
            if self._statuses and status.get("opened_s") != self._statuses[-1].get("opened_s"):
                self._statuses.clear()
            self._statuses.append(status)
        return _frame(seen, self._rates(seen))

    def _rates(self, seen: Look) -> Rates | None:
        """What is known of speeds."""
        if seen.state in ("open", "idle") and self._statuses:
            now = self._statuses[-1]
            before = self._statuses[0] if len(self._statuses) > 1 else None
            if seen.state == "idle":
                return _between(now, now, max(seen.at_s - number(now, "at_s"), SHORTEST_S))
            over = number(now, "up_s") - (number(before, "up_s") if before is not None else 0.0)
            return _between(before, now, over) if over >= SHORTEST_S else None
        return _of_events(seen) if seen.state == "unknown" else None


def _account(status: Mapping[str, object]) -> Account:
    """What the writer counted since it opened the store."""
    return Account.from_dict(_stats(status).get("ledger"))


def _stats(status: Mapping[str, object]) -> Mapping[str, object]:
    """The statistics in a status."""
    stats = status.get("stats")
    return stats if isinstance(stats, Mapping) else {}


def _waited(status: Mapping[str, object], field: str) -> float:
    """Seconds that writes waited since opening."""
    seconds = _stats(status).get(field)
    return sum(s for s in seconds.values() if isinstance(s, int | float)) if isinstance(seconds, Mapping) else 0.0


def _between(before: Mapping[str, object] | None, now: Mapping[str, object], over_s: float) -> Rates:
    """Rates between two statuses; without a first one, since opening."""
    done = _account(now) - (_account(before) if before is not None else Account())
    stalled, slowed = (
        _waited(now, field) - (_waited(before, field) if before is not None else 0.0)
        for field in ("stall_seconds", "slowdown_seconds")
    )
    fetched = done.gets + done.range_reads
    levels = [level.merges.written_bytes for level in done.levels] or [0]
    levels[0] += done.flush.written_bytes
    return Rates(
        source="status" if before is not None else "opening",
        over_s=round(over_s, 3),
        writes_per_s=done.entries / over_s,
        write_bytes_per_s=done.entry_bytes / over_s,
        lookups_per_s=done.lookups / over_s,
        scans_per_s=done.scans / over_s,
        wal_bytes_per_s=done.wal.written_bytes / over_s,
        flush_bytes_per_s=done.flush.written_bytes / over_s,
        compaction_read_bytes_per_s=done.merges.read_bytes / over_s,
        compaction_written_bytes_per_s=done.merges.written_bytes / over_s,
        level_bytes_per_s=tuple(size / over_s for size in levels),
        stalled_share=stalled / over_s,
        slowed_share=slowed / over_s,
        cache_hit_ratio=fetched.cache_hits / fetched.block_fetches if fetched.block_fetches else None,
    )


def _of_events(seen: Look) -> Rates | None:
    """Rates of flushes and compactions in the last minute of the event log, as far as the events at hand reach."""
    if not seen.events:
        return None
    since = max(seen.at_s - EVENT_WINDOW_S, number(seen.events[0], "at_s"))
    over_s = seen.at_s - since
    recent = [event for event in seen.events if number(event, "at_s") >= since]
    if over_s < SHORTEST_S:
        return None
    return Rates(
        source="events",
        over_s=round(over_s, 3),
        flush_bytes_per_s=sum(number(e, "bytes") for e in recent if e["kind"] == "flush") / over_s,
        compaction_read_bytes_per_s=sum(number(e, "read_bytes") for e in recent if e["kind"] == "compaction") / over_s,
        compaction_written_bytes_per_s=sum(number(e, "written_bytes") for e in recent if e["kind"] == "compaction") / over_s,
    )


def _frame(seen: Look, rates: Rates | None) -> Frame:
    """Everything together."""
    status, manifest, files = seen.status, seen.manifest, seen.files
    stats = _stats(status) if status is not None else {}
    shape = manifest.shape if manifest is not None else None
    if shape is not None and status is not None and (runs := int(number(status, "level0_runs"))):
        shape = replace(shape, level0_runs=runs)
    logs = (
        [size for n, size in files.logs.items() if n >= manifest.wal_floor] if files is not None and manifest is not None else []
    )
    live = seen.state in ("open", "idle", "silent")
    age_s = max(seen.at_s - number(status, "at_s"), 0.0) if status is not None else None
    return Frame(
        at_s=seen.at_s,
        path=seen.path,
        state=seen.state,
        about=seen.about,
        status_age_s=age_s,
        up_s=number(status, "up_s") + (age_s or 0.0) * (seen.state in ("open", "idle")) if status is not None else None,
        policy=manifest.policy if manifest is not None else None,
        levels=rows(shape, manifest.policy) if shape is not None and manifest is not None else (),
        entries=shape.entries if shape is not None else 0,
        tables=len(shape.tables) if shape is not None else 0,
        table_bytes=shape.bytes if shape is not None else 0,
        log_bytes=sum(logs),
        logs=len(logs),
        rates=rates,
        memory=_memory(status) if status is not None and live else None,
        stalls=_waits(stats, "stalls", "stall_seconds"),
        slowdowns=_waits(stats, "slowdowns", "slowdown_seconds"),
        blocked=str(status.get("blocked", "")) if status is not None and live else "",
        slowed=str(status.get("slowed", "")) if status is not None and live else "",
        failures=int(number(stats, "background_failures")),
        last_error=str(stats.get("last_error", "")),
        write_amplification=number(stats, "write_amplification") or None,
        read_amplification=number(stats, "read_amplification") if stats.get("read_amplification") is not None else None,
        transition=_transition(stats, manifest.transition if manifest is not None else {}),
        events=tuple({name: fact for name, fact in e.items() if name not in ("levels", "buffer_entries")} for e in seen.events),
    )


def _transition(stats: Mapping[str, object], recorded: Mapping[str, object]) -> Mapping[str, object] | None:
    """The last change of policy: as the writer tells it, else as the manifest has it."""
    told = stats.get("transition")
    return told if isinstance(told, Mapping) else recorded or None


def _waits(stats: Mapping[str, object], count: str, time: str) -> tuple[Stall, ...]:
    """Waits by reason."""
    counts, seconds = stats.get(count), stats.get(time)
    if not isinstance(counts, Mapping) or not isinstance(seconds, Mapping):
        return ()
    return tuple(Stall(str(reason), int(number(counts, reason)), number(seconds, reason)) for reason in counts)


def _memory(status: Mapping[str, object]) -> Memory:
    """Memtables and cache."""
    stats = _stats(status)
    done = _account(status)
    fetched = done.gets + done.range_reads
    return Memory(
        memtable_bytes=int(number(stats, "memtable_bytes")),
        memtable_limit_bytes=int(number(status, "memtable_limit_bytes")),
        immutable_memtables=int(number(stats, "immutable_memtables")),
        max_immutables=int(number(status, "max_immutables")),
        cache_bytes=int(number(stats, "cache_bytes")),
        cache_capacity_bytes=int(number(stats, "cache_capacity_bytes")),
        cache_hit_ratio=fetched.cache_hits / fetched.block_fetches if fetched.block_fetches else None,
    )
