"""Invariants of a live store, asserted on request (``db.check()``)."""

from __future__ import annotations

from lsmkv.base.filenames import parse_name
from lsmkv.errors import CorruptionError, io_failed
from lsmkv.live.core import Core
from lsmkv.live.state import ReadState
from lsmkv.live.tables import table_path
from lsmkv.version.rules import check_level_rule

__all__ = ["check_store"]


def check_store(core: Core, state: ReadState) -> None:
    """Level rule, list of range deletes, every named table present at its size, nothing on disk unnamed, memtables sound.

    I/O: lists the directory, asks the size of every table.
    """
    for imm in state.imms:
        imm.mem.check()
    with core.install_lock:
        shape = core.state.shape
        check_level_rule(shape)
        for problem in (*shape.ranges.problems(), *(state.ranges.problems() if state.ranges is not None else ())):
            raise CorruptionError("tree", -1, problem)
        try:
            for table in shape.tables:
                size = core.fs.size(table_path(core.path, table.number))
                if size != table.bytes:
                    raise CorruptionError(
                        table_path(core.path, table.number), -1, f"has {size} bytes, the manifest says {table.bytes}"
                    )
            known = {t.number for t in shape.tables} | core.obsolete | core.building
            names = core.fs.listdir(core.path)
        except OSError as error:
            raise io_failed("check", core.path, error) from error
        limit = core.state.next_file
        known |= core.building
        for name in names:
            file = parse_name(name)
            if file is None or file.kind != "sst" or file.number >= limit or file.number in known:
                continue
            if not core.fs.isdir(f"{core.path}/{name}"):
                raise CorruptionError(f"{core.path}/{name}", -1, "no version names this table")
