"""The shortest read: one page of a store, by one function in which everything is at hand.

Beside the device's time for a small page, the calls that serve many pages, deadlines and failures of every kind took as much
again. So this does what is done for nearly all: a page whose place is remembered, raw, on a disk that works. Whatever else there
may be to do, nothing was done and nothing is accounted for, and the caller goes the whole way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from lsmkv_tensor.errors import PoisonedError
from lsmkv_tensor.retention.touches import READ
from lsmkv_tensor.runtime import StoreGate
from lsmkv_tensor.services import Services
from lsmkv_tensor.vlog.log import ValueLog
from lsmkv_tensor.vlog.reader import PageReader
from lsmkv_tensor.vlog.single import Delivered, Memory
from lsmkv_tensor.vlog.when import NO_DEADLINE, ByDeadline

__all__ = ["ReadAtOnce", "getter"]

ReadAtOnce: TypeAlias = Callable[[bytes, Memory, "float | None"], "Delivered | None"]


def getter(services: Services, log: ValueLog, reader: PageReader, gate: StoreGate, space: bytes, tokens: int) -> ReadAtOnce:
    """``Namespace.read_at_once`` of a view, until its store is reopened. ``space``: its number, as it begins index keys.

    ``tokens``: that a page covers.
    """
    now, breaker, times, loads = services.clock.monotonic, services.breaker, services.times, services.loads
    known, read, count, puts = log.keeper.known.read.one, reader.single, reader.count, services.puts
    whole, touch, attempts = services.waterfall.whole, log.touch, services.attempts

    def read_at_once(page: bytes, memory: Memory, until: float | None) -> Delivered | None:
        """See above."""
        key = space + page
        value = known(key)
        if value is None or breaker.open or not gate.lets_in or (puts is not None and True in (puts.holds((key,)) or ())):
            return None
        began = now()
        if until is not None and until <= began:
            return None
        try:
            with gate:
                when = NO_DEADLINE if until is None else ByDeadline(attempts, until)
                came = read(key, value, memory, when, settled=False)
        except PoisonedError:  # the store could not be reopened, since it was asked
            return None
        if came is None or not came.nbytes:
            return None
        seconds = now() - began
        count((True,), came.nbytes)
        touch(READ, (page,), space)
        loads.note(came.nbytes, seconds)
        times.note("read", seconds)
        breaker.worked("read")
        whole(1, tokens, "get")
        return came

    return read_at_once
