"""Judging one table file: sound, or what of it can be believed.

A table is sound if every check of :mod:`lsmkv.sstable.inspect` passes. Of any other, the blocks count that check out by
themselves: checksum (seeded by file number and offset, so a block from elsewhere does not pass), layout, kinds, order. Blocks
are found by the index if it is intact, else by walking from frame to frame; behind damage the next frame is searched for.
Nothing else of a damaged table is used, so nothing that was not written under its key can come out of it.

A file whose intact footer names another number than its name does is read as that number: it was renamed or swapped.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from posixpath import basename

import numpy as np

from lsmkv.base.columns import Columns
from lsmkv.base.counters import Counters
from lsmkv.base.filenames import parse_name
from lsmkv.base.frames import read_whole
from lsmkv.base.keys import MAX_KEY_BYTES, MAX_SEQ, MAX_VALUE_BYTES
from lsmkv.base.problem import Problem
from lsmkv.env.fs import FileSystem
from lsmkv.errors import CorruptionError, io_failed
from lsmkv.recover.repair_report import Range
from lsmkv.sstable.block import MIXED, Block
from lsmkv.sstable.compression import decompress
from lsmkv.sstable.decode import to_columns
from lsmkv.sstable.fences import decode_index
from lsmkv.sstable.layout import FOOTER_BYTES, FRAME_BYTES, INDEX, PROPERTIES, Footer, open_frame, parse_footer
from lsmkv.sstable.reader import TableReader
from lsmkv.version.shape import TableMeta

__all__ = ["Judged", "judge", "salvaged_columns", "written_as"]

WINDOW_BYTES = 1 << 20
"""Bytes searched for a frame at a time: bounds memory, not the result."""

Extent = tuple[int, int]
"""Offsets of a frame's first byte and of the byte behind it."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What one table file is worth."""

    file: str
    number: int
    """Of the table whose bytes these are."""
    meta: TableMeta | None
    """Of a sound table, what it says; else what the usable blocks add up to; None: there are none."""
    extents: tuple[Extent, ...]
    """Usable blocks of a table that is not sound."""
    findings: tuple[Problem, ...]
    """What is wrong; empty: the table is sound."""
    gaps: tuple[Range, ...]
    """Key ranges whose blocks are lost."""
    total: tuple[int, int] | None
    """(entries, tombstones) that it once had, if it still says so."""

    @property
    def sound(self) -> bool:
        """Every byte checked out, under its own name."""
        return not self.findings


def judge(fs: FileSystem, path: str) -> Judged:
    """Check the table file ``path`` (named ``{number}.sst``).

    Raises FormatTooNewError, IOFailedError.

    I/O: reads the file once if it is sound, else twice.
    """
    name = parse_name(basename(path))
    assert name is not None, path
    if not fs.size(path):  # a pipe, for one, would keep whoever opens it
        return Judged(path, name.number, None, (), (Problem(path, 0, "empty"),), (), None)
    try:
        reader = TableReader(fs, path, name.number, None, Counters())
        try:
            found = reader.verify()
            meta = reader.properties.meta
        finally:
            reader.close()
    except CorruptionError as error:
        found = [error]
    else:
        if not found:
            return Judged(path, name.number, meta, (), (), (), (meta.entries, meta.tombstones))
    findings = tuple(Problem(path, error.offset, error.what) for error in found)
    return _salvage(read_whole(fs, path), path, name.number, findings)


def salvaged_columns(fs: FileSystem, judged: Judged) -> Iterator[Columns]:
    """The entries of the usable blocks, in order. I/O: reads the file once."""
    data = read_whole(fs, judged.file)
    for at, end in judged.extents:
        block = _block(data, judged.file, judged.number, at, end)
        assert block is not None, "it checked out a moment ago"
        yield to_columns([block])


def written_as(fs: FileSystem, path: str) -> int | None:
    """The number in the footer of a table file, None if that is not intact. I/O: one read of 64 bytes.

    Raises FormatTooNewError, IOFailedError.
    """
    try:
        if not fs.size(path):
            return None
        file = fs.open(path)
        try:
            size = file.size()
            return parse_footer(path, size, file.pread(FOOTER_BYTES, max(0, size - FOOTER_BYTES)), None).number
        finally:
            file.close()
    except CorruptionError:
        return None
    except OSError as error:
        raise io_failed("read table", path, error) from error


