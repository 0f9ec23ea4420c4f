"""Timing operations on this machine: what a lookup, a filter, a block, an entry of a scan and a byte of a merge take.

A few stores of the same entries are filled one put after the other, each with another shape: few runs and many, with filters and
without, with a cache and without one. At each of them single lookups of absent and of present keys and scans of three lengths are
timed; the ledger says what each did. The prices are fitted to that (:func:`lsmkv.cost.fit_seconds`). Of several rounds the
fastest counts: what disturbs a timing only ever makes it longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

from lsmkv.cost.checks import whole
from lsmkv.cost.fit import Kind, Timing
from lsmkv.cost.ledger import window
from lsmkv.db import DB
from lsmkv.db import open as open_store
from lsmkv.env.clock import Clock, SystemClock
from lsmkv.env.fs import FileSystem
from lsmkv.env.rng import Rng, seeded
from lsmkv.maintain.scheduler import ManualScheduler
from lsmkv.options import Options
from lsmkv.policy.base import Policy
from lsmkv.policy.leveled import Leveled
from lsmkv.policy.tiered import Tiered

__all__ = ["STORES", "Calibrator"]


@dataclass(frozen=True, slots=True)
class _Store:
    """A store to time operations at."""

    policy: Policy
    filter_bits_per_key: float
    cached: bool


STORES = (
    _Store(Leveled(4), 10, cached=True),
    _Store(Leveled(10), 0, cached=True),
    _Store(Tiered(16), 10, cached=True),
    _Store(Tiered(16), 0, cached=True),
    _Store(Leveled(4), 10, cached=False),
    _Store(Tiered(16), 4, cached=False),
)
SCANS = (1, 32, 256)
"""Entries that the timed scans return."""
VALUE = b"v" * 84
"""With keys of 16 bytes, entries of 100."""
CACHE_BYTES = 256 << 20
FLUSHES, ENTRY_MEMORY_BYTES, MEMTABLE_BYTES = 26, 300, 16 << 10
"""Of a fill: enough for a dozen runs in a tiered store, not so many that making files is what is timed. What an entry takes in
memory. The least a memtable may have."""
SETTLE_EVERY = 100
"""Puts after which background work that is due is done: more often than memtables fill."""
FILL_STEPS = 8
"""Parts of a fill, each of them a timing: early ones merge less than later ones."""


class Calibrator:
    """Fills stores and times operations at them. Not safe for threads; the directory must be empty and is left full.

    Raises InvalidArgumentError for meaningless numbers.
    """

    def __init__(
        self,
        directory: str,
        *,
        entries: int = 60_000,
        operations: int = 1_000,
        rounds: int = 3,
        fs: FileSystem | None = None,
        clock: Clock | None = None,
        rng: Rng | None = None,
    ) -> None:
        self.directory = directory
        self.entries = whole("entries", entries, 1_000)
        self.operations = whole("operations", operations, 1)
        self.rounds = whole("rounds", rounds, 1)
        self._fs = fs
        self._clock = clock if clock is not None else SystemClock()
        self._rng = rng if rng is not None else seeded(1)

    def timings(self) -> Iterator[Timing]:
        """All timings, one after the other. I/O: fills one store for each of :data:`STORES` and reads it."""
        for number, store in enumerate(STORES):
            options = Options(
                policy=store.policy,
                filter_bits_per_key=store.filter_bits_per_key,
                block_cache_bytes=CACHE_BYTES if store.cached else 0,
                memtable_bytes=max(MEMTABLE_BYTES, self.entries * ENTRY_MEMORY_BYTES // FLUSHES),
                level0_runs=1,
                event_log=False,
                fs=self._fs,
                clock=self._clock,
                scheduler=ManualScheduler(),
            )
            with open_store(f"{self.directory}/store-{number}", options) as db:
                yield from self._fill(db)
                yield from self._ask(db)

    def _fill(self, db: DB) -> Iterator[Timing]:
        """Puts, with the merges that they cause."""
        step = self.entries // FILL_STEPS
        for first in range(0, step * FILL_STEPS, step):
            keys = [_key(i) for i in range(first, first + step)]

            yield self._timed(db, "update", step, partial(_put, db, keys))
        db.flush()
        db.settle()

    def _ask(self, db: DB) -> Iterator[Timing]:
        """Lookups and scans."""
        if db.options.block_cache_bytes:
            for _ in db.scan():  # each block comes into the cache, so that what is timed next is hits
                pass
        count = self.operations
        for missing in (True, False):
            yield self._fastest(db, "lookup", count, partial(self._gets, db, missing=missing))
        for length in SCANS:
            scans = max(1, count // (4 + length // 8))
            yield self._fastest(db, "scan", scans, partial(self._scans, db, scans, length), length)

    def _gets(self, db: DB, *, missing: bool) -> Callable[[], None]:
        """Single lookups of keys at random."""
        keys = [self._random_key(missing=missing) for _ in range(self.operations)]

        def get() -> None:
            """Look them up."""
            for key in keys:
                db.get(key)

        return get

    def _scans(self, db: DB, count: int, length: int) -> Callable[[], None]:
        """Scans from keys at random."""
        starts = [self._random_key() for _ in range(count)]

        def scan() -> None:
            """Make them."""
            for start in starts:
                for _ in islice(db.scan(start), length):
                    pass

        return scan

    def _random_key(self, *, missing: bool = False) -> bytes:
        """One that is there, or one like it that is not."""
        there = self.entries // FILL_STEPS * FILL_STEPS
        return _key(int(self._rng.random() * there) + there * missing)

    def _fastest(self, db: DB, kind: Kind, count: int, prepare: Callable[[], Callable[[], None]], length: int = 0) -> Timing:
        """The fastest of the rounds, each on keys of its own."""
        rounds = [self._timed(db, kind, count, prepare(), length) for _ in range(self.rounds)]
        return min(rounds, key=lambda timing: timing.seconds)

    def _timed(self, db: DB, kind: Kind, count: int, work: Callable[[], None], length: int = 0) -> Timing:
        """How long some work took, per operation, and what it did."""
        with window(db) as watched:
            begin = self._clock.monotonic()
            work()
            seconds = self._clock.monotonic() - begin
        account = watched.delta.account
        reads = account.range_reads if kind == "scan" else account.gets
        return Timing(
            kind=kind,
            seconds=max(seconds, 1e-9) / count,
            found=account.gets.found / count,
            filter_checks=account.gets.filter_checks / count,
            blocks=reads.block_fetches / count,
            block_reads=(reads.block_reads + reads.unfiltered_reads) / count,
            seeks=float(sum(len(level.runs) for level in db.tree().levels)) if kind == "scan" else 0.0,
            scan_entries=float(length),
            merge_bytes=(account.flush.written_bytes + account.merges.written_bytes) / count,
        )


def _put(db: DB, keys: list[bytes]) -> None:
    """Put them one by one, and do what is due."""
    for number, key in enumerate(keys, 1):
        db.put(key, VALUE)
        if number % SETTLE_EVERY == 0:
            db.settle()
    db.settle()


def _key(number: int) -> bytes:
    """Keys that lie anywhere, 16 bytes."""
    return b"%016x" % (number * 0x9E3779B97F4A7C15 % 2**64)
