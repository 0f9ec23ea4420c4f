"""When a write has to stop, for what, and for how long at most.

Writes outrun flushes and compactions whenever the disk is slower than memory. Instead of growing without bound the store
first slows writers down (:mod:`lsmkv.write.slowdown`), then stops them where they stand, says why, and gives up with
:class:`~lsmkv.errors.BusyError` after the allowed time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable

from lsmkv.env.sync import Condition
from lsmkv.errors import BusyError, ClosedError, LsmError
from lsmkv.live.core import Core
from lsmkv.write.slowdown import SlowDown

__all__ = ["StallGate"]

POLL_S = 0.05
"""Seconds between looks at the clock while waiting; every installed edit wakes the waiter at once."""

ROOM_BY = {"memtables": "flush", "level0": "compact"}
"""Whose work ends a stall, by the stall's reason."""


class StallGate:
    """Makes a writer wait until memtables and level 0 have room again."""

    __slots__ = (
        "_box",
        "_clock",
        "_closed",
        "_core",
        "_failures",
        "_inline",
        "_wake",
        "changed",
        "count",
        "seconds",
        "slow",
    )

    def __init__(self, core: Core, wake: Callable[[], None], inline: Callable[[], bool] | None) -> None:
        self._core = core
        self._box = core.box
        self._clock = core.clock
        self._wake = wake
        self._inline = inline
        self._failures: dict[str, tuple[int, LsmError]] = {}
        self._closed = False
        self.slow = SlowDown(core, manual=inline is not None)
        """What makes writes slower before they stop."""
        self.changed = Condition()
        self.count: Counter[str] = Counter()
        """Stalls so far, by reason."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        """Seconds stalled, by reason."""

    def reason(self) -> tuple[str, str] | None:
        """What stands in the way of one more memtable: (short name, sentence), or None."""
        state = self._box.current
        if state is None:
            return None
        waiting, limit = len(state.imms), self._core.options.max_immutables
        if waiting >= limit:
            return "memtables", f"{waiting} full memtables wait for their flush (limit {limit})"
        runs, stop = len(state.view.shape.levels[0].runs), self._core.options.level0_stop_runs
        if runs >= stop:
            return "level0", f"level 0 holds {runs} runs (limit {stop}): compaction is behind"
        return None

    def wait(self) -> None:
        """Return when there is room (at once if there is).

        Raises the background error if the work that would make the room fails meanwhile (flushing where memtables wait,
        compacting where level 0 is full), BusyError when ``stall_timeout_s`` have passed.
        """
        found = self.reason()
        if found is None:
            return
        start, failures = self._clock.monotonic(), dict(self._failures)
        while found is not None:
            found = self._while(*found, start, failures)

    def _while(self, name: str, why: str, start: float, failures: dict[str, tuple[int, LsmError]]) -> tuple[str, str] | None:
        """Wait as long as the same thing stands in the way, which gets the time; what stands there then. Errors as :meth:`wait`.

        ``failures``: those when the writer began to wait, at ``start``.
        """
        since = self._clock.monotonic()
        found: tuple[str, str] | None = (name, why)
        self.count[name] += 1
        try:
            while found is not None and found[0] == name:
                self._once(found[1], start)
                found = self.reason()
                kind = ROOM_BY[found[0]] if found is not None else ""
                if self._failures.get(kind) != failures.get(kind):
                    raise self._failures[kind][1]
        finally:
            seconds = self._clock.monotonic() - since
            self.seconds[name] += seconds
            self._core.note("stall", {"reason": name, "why": why, "seconds": round(seconds, 6)})
        return found

    def _once(self, sentence: str, start: float) -> None:
        """Let background work happen once: here when the scheduler is manual, else by waiting for it."""
        self._core.check_poison()
        if self._closed:
            raise ClosedError(self._core.path)
        if self._inline is not None:
            if not self._inline():
                raise BusyError(sentence)
            return
        self._wake()
        with self.changed:
            if self.reason() is not None:
                self.changed.wait(POLL_S)
        waited_s, allowed_s = self._clock.monotonic() - start, self._core.options.stall_timeout_s
        if waited_s > allowed_s and (found := self.reason()) is not None:
            raise BusyError(f"{found[1]}; a write waited {waited_s:.3g} s, more than Options.stall_timeout_s ({allowed_s:g})")

    def progress(self) -> None:
        """Background work installed something: let waiters look again."""
        self.slow.look()
        with self.changed:
            self.changed.notify_all()

    def close(self) -> None:
        """The store is closing: nobody will make room any more, waiters get ClosedError."""
        self.slow.close()
        with self.changed:
            self._closed = True
            self.changed.notify_all()

    def failed(self, kind: str, error: LsmError) -> None:
        """Background work ("flush" or "compact") failed: who waits for the room it would make gives up with this error."""
        with self.changed:
            count = self._failures[kind][0] if kind in self._failures else 0
            self._failures[kind] = count + 1, error
            self.changed.notify_all()
