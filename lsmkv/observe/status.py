"""A live writer tells about itself: its statistics in the status file, every second or so, off the path of any call.

A worker of its own looks, so that a long flush or a stalled write (the moments somebody wants to see) delays nothing. What
has not changed is not written again, except every ``HEARTBEAT_S``: so an onlooker can tell an idle writer from a dead one, and
a rate between two statuses is never spread over a longer silence. The work that a change of policy still needs is told as the
last task left it: walking the tree for it would cost a large store more than everything else here.
"""

from __future__ import annotations

from collections.abc import Callable

from lsmkv.base.status import StatusFile
from lsmkv.env.scheduling import Scheduler
from lsmkv.live.core import Core
from lsmkv.maintain.upkeep import Upkeep
from lsmkv.observe.gather import gather
from lsmkv.observe.stats import Stats
from lsmkv.write.commit import Committer
from lsmkv.write.stall import StallGate

__all__ = ["HEARTBEAT_S", "VERSION", "StatusReporter", "report_to"]

VERSION = 1
"""Of the status's fields."""

HEARTBEAT_S = 10.0
"""Seconds after which an unchanged status is written all the same."""

LEFT_OUT = ("path", "totals", "since_switch", "recovery")
"""Fields of the statistics that an onlooker knows already, or that have no bound."""

LONGEST_ERROR = 300
"""Characters told of the last error."""


class StatusReporter:
    """Writes what ``stats`` says (None: the store is closed) to ``file`` whenever :meth:`tick` is called and it has changed."""

    def __init__(
        self,
        core: Core,
        file: StatusFile,
        stats: Callable[[], Stats | None],
        blocked: Callable[[], str],
        slowed: Callable[[], str],
    ) -> None:
        """``blocked`` and ``slowed``: what stops writes at the next full memtable, and what slows them down; empty: nothing."""
        self._core = core
        self._file = file
        self._stats = stats
        self._blocked = blocked
        self._slowed = slowed
        self._opened_s = round(core.clock.now(), 6)
        self._start = core.clock.monotonic()
        self._told: dict[str, object] = {}
        self._at = 0.0

    def tick(self) -> None:
        """Look, and tell if there is news. I/O: at most one unsynced write."""
        stats = self._stats()
        if stats is None:
            return
        now = self._core.clock.monotonic()
        told = {"blocked": self._blocked(), "slowed": self._slowed(), "recovered": len(stats.recovery), "stats": _plain(stats)}
        if told == self._told and now - self._at < HEARTBEAT_S:
            return
        options = self._core.options
        head: dict[str, object] = {
            "version": VERSION,
            "at_s": round(self._core.clock.now(), 6),
            "opened_s": self._opened_s,
            "up_s": round(now - self._start, 6),
            "interval_s": options.status_interval_s,
            "heartbeat_s": HEARTBEAT_S,
            "memtable_limit_bytes": options.memtable_bytes,
            "max_immutables": options.max_immutables,
            "level0_runs": options.level0_runs,
            "level0_slowdown_runs": options.slowdown_runs,
            "level0_stop_runs": options.level0_stop_runs,
        }
        if self._file.write(head | told):
            self._told, self._at = told, now


def report_to(
    scheduler: Scheduler, core: Core, committer: Committer, gate: StallGate, upkeep: Upkeep, recovery: tuple[str, ...]
) -> None:
    """Have the status file kept, if it is wanted. The handle is none of the parts: the garbage collector may still close it."""
    file, interval_s = core.status, core.options.status_interval_s
    if file is None or interval_s is None:
        return

    def now() -> Stats | None:
        """The statistics; None once the store is closed."""
        state = core.box.current
        return gather(core, state, committer, gate, upkeep, recovery, walk=False) if state is not None else None

    reporter = StatusReporter(core, file, now, lambda: (gate.reason() or ("", ""))[1], gate.slow.reason)
    upkeep.every(interval_s, scheduler, "lsmkv-status", reporter.tick)


def _plain(stats: Stats) -> dict[str, object]:
    """The statistics of bounded size."""
    told = stats.to_dict()
    for name in LEFT_OUT:
        del told[name]
    told["last_error"] = stats.last_error[:LONGEST_ERROR]
    return told
