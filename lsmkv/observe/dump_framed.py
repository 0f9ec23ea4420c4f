"""The records of the framed files, log and manifest; see :mod:`lsmkv.observe.dump` for what all dumps promise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from lsmkv.base.frames import Frame, Scan, parse_file_header, read_whole, scan
from lsmkv.env.fs import FileSystem
from lsmkv.errors import CorruptionError, io_failed
from lsmkv.observe.dump import Record, entry_record
from lsmkv.version.edit import VersionEdit, decode
from lsmkv.version.journal import MAGIC, MARK, NAME, SNAPSHOT, VERSION
from lsmkv.wal.batch import decode_batch
from lsmkv.wal.writer import MAGIC as LOG_MAGIC
from lsmkv.wal.writer import VERSION as LOG_VERSION

__all__ = ["dump_log", "dump_manifest", "is_log", "is_manifest"]


def begins_with(fs: FileSystem, path: str, magic: bytes) -> bool:
    """Whether a file begins with these bytes. I/O: one read."""
    try:
        return fs.open(path).pread(len(magic), 0) == magic
    except OSError as error:
        op = "dump"
        raise io_failed(op, path, error) from error


def is_manifest(fs: FileSystem, path: str) -> bool:
    """Whether this is a manifest, by name or by its first bytes. I/O: one read."""
    return path.rpartition("/")[2] in (NAME, NAME + ".tmp") or begins_with(fs, path, MAGIC)


def dump_manifest(fs: FileSystem, path: str) -> Iterator[Record]:
    """The snapshot, then every edit and the tables it adds and removes. CorruptionError, FormatTooNewError, IOFailedError.

    A last edit that was never acknowledged shows as a ``tail``, not as damage. I/O: reads the file once.
    """
    data = read_whole(fs, path)
    header = parse_file_header(data, path, MAGIC, VERSION)
    yield {"offset": 0, "record": "manifest", "version": VERSION, "generation": header.number, "bytes": len(data)}
    found = scan(data, header.number)
    for frame in found.frames:
        if frame.kind == MARK:
            yield {"offset": frame.offset, "record": "mark", "durable": frame.durable}
        else:
            yield from _edit(frame, decode(bytes(frame.payload), path, frame.offset))
    yield from _rest(path, data, found)


def is_log(fs: FileSystem, path: str) -> bool:
    """Whether this is a log, by name or by its first bytes. I/O: one read."""
    return path.endswith(".wal") or begins_with(fs, path, LOG_MAGIC)


def dump_log(fs: FileSystem, path: str) -> Iterator[Record]:
    """Each batch and its entries. CorruptionError, FormatTooNewError, IOFailedError.

    A torn tail shows as a ``tail``, not as damage. I/O: reads the file once.
    """
    data = read_whole(fs, path)
    header = parse_file_header(data, path, LOG_MAGIC, LOG_VERSION)
    yield {
        "offset": 0,
        "record": "log",
        "version": LOG_VERSION,
        "number": header.number,
        "previous": header.previous,
        "bytes": len(data),
    }
    found = scan(data, header.number)
    for frame in found.frames:
        batch = decode_batch(frame, path)
        yield {
            "offset": frame.offset,
            "record": "batch",
            "bytes": frame.end - frame.offset,
            "entries": len(batch.keys),
            "first_seq": batch.first_seq,
            "durable": frame.durable,
        }
        ranges = {at: stop for at, _, stop in batch.ranges}
        for i, (key, value) in enumerate(zip(batch.keys, batch.values, strict=True)):
            if i in ranges:
                yield _range_record(frame.offset, key, ranges[i], [batch.first_seq + i])
            else:
                yield entry_record(frame.offset, key, batch.first_seq + i, value)
    yield from _rest(path, data, found)


def _range_record(offset: int, start: bytes, stop: bytes | None, seqs: list[int]) -> Record:
    """One range delete, or one fragment of several; stop None: the end of all keys."""
    return {"offset": offset, "record": "range delete", "start": start, "stop": stop, "seqs": seqs}


def _rest(path: str, data: bytes, found: Scan) -> Iterator[Record]:
    """What follows the intact frames; CorruptionError if some of it was durable."""
    left = len(data) - found.end
    if left:
        unwritten = data.count(0, found.end) == left
        yield {"offset": found.end, "record": "reserve" if unwritten else "tail", "bytes": left, "why": found.why}
    if found.durable > found.end:
        raise CorruptionError(path, found.end, f"{found.why}; everything up to byte {found.durable} was durable")


def _edit(frame: Frame, edit: VersionEdit) -> Iterator[Record]:
    """One edit and its tables."""
    kind = "snapshot" if frame.kind == SNAPSHOT else "edit"
    scalars = {
        name: getattr(edit, name)
        for name in ("wal_floor", "next_file", "last_seq", "next_run", "arrivals", "policy")
        if getattr(edit, name) is not None
    }
    yield {"offset": frame.offset, "record": kind, "bytes": frame.end - frame.offset, **scalars}
    if edit.ranges is not None:
        yield {"offset": frame.offset, "record": "range deletes", "fragments": len(edit.ranges.fragments)}
        for start, stop, seqs in edit.ranges.fragments:
            yield _range_record(frame.offset, start, stop, list(seqs))
    for number in edit.removed:
        yield {"offset": frame.offset, "record": "remove", "number": number}
    for level, run, table in edit.added:
        yield {"offset": frame.offset, "record": "add", "level": level, "run": run, **asdict(table)}
