"""What an owner may choose about a page store: one frozen record; every field says default, unit and effect."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from lsmkv.env.clock import Clock
from lsmkv.env.fs import FileSystem
from lsmkv.env.rng import Rng
from lsmkv.env.scheduling import Scheduler
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.retention.steering_settings import StoreController
from lsmkv_tensor.vlog.layout import BLOCK, MAX_SEGMENT_BYTES

__all__ = ["StoreOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """How to open a page store.

    All fields are fixed while it is open; all may differ from one opening to the next, except ``segment_bytes``, which is
    recorded when the store is created.
    """

    # behaviour
    capacity_bytes: int = 16 << 30
    """Bytes on disk the store may take in all: segments (charged whole when allocated), index, and its temporaries. A hard
    bound. A smaller value than last time evicts at opening."""
    io_timeout_s: float | None = None
    """Seconds after which a call that asks or reads gives up on a disk that hangs: what has not arrived is a miss. Each call's
    ``deadline_s`` goes before it. None: calls without a deadline wait, and read straight into the caller's memory; with a
    deadline pages come from the page cache where they can, else they are copied once more."""
    breaker_failures: int = 5
    """Failures in a row, of reads or of writes, after which the disk is left alone: asking is a miss, putting is declined, and a
    worker tries the disk after a back-off. It also reopens a store that a failed sync has poisoned. 0: never; errors are raised
    where the operation's contract has them, and reopening is the caller's."""
    prefill_tokens_per_s: float | None = None
    """Tokens a second that the model computes when nothing is loaded: what ``TensorStore.plan`` compares loading with. None: the
    plan says only how long loading takes."""

    put_queue_bytes: int = 0
    """Bytes of pages that may wait to be written. 0: a put writes before it returns. More: ``put_batch`` and ``put_many`` copy
    the pages, return, and a worker writes; pages for which there is no room are declined, nobody waits."""
    put_queue_pages: int = 65_536
    """Pages that may wait to be written, however small."""
    eviction: str = "mq"
    """Which pages go first when room is needed: ``fifo``, ``lru``, ``countlru``, ``mq``, ``name,parameter=value``, or
    ``module:Class``."""
    admission: str = "all"
    """Which offered pages are worth a write: "all", or another policy's name as for ``eviction``."""
    write_bytes_per_day: float | None = None
    """Bytes a day that the admission policy may have written, garbage collection included. None: any."""
    controller: StoreController | None = None
    """Chooses the admission by what hits are worth in bytes written, or only says what it would choose (docs/controller.md).
    None: nobody does."""
    gc_bytes_per_s: int | None = None
    """Bytes a second that background reclaiming reads and writes, in the mean. None: as needed."""
    idle_after_s: float | None = None
    """Seconds after which a namespace that nobody opened is idle: its pages go before anybody else's. None: only if it was
    retired (``retire_namespace``)."""
    min_free_bytes: int = 0
    """Free bytes of the file system to leave to others: below, no segment is allocated and free ones are removed. 0: no floor."""

    # performance
    segment_bytes: int | None = None
    """Size of a value-log segment, the unit of allocation and eviction; rounded up to 4096. None: as recorded, for a new
    store ``capacity/64`` between 16.25 MiB and 256 MiB and at most an eighth of what the index leaves. The largest page is
    three blocks smaller."""
    index_bytes: int | None = None
    """Share of the capacity kept for the index and its compaction temporaries. None: ``capacity/32``, at least 2 MiB. When
    the index would outgrow it, pages are evicted."""
    direct_io: Literal["auto", "always", "off"] = "auto"
    """"auto": write segments with O_DIRECT where the file system accepts it, buffered otherwise. What the page cache does not
    hold is read past it the first time, and through it the second (docs/valuelog.md). "always": read with O_DIRECT, too: the
    page cache holds nothing of the pages, and each read comes from the device. "off": neither."""
    keep_cached: bool = True
    """False: what was read, or written and synced, through the page cache is dropped from it, so that a container's memory limit
    does not pay for it."""
    read_threads: int | None = None
    """Threads that read and check the pages of one large call (from 4 MiB on), the caller's own included. 1: no other thread
    reads. None: the processors this process may run on, at most 4; 1 with a file system of your own."""
    block_cache_bytes: int = 16 << 20
    """Bytes of index blocks kept in memory; half as many again may be taken by what finds keys that lie anywhere (hash columns).
    16 MiB: with it, what a million pages take in memory stays below 150 bytes each."""
    known_pages: int = 32_768
    """Pages that are known to be stored, at most: a lookup of these alone reads nothing, and needs no other thread that could be
    left. About 125 bytes each, 330 where keys are given as text. Beyond that the index is asked. 0: it is asked for each.
    Of those that were read last, 16,384 at most, it is also known where they are: 300 bytes each."""

    # seams
    fs: FileSystem | None = None
    """File system; None: the machine's."""
    clock: Clock | None = None
    """Clock; None: the machine's."""
    rng: Rng | None = None
    """Random source (store identity, index memtable); None: seeded by the system."""
    scheduler: Scheduler | None = None
    """Who runs the index's flushes and compactions; None: background threads of this store."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, naming the field."""
        _integer("capacity_bytes", self.capacity_bytes, 1)
        _integer("block_cache_bytes", self.block_cache_bytes, 0)
        _integer("known_pages", self.known_pages, 0)
        _integer("put_queue_bytes", self.put_queue_bytes, 0)
        _integer("put_queue_pages", self.put_queue_pages, 1)
        if self.gc_bytes_per_s is not None:
            _integer("gc_bytes_per_s", self.gc_bytes_per_s, 1)
        _integer("min_free_bytes", self.min_free_bytes, 0)
        _integer("breaker_failures", self.breaker_failures, 0)
        if self.read_threads is not None:
            _integer("read_threads", self.read_threads, 1)
        if self.segment_bytes is not None:
            _integer("segment_bytes", self.segment_bytes, 4 * BLOCK)
            if self.segment_bytes > MAX_SEGMENT_BYTES:
                _refuse("segment_bytes", self.segment_bytes, f"at most {MAX_SEGMENT_BYTES}")
        if self.index_bytes is not None:
            _integer("index_bytes", self.index_bytes, 64 << 10)
        for name in ("io_timeout_s", "prefill_tokens_per_s", "idle_after_s", "write_bytes_per_day"):
            if getattr(self, name) is not None:
                _positive(name, getattr(self, name))
        for name in ("eviction", "admission"):
            if not isinstance(getattr(self, name), str):
                _refuse(name, getattr(self, name), "the name of a policy, such as 'mq', 'all' or 'module:Class'")
        if self.controller is not None and not isinstance(self.controller, StoreController):
            _refuse("controller", self.controller, "a StoreController, or None")
        if self.direct_io not in ("auto", "always", "off"):
            _refuse("direct_io", self.direct_io, '"auto", "always" or "off"')
        if not isinstance(self.keep_cached, bool):
            _refuse("keep_cached", self.keep_cached, "True or False")


def _integer(name: str, value: object, low: int) -> None:
    """Refuse anything but an integer of at least ``low``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        _refuse(name, value, f"an integer of at least {low}")


def _positive(name: str, value: object) -> None:
    """Refuse anything but a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        _refuse(name, value, "a number above 0")


def _refuse(name: str, value: object, allowed: str) -> None:
    """InvalidArgumentError naming the field, its value and what is allowed."""
    msg = f"StoreOptions.{name} = {value!r}: must be {allowed}"
    raise InvalidArgumentError(msg)
