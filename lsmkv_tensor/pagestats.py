"""What a page store says of itself: one frozen record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lsmkv_tensor.retention.steering_settings import StoreControllerStats
from lsmkv_tensor.runtime import Health
from lsmkv_tensor.runtime.calltimes import Times
from lsmkv_tensor.runtime.waterfall import Asked
from lsmkv_tensor.sharing.stats import SharingStats

__all__ = ["PageStoreStats"]


@dataclass(frozen=True, slots=True)
class PageStoreStats:
    """A store at one moment. Counters run from opening."""

    pages: int
    """Pages stored now, all namespaces."""
    live_bytes: int
    """Bytes of these pages in segments, padding included."""
    physical_bytes: int
    """Bytes of all segment files and the index on disk."""
    capacity_bytes: int
    index_bytes: int
    """Bytes of the index on disk."""
    index_share_bytes: int
    segment_bytes: int
    segments: int
    """Segment files."""
    segments_max: int
    disks: int
    """Directories that hold segments, or should."""
    failed_disks: int
    """Those that were missing at opening or have failed since: their pages are misses, and nothing is written there."""
    disks_left_alone: int
    """Disks, of several, from which reads failed in a row: their pages are misses until the disk is well when it is tried."""
    sealed_segments: int
    free_segments: int
    direct_io: bool
    """Whether segments are written with O_DIRECT."""
    namespaces: int
    hits: int
    misses: int
    corrupt_pages: int
    lost_pages: int
    """Pages dropped because their segment file was missing at opening, or reused since."""
    read_errors: int
    late_pages: int
    """Pages asked for and not delivered by their deadline."""
    hanging_reads: int
    """Reads whose callers have left and that have not ended."""
    put_pages: int
    put_bytes: int
    """Bytes of the pages newly stored."""
    put_stored_bytes: int
    """Bytes that they take as their namespace's codec wrote them, padding not included."""
    present_pages: int
    """Pages offered that were there already."""
    declined_pages: int
    """Pages offered and not stored: no space, or a write failed."""
    queued_pages: int
    """Pages accepted and waiting to be written."""
    queued_bytes: int
    queue_accepted_pages: int
    queue_declined_pages: int
    """Pages offered that the queue had no room for; not part of ``declined_pages``."""
    queue_failed_calls: int
    """Accepted calls whose write raised: their pages are lost."""
    refused_pages: int
    """Pages offered and not stored: the admission policy did not think them worth a write."""
    deleted_pages: int
    evicted_pages: int
    recycled_segments: int
    read_bytes: int
    written_bytes: int
    """Bytes given to the file system for segments: pages, headers, padding, moved pages."""
    bounced_bytes: int
    """Part of it that was copied to aligned memory first."""
    gc_runs: int
    gc_segments: int
    gc_moved_bytes: int
    gc_read_bytes: int
    gc_dropped_pages: int
    """Pages given up because the segment they were in was reclaimed."""
    pinned_bytes: int
    """Bytes of pages that may not be evicted now: pinned, or held by a put on its way."""
    untold_uses: int
    """Uses of pages that the eviction policy never heard of, nearly: too many waited to be told to it."""
    waterfall: Mapping[str, Asked]
    """Tokens asked for, found, and lost by cause: "ask" of probes, "get" of reads."""
    times: Mapping[str, Times]
    """How long calls took: "ask", "read", "write" (those that the queue took are not among these)."""
    upkeep_failures: int
    """Steps of background reclaiming that ended in an error and are tried again."""
    health: Health
    callback_errors: int
    """Eviction callbacks that raised."""
    sharing: SharingStats | None = None
    """The siblings and what they delivered (part of ``hits``); None: not shared."""
    controller: StoreControllerStats | None = None
    """What the controller sees and does; None: there is none."""
