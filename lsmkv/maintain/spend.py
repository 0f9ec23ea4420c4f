"""Passing the limit of ``background_bytes_per_s``: called between slices of a flush or a compaction, holding no lock of writers.

The rules are those of :mod:`lsmkv.live.throttle`. Waiting goes through the clock, in short slices: a limit that is raised, a
memtable that must go now, and a store that closes are noticed at once.
"""

from __future__ import annotations

from lsmkv.live.core import Core
from lsmkv.live.throttle import Work
from lsmkv.write.pace import crowded

__all__ = ["spend"]

LOOK_S = 0.02
"""A wait looks around after so long."""

LEAST_S = 1e-4
"""What is shorter is not waited for, but stays owed: no clock can sleep so little."""


def spend(core: Core, work: Work, nbytes: int) -> None:
    """Charge ``nbytes`` that ``work`` has read or written, and wait until it may go on."""
    rate = core.options.background_bytes_per_s
    if rate is None or nbytes <= 0:
        return
    clock, throttle = core.clock, core.throttle
    start = now = clock.monotonic()
    throttle.charge(work, nbytes, rate, now)
    waited = False
    try:
        while rate is not None and not _passes(core, work) and (left := throttle.owed_s(work, rate, now)) > LEAST_S:
            waited = True
            clock.sleep(min(left, LOOK_S))
            now, rate = clock.monotonic(), core.options.background_bytes_per_s
    finally:
        if waited:
            throttle.waited(work, clock.monotonic() - start)


def _passes(core: Core, work: Work) -> bool:
    """Whether ``work`` need not wait, whatever it owes."""
    if not core.throttle.serving or core.stopping or core.closing:
        return True
    if work == "compact":
        return False
    state = core.box.current
    return core.hurried > 0 or state is None or crowded(state, core.options)
