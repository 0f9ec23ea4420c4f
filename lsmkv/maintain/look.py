"""The tree as policies are to see it: the files, and the moment at which they are looked at.

What is due next is asked in one order, for every policy: see :func:`lsmkv.policy.picks.next_task`. What will be due later,
without anything being written, is a matter of time (tombstones and data that grow old) or of snapshots being released.
"""

from __future__ import annotations

from dataclasses import replace

from lsmkv.base.keys import MAX_SEQ
from lsmkv.live.core import Core
from lsmkv.policy.base import Policy, Task
from lsmkv.policy.picks import next_expiry, next_task
from lsmkv.version.shape import TreeShape

__all__ = ["due_task", "next_due_s", "released", "seen_shape"]


def seen_shape(core: Core) -> TreeShape:
    """The tree at this moment, with the facts that files do not tell. I/O: none."""
    options, report = core.options, core.transition
    return replace(
        core.state.shape,
        level0_runs=options.level0_runs,
        table_bytes=options.table_bytes,
        now_s=core.clock.now(),
        snapshot_floor=core.snapshots.floor(),
        tombstone_age_s=options.tombstone_age_s,
        patient=report is not None and not report.done and report.pace == "lazy",
    )


def due_task(policy: Policy, shape: TreeShape) -> Task | None:
    """What to do next, None for nothing. Data that some snapshot reads is not dropped, whatever a policy says."""
    task = next_task(policy, shape)
    return None if task is not None and task.drops and shape.snapshot_floor < MAX_SEQ else task


def released(shape: TreeShape) -> TreeShape:
    """The same tree when no snapshot reads it any more."""
    return replace(shape, snapshot_floor=MAX_SEQ)


def next_due_s(policy: Policy, shape: TreeShape) -> float | None:
    """When time alone may make something due, on the clock of ``shape.now_s``; None: never."""
    asked = getattr(policy, "wakes_s", None)
    times = [t for t in (next_expiry(shape), asked(shape) if asked is not None else None) if t is not None]
    return min(times, default=None)
