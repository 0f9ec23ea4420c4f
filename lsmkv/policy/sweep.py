"""Letting range deletes do their work, whatever the policy: what they cover goes, and then they go themselves. Pure.

A table that lies inside range deletes newer than all it holds is *hidden*: no reader of the present sees anything of it, so it
is dropped unread, as soon as no snapshot is open. Older tables may stay below it: what they hold of the same keys is older
still, and hidden as well.

A table that *owes* a range delete something (see :mod:`lsmkv.version.rangedeletes`) and is not hidden, at the edges of the
range, is rewritten where it is, and is swept then; at level 0, where nothing is rewritten, it is merged to the bottom with all
it has to pass. That is done when nothing else is due, and as soon as every snapshot sees the range delete.
"""

from __future__ import annotations

from lsmkv.base.keys import MAX_SEQ
from lsmkv.policy.base import RunInput, Task
from lsmkv.policy.ranges import runs_in_order, sinking_task
from lsmkv.version.shape import TableMeta, TreeShape

__all__ = ["hidden_tables", "sweep"]


def hidden_tables(shape: TreeShape) -> Task | None:
    """Drop every table that lies inside range deletes newer than it; None if there is none, or a snapshot is open."""
    if not shape.ranges or shape.snapshot_floor < MAX_SEQ:
        return None
    inputs: list[RunInput] = []
    for level, run in runs_in_order(shape):
        gone = tuple(t.number for t in run.tables if shape.ranges.hides(t.smallest, t.largest, t.max_seq))
        if gone:
            inputs.append(RunInput(level, run.id, gone))
    if not inputs:
        return None
    return Task(tuple(inputs), 0, None, "range deletes cover all that is in them", drops=True)


def sweep(shape: TreeShape) -> Task | None:
    """Rewrite a table of which a range delete covers a part, the oldest data first; None if there is none, or snapshots wait."""
    if not shape.ranges:
        return None
    for level, run in reversed(list(runs_in_order(shape))):
        for table in run.tables:
            if _owes(shape, table):
                reason = f"table {table.number} of level {level} may hold entries that a range delete covers"
                if level:
                    return Task((RunInput(level, run.id, (table.number,)),), level, run.id, reason, chore=True)
                number = table.number
                return sinking_task(shape, lambda one: one.number == number, reason)  # noqa: B023  asked before the loop goes on
    return None


def _owes(shape: TreeShape, table: TableMeta) -> bool:
    """Whether a merge would take something out of a table that a range delete covers, as far as can be seen."""
    owed = shape.ranges.owed(table.smallest, table.largest, table.min_seq, table.swept)
    return any(fragment.seqs[0] <= shape.snapshot_floor for fragment in owed)
