"""Slower before it stops: writes wait a little while background work is behind, each in proportion to its bytes.

A writer waits before it queues its batch: no lock is held meanwhile, so others commit, and readers never notice. How long is
arithmetic (:mod:`lsmkv.write.pace`). The wait ends early when the pressure is gone, and with ClosedError when the store closes.

With a manual scheduler nobody is slowed down: no background work runs while a writer waits, so waiting would change nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from lsmkv.env.sync import Lock
from lsmkv.errors import ClosedError
from lsmkv.live.core import Core
from lsmkv.live.state import ReadState
from lsmkv.write.pace import Pace, pressure

__all__ = ["SlowDown"]

SLICE_S = 0.02
"""A wait looks around after so long: is there still a reason, has the store closed?"""

LEAST_S = 1e-4
"""What is left of a wait and shorter is let go: no clock can sleep so little."""


class SlowDown:
    """Decides whether writes are slowed down (``on``), and makes them wait."""

    __slots__ = (
        "_active",
        "_began",
        "_box",
        "_calls",
        "_closed",
        "_core",
        "_entered",
        "_lock",
        "_logged",
        "_pace",
        "_seen",
        "_since",
        "count",
        "on",
        "seconds",
    )

    def __init__(self, core: Core, *, manual: bool) -> None:
        self._core = core
        self._box = core.box
        self._calls = core.ledger.calls
        self._active = not manual
        self._lock = Lock()
        self._pace = Pace()
        self._closed = False
        self._logged = 0  # bytes committed when the newest full memtable was put in line
        self._seen: dict[str, dict[int, int]] = {"memtables": {}, "level0": {}}  # bytes of what waits, by number of log or table
        self._since: dict[str, float] = {}  # since when background work has had this to do
        self._entered: tuple[str, str, float, int] | None = None  # the slow-down under way: reason, why, seconds and waits before
        self._began = 0.0
        self.on = False
        """Whether writes have to ask for their turn; one attribute, read by every write."""
        self.count: Counter[str] = Counter()
        """Waits so far, by reason."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        """Seconds waited, by reason."""

    def look(self) -> None:
        """Something was put in line, done, or set otherwise: learn from it, and decide anew."""
        if not self._active:
            return
        with self._lock:
            state = self._box.current
            if state is None:
                self.on = False
                return
            self._learn(state, self._core.clock.monotonic())
            found = pressure(state, self._core.options)
            self.on = found is not None
            told = self._turn(found)
        if told is not None:
            self._core.note("slowdown", told)

    def _learn(self, state: ReadState, now: float) -> None:
        """Measure what was done since the last look."""
        seen = self._seen["memtables"]
        memtables = {imm.wal_number: seen.get(imm.wal_number, -1) for imm in state.imms}
        for number, size in memtables.items():
            if size < 0:
                memtables[number] = self._calls.entry_bytes - self._logged
                self._logged = self._calls.entry_bytes
        runs = state.view.shape.levels[0].runs
        tables = {t.number: t.raw_bytes for run in runs for t in run.tables}
        for reason, waiting in (("memtables", memtables), ("level0", tables)):
            before = self._seen[reason]
            done = sum(size for number, size in before.items() if number not in waiting)
            if done:
                self._pace.relieved(reason, done, now - self._since.get(reason, now))
            if done or not before or (reason == "level0" and len(runs) <= self._core.options.level0_runs):
                self._since[reason] = now
            self._seen[reason] = waiting

    def _turn(self, found: tuple[str, float, str] | None) -> dict[str, object] | None:
        """Keep the book of slow-downs; what the event log says of one that is over and made somebody wait."""
        waits, seconds = sum(self.count.values()), sum(self.seconds.values())
        if found is not None:
            if self._entered is None:
                self._entered = found[0], found[2], seconds, waits
                self._began = self._core.clock.monotonic()
            return None
        if self._entered is None:
            return None
        reason, why, seconds_before, waits_before = self._entered
        self._entered = None
        if waits == waits_before:
            return None
        lasted = self._core.clock.monotonic() - self._began
        told = {"reason": reason, "why": why, "waits": waits - waits_before, "seconds": round(seconds - seconds_before, 6)}
        return told | {"lasted_s": round(lasted, 6)}

    def delay(self, nbytes: int) -> None:
        """Wait for the turn of a write of ``nbytes``. Raises ClosedError if the store closes meanwhile."""
        clock, options = self._core.clock, self._core.options
        with self._lock:
            state = self._box.current
            found = pressure(state, options) if state is not None else None
            if found is None:
                return
            start = now = clock.monotonic()
            wait = self._pace.wait_s(found[0], found[1], nbytes, now, options.stall_timeout_s)
        if not wait:
            return
        try:
            while self.on and (left := start + wait - now) > LEAST_S:
                if self._closed:
                    raise ClosedError(self._core.path)
                clock.sleep(min(left, SLICE_S))
                now = clock.monotonic()
        finally:
            with self._lock:
                self.count[found[0]] += 1
                self.seconds[found[0]] += clock.monotonic() - start

    def reason(self) -> str:
        """What slows writes down now, as a sentence; empty: nothing."""
        state = self._box.current
        found = pressure(state, self._core.options) if self.on and state is not None else None
        return found[2] if found is not None else ""

    def forked(self) -> None:
        """In a forked child: nobody waits here."""
        self.on = False

    def close(self) -> None:
        """The store is closing: whoever waits gets ClosedError."""
        self._closed = True