@dataclass(slots=True)
class _Sums:
    """What the usable blocks add up to."""

    entries: int = 0
    tombstones: int = 0
    min_seq: int = MAX_SEQ
    max_seq: int = 0
    smallest: bytes | None = None
    last: tuple[bytes, int] | None = None
    """Last key, and its tag negated: where the next block must go on."""

    def add(self, columns: Columns) -> None:
        """Count a block."""
        seqs = columns.tags >> np.uint64(8)
        self.entries += len(columns)
        self.tombstones += int(np.count_nonzero((columns.tags & np.uint64(0xFF)) == 0))
        self.min_seq, self.max_seq = min(self.min_seq, int(seqs.min())), max(self.max_seq, int(seqs.max()))
        if self.smallest is None:
            self.smallest = columns.keys[0]
        self.last = columns.keys[len(columns) - 1], -int(columns.tags[-1])

    def meta(self, number: int) -> TableMeta | None:
        """As far as a manifest's record can be made of it."""
        if self.smallest is None or self.last is None:
            return None
        return TableMeta(number, 0, self.entries, self.tombstones, self.smallest, self.last[0], self.min_seq, self.max_seq)


def _salvage(data: bytes, path: str, named: int, findings: tuple[Problem, ...]) -> Judged:
    """What can be used of a table that is not sound."""
    footer = _footer(data, path)
    number = footer.number if footer is not None else named
    frames: list[Extent] = []
    index = _index_at(data, path, number, (footer.index_at, footer.properties_at)) if footer is not None else None
    if index is None:
        frames = list(_walk(data, path, number))
        index = next((found for extent in frames if (found := _index_at(data, path, number, extent)) is not None), None)
    sums = _Sums()
    if index is not None:
        used, gaps = _by_index(data, path, number, index, sums)
    else:
        used, gaps = _by_frames(data, path, number, frames, sums)
    total = _total(data, path, footer)
    if index is None and total is not None and total[0] == sums.entries:
        gaps = []
    return Judged(path, number, sums.meta(number), tuple(used), findings, tuple(gaps), total)


def _footer(data: bytes, path: str) -> Footer | None:
    """The footer if it is intact."""
    try:
        return parse_footer(path, len(data), data[-FOOTER_BYTES:], None)
    except CorruptionError:
        return None


def _total(data: bytes, path: str, footer: Footer | None) -> tuple[int, int] | None:
    """(entries, tombstones) as the properties have them, if those are intact."""
    if footer is None:
        return None
    at, end = footer.properties_at, footer.file_bytes - FOOTER_BYTES
    try:
        stored, _ = open_frame(path, footer.number, at, data[at:end])
    except CorruptionError:
        return None
    if len(stored) < PROPERTIES.size:
        return None
    entries, tombstones, *_ = PROPERTIES.unpack_from(stored)
    return entries, tombstones


def _index_at(data: bytes, path: str, number: int, extent: Extent) -> tuple[Sequence[int], list[bytes]] | None:
    """Block offsets and fences, if the frame at ``extent`` is an intact index."""
    at, end = extent
    try:
        stored, _ = open_frame(path, number, at, data[at:end])
        if len(stored) < INDEX.size:
            return None
        last = INDEX.size + 8 * INDEX.unpack_from(stored)[0]
        blocks_end = int.from_bytes(stored[last : last + 8], "little")
        if not 0 < blocks_end < at:
            return None
        return decode_index(path, at, stored, blocks_end)
    except CorruptionError:
        return None


def _by_index(
    data: bytes, path: str, number: int, index: tuple[Sequence[int], list[bytes]], sums: _Sums
) -> tuple[list[Extent], list[Range]]:
    """Usable blocks and the fences around the others."""
    offsets, fences = index
    used: list[Extent] = []
    gaps: list[Range] = []
    for i, (at, end) in enumerate(itertools.pairwise(offsets)):
        columns = _sound_columns(data, path, number, (at, end), sums.last)
        if columns is not None:
            sums.add(columns)
            used.append((at, end))
            continue
        low = fences[i - 1] if i else None
        if gaps and gaps[-1][1] == low:
            gaps[-1] = (gaps[-1][0], fences[i])
        else:
            gaps.append((low, fences[i]))
    return used, gaps


