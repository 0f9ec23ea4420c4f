"""The records of a table, as dictionaries in file order: for people, for debugging, for the format pages.

Every record of every dump has ``offset`` (bytes from the start of the file) and ``record`` (what it is); keys and values are
bytes. A dump reads a file by itself, so it also works on one that was copied elsewhere. Damage raises CorruptionError where
it is found, after the records before it.
"""

from __future__ import annotations

from collections.abc import Iterator

from lsmkv.env.fs import FileSystem
from lsmkv.errors import io_failed
from lsmkv.sstable.layout import FOOTER_BYTES, parse_footer
from lsmkv.sstable.layout import MAGIC as TABLE_MAGIC
from lsmkv.sstable.tablefile import TableFile

__all__ = ["Record", "dump_table", "entry_record", "is_table"]

Record = dict[str, object]


def _tail(fs: FileSystem, path: str, size: int) -> bytes:
    """The last bytes of a file."""
    try:
        file = fs.open(path)
        return file.pread(size, max(0, file.size() - size))
    except OSError as error:
        op = "dump"
        raise io_failed(op, path, error) from error


def is_table(fs: FileSystem, path: str) -> bool:
    """Whether this is a table, by name or by its last bytes. I/O: one read."""
    return path.endswith(".sst") or _tail(fs, path, FOOTER_BYTES).endswith(TABLE_MAGIC)


def dump_table(fs: FileSystem, path: str) -> Iterator[Record]:
    """Properties, then each block and its entries. CorruptionError, FormatTooNewError, IOFailedError.

    I/O: reads the file once, block by block.
    """
    tail = _tail(fs, path, FOOTER_BYTES)
    footer = parse_footer(path, fs.size(path), tail, None)
    table = TableFile(fs, path, footer.number)
    meta, properties = table.properties.meta, table.properties
    yield {
        "offset": footer.properties_at,
        "record": "table",
        "number": footer.number,
        "entries": meta.entries,
        "tombstones": meta.tombstones,
        "min_seq": meta.min_seq,
        "max_seq": meta.max_seq,
        "smallest": meta.smallest,
        "largest": meta.largest,
        "raw_bytes": meta.raw_bytes,
        "filter_bits": meta.filter_bits,
        "key_width": properties.key_width,
        "block_bytes": properties.block_bytes,
        "blocks": properties.blocks,
        "compression": properties.compression,
    }
    for index in range(table.blocks):
        at = table.offsets[index]
        block = table.block(index)
        extent = table.block_extent(index)
        yield {"offset": at, "record": "block", "bytes": extent, "raw_bytes": len(block.payload), "entries": block.entries}
        for i in range(block.entries):
            seq, value = block.entry(i)
            yield entry_record(at, block.key(i), seq, value)
    yield {"offset": footer.filter_at, "record": "filter", "bits": meta.filter_bits}
    yield {"offset": footer.index_at, "record": "index", "fences": table.blocks}
    yield {"offset": footer.file_bytes - FOOTER_BYTES, "record": "footer", "file_bytes": footer.file_bytes}


def entry_record(offset: int, key: bytes, seq: int, value: bytes | None) -> Record:
    """One entry; ``offset`` is that of the block or frame around it."""
    if value is None:
        return {"offset": offset, "record": "delete", "seq": seq, "key": key}
    return {"offset": offset, "record": "put", "seq": seq, "key": key, "value": value}
