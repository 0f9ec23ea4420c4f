"""Committing a batch with range deletes: as point deletes if little is there to delete, with room in their list if not."""

from __future__ import annotations

from functools import partial

from lsmkv.batch import WriteBatch
from lsmkv.framing import Frame
from lsmkv.live.core import Core
from lsmkv.maintain.upkeep import Upkeep
from lsmkv.read.narrow import as_points
from lsmkv.version.rangedeletes import MAX_BYTES, MAX_PIECES
from lsmkv.write.commit import Committer

__all__ = ["commit_ranged"]

CROWDED = 3 / 4
"""Part of its bounds from which on the list of range deletes is cleared before it grows."""


def commit_ranged(core: Core, committer: Committer, upkeep: Upkeep, batch: WriteBatch, *, sync: bool) -> None:
    """Commit a batch that holds range deletes.

    What it has to delete is looked up twice if it is little: before the batch is queued, so that a large range costs other
    writers nothing, and when its turn has come, so that nothing written meanwhile is missed.

    Raises as ``DB.write``. I/O: see ``DB.delete_range``.
    """
    limit, state = core.options.range_delete_keys, core.box.current
    narrow = partial(as_points, core.tables, tuple(batch.keys), tuple(batch.values), tuple(batch.ranges), limit)
    small = limit > 0 and state is not None and narrow(state) is not None
    if not small:
        _make_room(core, upkeep)
    frame = Frame(tuple(batch.keys), tuple(batch.values), batch.nbytes)
    committer.commit_ranged(frame, tuple(batch.ranges), narrow if small else None, sync)


def _make_room(core: Core, upkeep: Upkeep) -> None:
    """Clear older range deletes if there are many: into the manifest with them, then out of the tables what they cover.

    I/O: none if there are few; else flushes, and compactions until there are few or nothing can be done.
    """
    if not _crowded(core):
        return
    upkeep.flush_all()
    while _crowded(core) and upkeep.clear_ranges():
        continue


def _crowded(core: Core) -> bool:
    """Whether the list of range deletes is close to its bounds."""
    state = core.box.current
    ranges = state.ranges if state is not None else None
    return ranges is not None and (ranges.pieces > CROWDED * MAX_PIECES or ranges.nbytes > CROWDED * MAX_BYTES)