def _by_frames(data: bytes, path: str, number: int, frames: list[Extent], sums: _Sums) -> tuple[list[Extent], list[Range]]:
    """Blocks found by walking; what lay between them is lost. The first intact frame that is no block ends them."""
    used: list[Extent] = []
    gaps: list[Range] = []
    reached = 0
    for at, end in frames:
        last = None if sums.last is None else sums.last[0]
        columns = _sound_columns(data, path, number, (at, end), sums.last)
        if columns is None:
            if at > reached:
                gaps.append((last, None))
            return used, gaps
        if at > reached:
            gaps.append((last, columns.keys[0]))
        sums.add(columns)
        used.append((at, end))
        reached = end
    gaps.append((None if sums.last is None else sums.last[0], None))
    return used, gaps


def _sound_columns(data: bytes, path: str, number: int, extent: Extent, last: tuple[bytes, int] | None) -> Columns | None:
    """The entries of a block, if all of it makes sense and sorts behind ``last``."""
    block = _block(data, path, number, *extent)
    if block is None:
        return None
    ends = [block.value_ends()] + ([block.key_ends()] if block.key_width == MIXED else [])
    if any((np.diff(end) < 0).any() or end[0] for end in ends):
        return None
    columns = to_columns([block])
    if (columns.tags & np.uint64(0xFF) > 1).any():
        return None
    if int(columns.keys.lengths().max()) > MAX_KEY_BYTES or int(columns.values.lengths().max()) > MAX_VALUE_BYTES:
        return None
    order = list(zip(columns.keys.tolist(), [-tag for tag in columns.tags.tolist()], strict=True))
    if (last is not None and last >= order[0]) or any(a >= b for a, b in itertools.pairwise(order)):
        return None
    return columns


def _block(data: bytes, path: str, number: int, at: int, end: int) -> Block | None:
    """The block in the frame at ``at``, if its checksum and its columns hold."""
    try:
        stored, raw = open_frame(path, number, at, data[at:end])
        payload = stored.tobytes() if len(stored) == raw else decompress(stored, raw)
        return Block(payload, path, at)
    except (CorruptionError, ValueError):
        return None


def _walk(data: bytes, path: str, number: int) -> Iterator[Extent]:
    """Every intact frame, from the start; behind damage the next one is searched for."""
    at = 0
    while at >= 0:
        end = _frame_end(data, path, number, at)
        if end:
            yield at, end
            at = end
        else:
            at = _next_frame(data, path, number, at + 1)


def _frame_end(data: bytes, path: str, number: int, at: int) -> int:
    """Where the frame at ``at`` ends, 0 if there is no intact one."""
    if at + FRAME_BYTES > len(data):
        return 0
    end = at + FRAME_BYTES + int.from_bytes(data[at + 8 : at + 12], "little")
    if end > len(data):
        return 0
    try:
        open_frame(path, number, at, data[at:end])
    except CorruptionError:
        return 0
    return end


def _next_frame(data: bytes, path: str, number: int, start: int) -> int:
    """The first intact frame from ``start`` on, or -1. Only where the two sizes are plausible is anything hashed."""
    while (count := min(WINDOW_BYTES, len(data) - FRAME_BYTES - start)) > 0:
        stored: np.ndarray[tuple[int], np.dtype[np.uint32]] = np.ndarray((count,), "<u4", data, start + 8, (1,))
        raw: np.ndarray[tuple[int], np.dtype[np.uint32]] = np.ndarray((count,), "<u4", data, start + 12, (1,))
        room = len(data) - FRAME_BYTES - start - np.arange(count)
        for i in np.flatnonzero((stored > 0) & (stored <= raw) & (stored <= room)).tolist():
            if _frame_end(data, path, number, start + i):
                return int(start + i)
        start += count
    return -1
