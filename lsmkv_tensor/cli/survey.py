"""What a page store's files say about it, without opening it: the record behind ``lsmkv stats``."""

from __future__ import annotations

from posixpath import join

import lsmkv
from lsmkv.env.fs import FileSystem
from lsmkv.observe.report import survey
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.registry import NamespaceInfo
from lsmkv_tensor.vlog.disks import Scannable, known_disks
from lsmkv_tensor.vlog.reserved import NAMES, NAMESPACES, SEGMENTS, number_of
from lsmkv_tensor.vlog.segment import FREE, SEALED, Segment
from lsmkv_tensor.vlog.stamp import read_stamp

__all__ = ["follow_index", "namespaces_of", "report", "segment_files", "segments_of"]


def follow_index(fs: FileSystem, path: str) -> lsmkv.Follower:
    """The index of the page store at ``path``, as of now, to be read without lock beside a live writer. I/O: reads its logs."""
    return lsmkv.open(join(path, "index"), lsmkv.Options(fs=fs, refresh_s=None), read_only=True)


def segments_of(index: Scannable, path: str) -> dict[int, Segment]:
    """Every segment by number, as the index of the page store at ``path`` records it. CorruptionError. I/O: one short scan."""
    where = join(path, "index")
    return {s.number: s for s in (Segment.from_record(k, v, where) for k, v in index.scan(prefix=SEGMENTS))}


def report(fs: FileSystem, path: str) -> dict[str, object]:
    """Pages, namespaces, segments, and the index below them. Takes no lock and changes nothing.

    CorruptionError, FormatTooNewError, IOFailedError, InvalidArgumentError. I/O: reads the index once.
    """
    stamp = read_stamp(fs, path)
    if stamp is None:
        msg = f"{path} is no page store (no STORE file there)"
        raise InvalidArgumentError(msg)
    index = survey(join(path, "index"), fs)
    with follow_index(fs, path) as follower, follower.snapshot() as now:
        segments = segments_of(now, path).values()
        namespaces = _namespaces(now)
        log_entries = follower.stats().memtable_entries
        homes = known_disks(now, path)
    on_disk = segment_files(fs, homes)
    segment_file_bytes = sum(map(fs.size, on_disk))
    return {
        "path": path,
        "store_id": stamp.store_id,
        "pages": sum(s.pages for s in segments),
        "live_bytes": sum(s.live_bytes for s in segments),
        "used_bytes": sum(s.used_bytes for s in segments if s.state != FREE),
        "segment_bytes": stamp.segment_bytes,
        "segments": len(on_disk),
        "disks": len(homes),
        "sealed_segments": sum(s.state == SEALED for s in segments),
        "free_segments": sum(s.state == FREE for s in segments),
        "segment_file_bytes": segment_file_bytes,
        "bytes": segment_file_bytes + index.bytes,
        "namespaces": namespaces,
        "index": {**index.to_dict(), "log_entries": log_entries},
    }


def segment_files(fs: FileSystem, homes: dict[int, str]) -> list[str]:
    """The paths of all segment files on these disks, as far as they can be listed. I/O: a listing a disk."""
    return [join(home, name) for home in homes.values() if fs.isdir(home) for name in fs.listdir(home) if name.endswith(".seg")]


def namespaces_of(index: lsmkv.Snapshot) -> list[NamespaceInfo]:
    """Every registered namespace by number, as the index records it. I/O: two short scans."""
    names: dict[int, list[str]] = {}
    for key, value in index.scan(prefix=NAMES):
        names.setdefault(int.from_bytes(value, "big"), []).append(key[len(NAMES) :].decode(errors="replace"))
    found = []
    for key, text in index.scan(prefix=NAMESPACES):
        number = number_of(NAMESPACES, key)
        found.append(NamespaceInfo.of(number, text, names.get(number, ())))
    return found


def _namespaces(index: lsmkv.Snapshot) -> dict[str, object]:
    """Number -> what it is: names, page size, fields, pages stored."""
    return {
        str(info.number): {
            "names": list(info.names),
            "pages": sum(1 for _ in index.scan(prefix=info.number.to_bytes(4, "big"))),
            "page_bytes": info.page_bytes,
            "fields": info.fields,
        }
        for info in namespaces_of(index)
    }
