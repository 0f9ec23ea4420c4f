"""One page that is alone in its call: the first way of :mod:`lsmkv_tensor.vlog.atonce`, in few steps.

Of a cold page of 64 KiB the steps that serve any number of pages took as long as its device. And while the device reads, the
caller's thread has nothing to do: so where the page is to go is asked for then, as an engine may have to make room for it first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from xxhash import xxh3_64_intdigest

from lsmkv.env.fs import IOV_MAX, CachedReads, File, ReadQueue
from lsmkv_tensor.codec import RAW
from lsmkv_tensor.vlog.bringing import Bringing
from lsmkv_tensor.vlog.disks import DISK_SHIFT
from lsmkv_tensor.vlog.files import SegmentFiles
from lsmkv_tensor.vlog.layout import Place, padded, payload_check
from lsmkv_tensor.vlog.log import ValueLog
from lsmkv_tensor.vlog.past import pour
from lsmkv_tensor.vlog.queues import ReadQueues
from lsmkv_tensor.vlog.when import When, next_look_s

__all__ = ["Delivered", "Memory", "SinglePages"]

MOST_BYTES = 1 << 20
"""Of a page: one read brings it. A larger one is looked at in parts, while the rest is read. Measured through LMCache's plug-in,
cold, 1 MiB: 1.01 ms so, 1.19 in parts."""

Memory: TypeAlias = Callable[[], Sequence[memoryview] | None]
"""The spans that a page is to be read into; asked once at most, None: there is no room for it now."""


class Delivered(NamedTuple):
    """A page that came."""

    nbytes: int
    """0: it was to be read past the page cache and did not come so, or is not to be: it is left to others."""
    copied: bool
    """It came through memory of the store's own."""


class SinglePages:
    """Looks for pages of one store, one by one. Any number of threads."""

    def __init__(
        self, log: ValueLog, files: SegmentFiles, alone: Callable[[int], bool], queues: ReadQueues, bringing: Bringing
    ) -> None:
        """``alone``: whether a disk, by number, is to be left alone."""
        self._log = log
        self._files = files
        self._alone = alone
        self._queues = queues
        self._bringing = bringing

    def read(
        self, key: bytes, value: bytes | None, memory: Memory, when: When, *, settled: bool = True
    ) -> Delivered | None:  # fmt: skip
        """Read a page with this index value; None: it has to be looked for in another way.

        ``settled``: as of :meth:`Bringing.past`; not if whoever asks asks once more about a page that is left to others.
        What ``memory`` gave is not touched any more when this returns. I/O: a read from memory, or one past the page cache.
        """
        place = self._log.valid((value,))[0]
        if place is None or place.kind & 0xFF != RAW or self._alone(place.segment >> DISK_SHIFT):
            return None
        opened = self._files.peek(place.segment)
        if opened is None or opened.cached is None:
            return None
        offset, length = place.offset, place.length
        held = opened.cached.holds(offset, length)
        if held:
            if self._bringing.doubted:
                self._bringing.found(place.segment, place.generation, offset, length)
            return _from_cache(opened.cached, key, place, memory)
        if held is None or opened.direct is None or length > MOST_BYTES or not self._queues.usable:
            return None
        past = self._bringing.past(place.segment, place.generation, offset, length, settled=settled)
        if past and self._past(opened.direct, key, place, memory, when):
            return Delivered(length, copied=True)
        self._log.keeper.known.moved([key])  # it may have; whom it is left to asks the index
        return _LEFT

    def _past(self, file: File, key: bytes, place: Place, memory: Memory, when: When) -> bool:
        """Read a page past the page cache; whether it came whole. I/O: one read handed over, and waits for it."""
        queues = self._queues
        queue = queues.take()
        if queue is None:
            return False
        length, buffer = place.length, None
        try:
            buffer = queues.staging.take(padded(length))
            if queue.begin(((0, file, buffer.view[: padded(length)], place.offset),)) and (spans := memory()) is not None:
                data = buffer.view[:length]
                if _wait(queue, when) >= length and xxh3_64_intdigest(data, xxh3_64_intdigest(key)) == place.check:
                    pour(data, spans, 0)
                    return True
        except OSError:  # no reads of this kind here, or no memory
            pass
        finally:
            queues.take_back(queue, buffer)
        return False


def _wait(queue: ReadQueue, when: When) -> int:
    """How many bytes the one read in a queue has brought; -1: it is late."""
    done = -1
    while queue.waiting:
        seconds = next_look_s(when.remaining, when.look_s)
        if seconds == 0:
            return -1
        for ended in queue.ended(1, seconds):
            done = ended[1]
    return done


_LEFT = Delivered(0, copied=False)


def _from_cache(file: CachedReads, key: bytes, place: Place, memory: Memory) -> Delivered | None:
    """Read a page that the page cache holds; None if it did not come whole."""
    spans = memory()
    if spans is None or len(spans) > IOV_MAX:
        return None
    try:
        done = file.preadv_cached(spans, place.offset)
    except OSError:
        return None
    return Delivered(done, copied=False) if done == place.length and payload_check(key, spans) == place.check else None
