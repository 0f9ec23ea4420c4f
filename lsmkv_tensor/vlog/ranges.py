"""Whole namespaces in the index: what they hold, and forgetting them.

A namespace's pages are one key range of the index, so forgetting them is a few range deletes, whatever their number. What
makes it more than that is liveness: each range is deleted in one atomic batch with the records of the segments that lose
pages, counted from the places in it. The commit lock is held for one range at a time, so calls of other namespaces go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from typing import NamedTuple, TypeAlias

from lsmkv import WriteBatch
from lsmkv_tensor.vlog.layout import Place
from lsmkv_tensor.vlog.liveness import Change
from lsmkv_tensor.vlog.log import ValueLog
from lsmkv_tensor.vlog.reserved import RECORDS, number_key

__all__ = ["NamespaceSize", "Told", "drop_pages", "drop_records", "measure"]

RANGE_PAGES = 1 << 15
"""Pages forgotten in one commit: some 50 ms under the lock, and few enough ranges for the engine's list of them."""
POINT_PAGES = 256
"""So few are deleted one by one: a range delete costs every read a little until compactions have retired it."""

Told: TypeAlias = Callable[[int], None]
"""Called with the number of pages done since the last call."""


class NamespaceSize(NamedTuple):
    """What a namespace holds."""

    pages: int
    stored_bytes: int
    """Bytes of its payloads, as their codecs wrote them."""
    disk_bytes: int
    """Bytes they take in segments, padding included."""
    codecs: dict[int, int]
    """Pages by the number of their codec."""
    records: int
    """Small records beside the pages (trails)."""


def measure(places: Iterable[bytes], records: int) -> NamespaceSize:
    """Add up the index values of a namespace's pages. Pure."""
    pages = stored = disk = 0
    codecs: Counter[int] = Counter()
    for place in map(Place.unpack, places):
        pages += 1
        if place is not None:
            stored += place.length
            disk += place.disk_bytes
            codecs[place.codec] += 1
    return NamespaceSize(pages, stored, disk, dict(sorted(codecs.items())), records)


def drop_pages(log: ValueLog, number: int, told: Told, at_once: int = RANGE_PAGES) -> int:
    """Forget every page of a namespace, a range at a time; how many there were. A crash in between leaves the later ones.

    NoSpaceError, BusyError, IOFailedError, PoisonedError: what was forgotten before stays forgotten.

    I/O: a scan of its index entries, one commit per ``at_once``.
    """
    at, stop = number.to_bytes(4, "big"), _behind(number.to_bytes(4, "big"))
    dropped = 0
    while True:
        with log.lock:
            log.check_usable()
            entries = list(islice(log.db.scan(start=at, stop=stop), at_once + 1))
            more = len(entries) > at_once
            end = entries.pop()[0] if more else stop
            if entries:
                _forget(log, entries, at, end)
        dropped += len(entries)
        told(len(entries))
        if not more:
            return dropped
        at = end


def drop_records(log: ValueLog, number: int, batch: WriteBatch) -> None:
    """Have ``batch`` forget every small record of a namespace. I/O: a short look at them."""
    prefix = number_key(RECORDS, number)
    keys = [key for key, _ in islice(log.db.scan(prefix=prefix), POINT_PAGES + 1)]
    if len(keys) > POINT_PAGES:
        batch.delete_range(prefix, _behind(prefix))
        return
    for key in keys:
        batch.delete(key)


def _forget(log: ValueLog, entries: list[tuple[bytes, bytes]], start: bytes, stop: bytes) -> None:
    """Delete these entries, all that lie between the bounds, with the lock held."""
    batch, change = WriteBatch(), Change()
    if len(entries) > POINT_PAGES:
        batch.delete_range(start, stop)
    else:
        for key, _ in entries:
            batch.delete(key)
    places = (Place.unpack(value) for _, value in entries)
    change.remove(place for place in places if place is not None and log.liveness.is_current(place))
    log.liveness.commit(batch, change)
    log.keeper.forget([key for key, _ in entries], evicted=False)
    log.counters.deleted_pages += len(entries)


def _behind(prefix: bytes) -> bytes:
    """The first key behind all that begin with this prefix, which ends in a number below 2^32 - 1."""
    return prefix[:-4] + (int.from_bytes(prefix[-4:], "big") + 1).to_bytes(4, "big")
