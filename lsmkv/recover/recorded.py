"""What the intact part of a manifest still tells when the manifest as a whole does not count: policy, tables, ages.

When the data of a table was flushed stands in the manifest alone. Policies that forget by age (FIFO) and the bound on the
age of tombstones go by it, so a table of unknown age counts as flushed when the repair came: it expires late, not never.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from posixpath import join

from lsmkv.base.frames import parse_file_header, read_whole, scan
from lsmkv.env.fs import FileSystem
from lsmkv.errors import CorruptionError
from lsmkv.version.edit import decode
from lsmkv.version.journal import MAGIC, MARK, VERSION
from lsmkv.version.rangedeletes import RangeDelete
from lsmkv.version.shape import TableMeta

__all__ = ["Recorded", "aged", "contains", "recorded"]

MANIFEST = "MANIFEST"


@dataclass(slots=True)
class Recorded:
    """The last that was recorded of everything."""

    policy: dict[str, object] | None = None
    """None: no policy."""
    tables: dict[int, TableMeta] = field(default_factory=dict)
    """Every table that was ever named, by number."""
    deletes: set[RangeDelete] = field(default_factory=set)
    """Every range delete that was ever recorded, in the pieces that it was cut into: what they cover was gone from then on."""
    named: set[int] = field(default_factory=set)
    """Tables of the tree as of the last intact edit."""


def recorded(fs: FileSystem, path: str) -> Recorded:
    """Read what is intact of the manifest of ``path``; nothing if there is none. I/O: reads it once."""
    manifest, told = join(path, MANIFEST), Recorded()
    if not fs.exists(manifest) or fs.isdir(manifest):
        return told
    data = read_whole(fs, manifest)
    try:
        number = parse_file_header(data, manifest, MAGIC, VERSION).number
        for frame in scan(data, number).frames:
            if frame.kind == MARK:
                continue
            edit = decode(bytes(frame.payload), manifest, frame.offset)
            told.policy = edit.policy or told.policy
            told.named.difference_update(edit.removed)
            for one in edit.ranges.fragments if edit.ranges is not None else ():
                told.deletes.update(RangeDelete(one.start, one.stop, seq) for seq in one.seqs)
            for _, _, table in edit.added:
                told.tables[table.number] = table
                told.named.add(table.number)
    except CorruptionError:
        return told
    return told


def contains(table: TableMeta, part: TableMeta) -> bool:
    """Whether ``part`` can be (some of) the entries of the recorded ``table``."""
    return (
        part.number == table.number
        and table.smallest <= part.smallest
        and part.largest <= table.largest
        and table.min_seq <= part.min_seq
        and part.max_seq <= table.max_seq
        and part.entries <= table.entries
    )


def aged(meta: TableMeta, tables: Mapping[int, TableMeta], now_s: float) -> TableMeta:
    """A table with its recorded times; ``now_s`` where none are."""
    table = tables.get(meta.number)
    if table is None or not contains(table, meta):
        return replace(meta, born_s=now_s, newest_s=now_s, tombstone_s=now_s if meta.tombstones else 0.0)
    return replace(
        meta,
        born_s=table.born_s or now_s,
        newest_s=table.newest_s or now_s,
        tombstone_s=(table.tombstone_s or now_s) if meta.tombstones else 0.0,
        shadowed=table.shadowed if meta.entries == table.entries else 0,
    )
