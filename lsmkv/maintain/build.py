"""Writing a sorted stream of entries into as many tables as it needs.

Where one table ends and the next begins depends on the entries alone, not on how the stream was sliced: a table takes entries
until its keys, values and 8 bytes for each entry reach the size asked for, and all versions of a key stay together. So a
simulator that knows the entries knows the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np

from lsmkv.base.columns import Columns
from lsmkv.base.counters import WorkCounters
from lsmkv.base.order import equal_to_previous
from lsmkv.base.pauses import UNMINDED, Pause
from lsmkv.env.fs import FileSystem
from lsmkv.errors import ClosedError
from lsmkv.live.core import Core
from lsmkv.live.tables import table_path
from lsmkv.live.throttle import Work
from lsmkv.maintain.spend import spend
from lsmkv.options import Options
from lsmkv.sstable.builder import TableBuilder
from lsmkv.version.shape import TableMeta

__all__ = ["Part", "Plan", "Site", "build_tables", "discard", "withdraw", "write_tables"]

PIECE_BYTES = 1 << 20
"""What is written at once where a limit has to be passed."""

Part = tuple[Columns, bool]
"""Sorted entries, and whether older versions of their keys may be among them (some snapshot needs them)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How the tables of one flush or compaction are made."""

    level: int
    table_bytes: int | None
    """Size in keys, values and 8 bytes an entry at which another table begins; None: never."""
    filter_bits_per_key: float
    """0: no filter."""
    stamped: Callable[[TableMeta], TableMeta]
    """Adds what the file itself does not know: when its data was flushed."""
    counts: WorkCounters
    """Where what is written is counted."""
    work: Work | None = "compact"
    """Whose limit it has to pass; None: nobody's."""
    pause: Pause = UNMINDED
    """Entered for what needs no interpreter, or waits."""


class Site(Protocol):
    """Where tables are written: an open store, or what a helper process knows of one."""

    @property
    def fs(self) -> FileSystem:
        """The file system."""
        ...

    @property
    def path(self) -> str:
        """The store's directory."""
        ...

    @property
    def options(self) -> Options:
        """In force now; size and compression of blocks count."""
        ...

    @property
    def numbers(self) -> Iterator[int]:
        """The numbers of files to come."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether to give up between slices."""
        ...


def build_tables(core: Core, stream: Iterable[Part], plan: Plan) -> list[TableMeta]:
    """Durable tables with the entries of ``stream``.

    The stream's slices must not divide the versions of one key. On any failure, and when the store is closing, every
    output is removed again.

    I/O: writes the tables, one fdatasync each; their names become durable with the edit that installs them.
    """
    begun: list[int] = []

    def begin(number: int) -> None:
        """Note a table before its file is there."""
        begun.append(number)
        core.building.add(number)

    try:
        return write_tables(core, stream, plan, begin, None if plan.work is None else partial(spend, core, plan.work))
    except BaseException:
        withdraw(core, begun)
        raise


def write_tables(
    site: Site,
    stream: Iterable[Part],
    plan: Plan,
    begin: Callable[[int], None],
    charge: Callable[[int], None] | None,
) -> list[TableMeta]:
    """As :func:`build_tables`, but on a failure only the last table goes. ``begin``: told the number of each before it is begun.

    ``charge``: called with the bytes written since the last time; None: nobody counts them.
    """
    done: list[TableMeta] = []
    output: _Output | None = None
    try:
        for columns, versions in stream:
            _give_way(site)
            rest = columns
            while len(rest):
                if output is None:
                    number = next(site.numbers)
                    begin(number)
                    output = _Output(site, plan, number, charge)
                rest = output.take(rest, versions)
                if output.full:
                    done.append(output.finish())
                    output = None
        if output is not None:
            done.append(output.finish())
            output = None
    except BaseException:
        if output is not None:
            output.builder.abandon()
        raise
    return done


class _Output:
    """One table being written."""

    def __init__(self, site: Site, plan: Plan, number: int, charge: Callable[[int], None] | None) -> None:
        options = site.options
        self.builder = TableBuilder(
            site.fs,
            table_path(site.path, number),
            number=number,
            block_bytes=options.block_bytes,
            compression=options.compression_at(plan.level),
            filter_bits_per_key=plan.filter_bits_per_key,
            pause=plan.pause,
        )
        self.full = False
        self._site = site
        self._plan = plan
        self._pay = charge
        self._charged_bytes = 0
        self._taken_bytes = 0
        self._shadowed = 0

    def take(self, columns: Columns, versions: bool) -> Columns:
        """Add entries until the table is full; those left over."""
        limit = self._plan.table_bytes
        count = len(columns)
        if limit is not None and self._taken_bytes + columns.nbytes >= limit:
            count = _fill(columns, limit - self._taken_bytes)
            self.full = True
        mine = columns if count == len(columns) else columns.slice(0, count)
        for piece in _pieces(mine) if self._site.options.background_bytes_per_s is not None else (mine,):
            self.builder.add(piece)
            self._charge(self.builder.bytes)
        self._taken_bytes += mine.nbytes
        if versions:
            self._shadowed += int(np.count_nonzero(equal_to_previous(mine.keys)))
        return columns.slice(count, len(columns))

    def finish(self) -> TableMeta:
        """The durable table."""
        meta = self.builder.finish()
        self._plan.counts.wrote(meta.bytes, meta.entries)
        self._charge(meta.bytes)
        return self._plan.stamped(replace(meta, shadowed=self._shadowed))

    def _charge(self, written_bytes: int) -> None:
        """Pass the limit with what was written since the last time."""
        if self._pay is not None:
            limited = self._site.options.background_bytes_per_s is not None
            with self._plan.pause if limited else UNMINDED:
                self._pay(written_bytes - self._charged_bytes)
        self._charged_bytes = max(self._charged_bytes, written_bytes)


def _pieces(columns: Columns) -> Iterator[Columns]:
    """The entries, about PIECE_BYTES at a time."""
    step = max(len(columns) * PIECE_BYTES // max(columns.nbytes, 1), 1)
    for start in range(0, len(columns), step):
        yield columns.slice(start, min(start + step, len(columns)))


def _fill(columns: Columns, room_bytes: int) -> int:
    """How many entries it takes to fill ``room_bytes``, no version of the last key left behind."""
    keys, values, n = columns.keys.offsets, columns.values.offsets, len(columns)
    ends = keys[1:] - keys[0] + values[1:] - values[0] + 8 * np.arange(1, n + 1)
    count = int(np.searchsorted(ends, room_bytes)) + 1
    last = columns.keys[count - 1]
    while count < n and columns.keys[count] == last:
        count += 1
    return count


def _give_way(site: Site) -> None:
    """Stop here if the store is closing."""
    if site.stopping:
        raise ClosedError(site.path)


def withdraw(core: Core, numbers: Iterable[int]) -> None:
    """Give up tables that were written for an edit that did not come about; never those that the tree names.

    What cannot be unlinked now is obsolete like any other table that nobody names: tried again after every edit. After a
    failure that leaves unknown what the manifest says, nothing goes. I/O: one unlink each.
    """
    with core.install_lock:
        if core.poison is None:
            named = {t.number for t in core.state.shape.tables}
            core.obsolete |= discard(core, [number for number in numbers if number not in named])


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
