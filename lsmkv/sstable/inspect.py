"""Checking a whole table: every checksum, the order of the entries, and whether what the table says of itself is true."""

from __future__ import annotations

import itertools

import numpy as np

from lsmkv.base.columns import Columns
from lsmkv.base.hashing import hash_column
from lsmkv.base.order import equal_to_previous
from lsmkv.errors import CorruptionError
from lsmkv.sstable import decode
from lsmkv.sstable.block import MIXED, Block
from lsmkv.sstable.tablefile import TableFile

__all__ = ["problems"]


class _Sums:
    """What the blocks seen so far add up to."""

    def __init__(self) -> None:
        self.entries = 0
        self.tombstones = 0
        self.raw_bytes = 0
        self.seqs: list[int] = []
        self.widths: set[int] = set()
        self.last: tuple[bytes, int] | None = None


def problems(table: TableFile) -> list[CorruptionError]:
    """All that is wrong with an opened table (opening has checked filter, index, properties and footer)."""
    found: list[CorruptionError] = []
    sums = _Sums()
    damaged = False
    for index in range(table.blocks):
        at = table.offsets[index]
        try:
            block = table.block(index)
            columns = decode.to_columns([block])
            found += [CorruptionError(table.path, at, what) for what in _block_problems(table, index, block, columns, sums)]
        except CorruptionError as error:
            found.append(error)
            damaged = True
            sums.last = None
    if not damaged:
        at = table.footer.properties_at
        found += [CorruptionError(table.path, at, what) for what in _property_problems(table, sums)]
    return found


def _block_problems(table: TableFile, index: int, block: Block, columns: Columns, sums: _Sums) -> list[str]:
    """What is wrong with one intact block, adding it to the sums."""
    found = []
    if (np.diff(block.value_ends()) < 0).any() or (block.key_width == MIXED and (np.diff(block.key_ends()) < 0).any()):
        return ["key or value ends descend"]
    keys = columns.keys.tolist()
    kinds = columns.tags & np.uint64(0xFF)
    if (kinds > 1).any():
        found.append("entry of an unknown kind")
    order = list(zip(keys, (-columns.tags.astype(np.int64)).tolist(), strict=True))
    if sums.last is not None and sums.last >= order[0]:
        found.append("first entry does not sort after the block before")
    if any(a >= b for a, b in itertools.pairwise(order)):
        found.append("entries out of order")
    fences = table.fences
    if not keys[-1] <= fences[index] or (index and not fences[index - 1] <= keys[0]):
        found.append("keys outside the block's fences")
    if block.repeats != bool(equal_to_previous(columns.keys).any()):
        found.append("the flag for repeated keys is wrong")
    if block.deletes != bool((kinds == 0).any()):
        found.append("the flag for tombstones is wrong")
    if table.filter is not None and not table.filter.check_many(hash_column(columns.keys)).all():
        found.append("the filter denies a key of this block")
    seqs = columns.tags >> np.uint64(8)
    sums.entries += len(columns)
    sums.tombstones += int((kinds == 0).sum())
    sums.raw_bytes += columns.keys.nbytes + columns.values.nbytes
    sums.seqs += [int(seqs.min()), int(seqs.max())]
    sums.widths.add(columns.keys.width)
    sums.last = order[-1]
    return found


def _property_problems(table: TableFile, sums: _Sums) -> list[str]:
    """Where the properties differ from what the blocks add up to."""
    meta = table.properties.meta
    width = sums.widths.pop() if len(sums.widths) == 1 else -1
    pairs = {
        "entries": (meta.entries, sums.entries),
        "tombstones": (meta.tombstones, sums.tombstones),
        "raw bytes": (meta.raw_bytes, sums.raw_bytes),
        "smallest sequence number": (meta.min_seq, min(sums.seqs)),
        "largest sequence number": (meta.max_seq, max(sums.seqs)),
        "smallest key": (meta.smallest, next(iter(decode.to_columns([table.block(0)]).keys.tolist()))),
        "largest key": (meta.largest, sums.last[0] if sums.last else None),
        "last fence": (meta.largest, table.fences[table.blocks - 1]),
        "key width": (table.properties.key_width, width),
    }
    return [f"properties say {name} {says!r}, the blocks {is_!r}" for name, (says, is_) in pairs.items() if says != is_]
