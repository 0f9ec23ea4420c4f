"""What a store does by itself: learn what it holds after opening and what is used of it, and keep a segment free ahead of need.

To learn what it holds it reads the index, whose blocks stay in the block cache as far as there is room: with them and with
segments that are open already (:mod:`lsmkv_tensor.vlog.ahead`) a get after an opening waits for its pages and for nothing else.

One worker of the store's services. It is woken at opening, whenever a segment has been filled, and when many uses of pages wait
to be told to the policy; each step is one bounded piece of work inside the store's gate, so that ``close`` waits for one at most.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable

from lsmkv_tensor.errors import ClosedError, LsmError
from lsmkv_tensor.passage import telling
from lsmkv_tensor.retention.notify import Notifier
from lsmkv_tensor.runtime import CallGate
from lsmkv_tensor.runtime.workers import Workers
from lsmkv_tensor.vlog.ahead import OpenAhead
from lsmkv_tensor.vlog.gc import Collector
from lsmkv_tensor.vlog.log import ValueLog

__all__ = ["LATER_S", "Upkeep", "start_upkeep"]

LATER_S = 0.05
"""Seconds until a step that nobody waits for. Beside a burst of puts it takes the lock and the interpreter from them: 3 ms at
each segment, of the 10 that 16 MiB take."""


class Upkeep:
    """The background work of one store."""

    def __init__(self, notifier: Notifier, gate: CallGate, bytes_per_s: int | None) -> None:
        self._notifier = notifier
        self._gate = gate
        self._bytes_per_s = bytes_per_s
        self._served: tuple[ValueLog, Collector, OpenAhead] | None = None
        self.wake: Callable[[float], None] = lambda _: None
        """Ask for a step so many seconds from now."""
        self.on_error: Callable[[LsmError], None] = lambda _: None
        """Told of every step that failed."""
        self.failures = 0
        """Steps that ended in an error; what they had begun is as it was, and is tried again."""

    def serve(self, log: ValueLog, collector: Collector, ahead: OpenAhead) -> None:
        """Work for these from now on: the store was opened, or opened again."""
        self._served = (log, collector, ahead)
        log.space.on_roll = self.rolled
        log.on_many_touches = self.now
        self.now()

    def now(self) -> None:
        """Ask for a step."""
        self.wake(0.0)

    def rolled(self) -> None:
        """Ask for a step as a segment was filled: now if the next one has to be reclaimed, else a little later."""
        if self._served is not None:
            self.wake(0.0 if self._served[0].space.short_of_free() else LATER_S)

    def step(self) -> bool:
        """One piece of work; whether there may be more now."""
        if self._served is None:
            return False
        log, collector, ahead = self._served
        try:
            with telling(log, self._notifier), self._gate:
                if self._served[0] is not log or _learnt_some(log):  # the store reopened itself while this waited at the gate
                    return True
                more = ahead.step()
                with log.lock:
                    more |= log.keeper.drain_some()
                done = collector.step()
        except ClosedError:
            return False
        except LsmError as error:
            self.failures += 1
            self.on_error(error)
            return False
        if done.victims and self._bytes_per_s is not None:
            self.wake((done.bytes_read + done.bytes_moved) / self._bytes_per_s)
            return False
        return more or bool(done.victims)


def _learnt_some(log: ValueLog) -> bool:
    """Learn some of what the store holds; whether there is more."""
    with log.lock:
        return log.keeper.fill_step()


def start_upkeep(upkeep: Upkeep, workers: Workers) -> None:
    """Have it done in the background, as long as somebody holds ``upkeep``.

    A worker that held it itself would keep a store that nobody closed open for ever.
    """
    held = weakref.ref(upkeep)

    def step() -> bool:
        """One step, if the store is still there."""
        found = held()
        return found is not None and found.step()

    worker = workers.start("lsmkv-reclaim", step)
    upkeep.wake = worker.wake
    weakref.finalize(upkeep, worker.stop).atexit = False
    upkeep.now()
