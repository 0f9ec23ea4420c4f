"""Making finished work official: one manifest edit, one swap of the readers' state, then dead files go.

The order is what makes it safe: tables are durable before the edit names them, the edit is durable before readers see the
new tree, and a file is unlinked only when neither the manifest nor any reader can reach it.
"""

from __future__ import annotations

from dataclasses import replace

from lsmkv.base.filenames import parse_name
from lsmkv.errors import LsmError, PoisonedError
from lsmkv.live.core import Core, wal_path
from lsmkv.live.state import View
from lsmkv.maintain.build import discard
from lsmkv.version.edit import VersionEdit
from lsmkv.version.rangedeletes import RangeDelete, RangeDeletes
from lsmkv.version.shape import TreeShape
from lsmkv.version.version import apply_edit

__all__ = ["collect", "install", "remove_logs_below"]


def install(
    core: Core, edit: VersionEdit, *, flushed: frozenset[int] = frozenset(), deletes: tuple[RangeDelete, ...] = ()
) -> None:
    """Record ``edit`` and show it to readers, dropping the memtables whose logs are in ``flushed``.

    ``deletes``: the range deletes in those logs. Those of the tree that no table owes anything retire.
    Call with ``core.install_lock`` held. Raises PoisonedError once the manifest's contents are unknown.

    I/O: appends to the manifest, one fdatasync; sometimes rewrites it.
    """
    core.check_poison()
    edit = replace(edit, next_file=max(_next_number(core), core.state.next_file))
    if core.closing:
        edit = replace(edit, ledger=core.ledger.record())
    after = replace(apply_edit(core.state, edit), ledger=core.ledger.record())
    ranges = _ranges(core, after.shape, deletes)
    if ranges != core.state.shape.ranges:
        edit = replace(edit, ranges=ranges)
        after = replace(after, shape=replace(after.shape, ranges=ranges))
    payload = edit.encode()  # what cannot be recorded fails here, where it is certain that nothing was
    try:
        core.manifest.append(edit, after, payload)
        core.state = after
        _show(core, core.view(after.shape), edit, flushed)
    except PoisonedError as error:
        core.poisoned(error)
        raise
    except LsmError:  # certainly not recorded
        raise
    except BaseException as error:  # Ctrl-C: recorded or not, shown or not; nothing the edit names may go, nothing may follow
        core.poisoned(error)
        raise


def _ranges(core: Core, shape: TreeShape, deletes: tuple[RangeDelete, ...]) -> RangeDeletes:
    """The range deletes of the tree ``shape`` and ``deletes``, as far as anybody may still need them."""
    ranges = shape.ranges.added(deletes)
    if not ranges:
        return ranges
    owed = {one for t in shape.tables for one in ranges.owed(t.smallest, t.largest, t.min_seq, t.swept)}
    return ranges.only(owed).kept(core.snapshots.numbers())


def _show(core: Core, view: View, edit: VersionEdit, flushed: frozenset[int]) -> None:
    """Let readers see the new tree, and keep the books of files."""
    core.tables.place(edit.added)
    with core.box.lock:
        now = core.box.current
        if now is not None:
            kept = tuple(imm for imm in now.imms if imm.wal_number not in flushed)
            after = now._replace(imms=kept, view=view)
            core.box.swap(after.ranged() if now.ranges is not None or view.shape.ranges else after)
    core.tables.leave(number for number in edit.removed if number not in view.numbers)
    core.obsolete.update(edit.removed)
    core.obsolete.difference_update(view.numbers)
    core.building.difference_update(view.numbers)


def _next_number(core: Core) -> int:
    """A number above every one taken so far (taking one here costs nothing: numbers need not be dense)."""
    return next(core.numbers) + 1


def collect(core: Core) -> int:
    """Unlink obsolete tables that no reader can reach; how many. I/O: one unlink each."""
    if not core.obsolete:
        return 0
    with core.install_lock:
        dead = core.obsolete - core.box.numbers_in_use()
        left = discard(core, dead)
        core.obsolete -= dead - left
    return len(dead) - len(left)


def remove_logs_below(core: Core, floor: int) -> None:
    """Unlink logs whose entries are all in tables. I/O: one unlink each."""
    try:
        names = core.fs.listdir(core.path)
    except OSError:
        return
    for name in names:
        file = parse_name(name)
        if file is not None and file.kind == "wal" and file.number < floor:
            try:
                core.fs.unlink(wal_path(core.path, file.number))
            except OSError:
                continue
