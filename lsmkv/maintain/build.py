"""Writing a sorted stream of entries into as many tables as it needs."""

from __future__ import annotations

from collections.abc import Iterable

from lsmkv.base.columns import Columns
from lsmkv.errors import ClosedError
from lsmkv.live.core import Core
from lsmkv.live.tables import table_path
from lsmkv.sstable.builder import TableBuilder
from lsmkv.version.shape import TableMeta

__all__ = ["build_tables", "discard"]


def build_tables(core: Core, stream: Iterable[Columns], level: int, table_bytes: int | None) -> list[TableMeta]:
    """Durable tables with the entries of ``stream``, split where one exceeds ``table_bytes`` (None: never).

    The stream's slices must not divide the versions of one key. On any failure, and when the store is closing, every
    output is removed again.

    I/O: writes the tables, one fdatasync each; their names become durable with the edit that installs them.
    """
    done: list[TableMeta] = []
    builder: TableBuilder | None = None
    number = 0
    try:
        for columns in stream:
            _give_way(core)
            if not len(columns):
                continue
            if builder is None:
                number = next(core.numbers)
                builder = _start(core, number, level)
            builder.add(columns)
            if table_bytes is not None and builder.bytes >= table_bytes:
                done.append(builder.finish())
                builder = None
        if builder is not None:
            done.append(builder.finish())
            builder = None
    except BaseException:
        if builder is not None:
            builder.abandon()
            core.building.discard(number)
        discard(core, [t.number for t in done])
        raise
    return done


def _give_way(core: Core) -> None:
    """Stop here if the store is closing."""
    if core.stopping:
        raise ClosedError(core.path)


def _start(core: Core, number: int, level: int) -> TableBuilder:
    """Begin a table of the kind that ``level`` holds."""
    options = core.options
    core.building.add(number)
    return TableBuilder(
        core.fs,
        table_path(core.path, number),
        number=number,
        block_bytes=options.block_bytes,
        compression=options.compression_at(level),
        filter_bits_per_key=options.filter_bits_per_key,
    )


def discard(core: Core, numbers: Iterable[int]) -> set[int]:
    """Unlink tables that nobody names; those that could not be unlinked (the next opening removes them at the latest)."""
    left: set[int] = set()
    for number in numbers:
        core.tables.forget(number)
        core.building.discard(number)
        try:
            core.fs.unlink(table_path(core.path, number))
        except FileNotFoundError:
            continue
        except OSError:
            left.add(number)
            continue
        core.work.unlinked += 1
    return left
