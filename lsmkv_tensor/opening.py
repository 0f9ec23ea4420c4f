"""Opening a store's directory: its stamp, its index and its segment files, before anything is built on them.

Done once by :meth:`PageStore.open`, and again by a store that reopens itself after a failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from posixpath import join
from typing import NamedTuple

import lsmkv
from lsmkv import DB
from lsmkv.arguments import PathArgument, checked_path
from lsmkv.env.fs import FileSystem, make_durable_dir
from lsmkv.env.posix import PosixFileSystem, anchored
from lsmkv.env.rng import Rng, seeded
from lsmkv_tensor.errors import CorruptionError, InvalidArgumentError, LsmError, NoSpaceError, io_failed
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.retention.quota import Quota, divide
from lsmkv_tensor.vlog.disks import open_disks
from lsmkv_tensor.vlog.files import IoModes, SegmentFiles
from lsmkv_tensor.vlog.relief import give_room
from lsmkv_tensor.vlog.stamp import Stamp, direct_io_works, read_stamp, upgraded, write_stamp

__all__ = ["Parts", "checked_paths", "close_parts", "open_parts"]


class Parts(NamedTuple):
    """What an open store stands on."""

    db: DB
    files: SegmentFiles
    quota: Quota
    stamp: Stamp
    fs: FileSystem


def open_parts(path: str, options: StoreOptions, further: Sequence[str] = ()) -> Parts:
    """Open the directory ``path``, creating it if there is none, with the disks it knows and those of ``further`` directories.

    On a full disk segments are given up until it can be opened, as many as the index's share has room for.
    Errors and I/O as :meth:`PageStore.open`.
    """
    fs: FileSystem = options.fs if options.fs is not None else PosixFileSystem()
    given = 0
    while True:
        try:
            return _open_parts(fs, path, options, further)
        except NoSpaceError:
            stamp = read_stamp(fs, path)
            if stamp is None:
                raise
            quota = divide(options.capacity_bytes, stamp.segment_bytes, options.index_bytes)
            if given * stamp.segment_bytes > quota.index_bytes or not give_room(fs, path):
                raise
            given += 1


def _open_parts(fs: FileSystem, path: str, options: StoreOptions, further: Sequence[str]) -> Parts:
    """:func:`open_parts`, once."""
    rng = options.rng if options.rng is not None else seeded()
    stamp = read_stamp(fs, path)
    wanted = stamp.segment_bytes if stamp is not None else options.segment_bytes
    quota = divide(options.capacity_bytes, wanted, options.index_bytes)
    _same_segments(path, stamp, options)
    _make_directories(fs, path)
    db = lsmkv.open(join(path, "index"), _index_options(options, quota, fs, rng))
    try:
        stamp = upgraded(fs, path, stamp or read_stamp(fs, path) or _create(fs, path, quota, rng))
        works = options.direct_io != "off" and direct_io_works(fs, path)
        modes = IoModes.chosen(options.direct_io, works, options.keep_cached)
        disks = open_disks(fs, db, path, stamp, further)
        files = SegmentFiles(fs, disks, stamp.segment_bytes, modes)
        return Parts(db, files, quota, stamp, fs)
    except BaseException:
        db.close()
        raise


def checked_paths(path: PathArgument | Sequence[PathArgument], fs: FileSystem | None) -> list[str]:
    """One path or several as strings, none twice, as they are meant now wherever the program goes; InvalidArgumentError."""
    several = [path] if isinstance(path, str | bytes) or hasattr(path, "__fspath__") or not isinstance(path, Sequence) else path
    paths = [anchored(checked_path(one), fs) for one in several]
    if not paths or len(set(paths)) < len(paths):
        msg = f"path = {path!r}: must name at least one directory, and none twice"
        raise InvalidArgumentError(msg)
    return paths


def close_parts(parts: Parts) -> None:
    """Let go of them after a failure: what could not be made durable is not, and whoever wrote it was told.

    A second call does nothing. I/O: the index's close.
    """
    parts.files.close()
    with suppress(LsmError, OSError):
        parts.db.close()


def _same_segments(path: str, stamp: Stamp | None, options: StoreOptions) -> None:
    """Refuse another segment size than the store was made with."""
    asked = options.segment_bytes
    if stamp is not None and asked is not None and -(-asked // 4096) * 4096 != stamp.segment_bytes:
        made = f"{path} was made with segment_bytes = {stamp.segment_bytes}, asked for {asked}"
        msg = f"{made}: leave it out, or take another directory"
        raise InvalidArgumentError(msg)


def _create(fs: FileSystem, path: str, quota: Quota, rng: Rng) -> Stamp:
    """Stamp a new store; segments without a stamp mean that the stamp was lost."""
    if any(name.endswith(".seg") for name in fs.listdir(join(path, "vlog"))):
        raise CorruptionError(join(path, "STORE"), -1, "missing, but there are segments")
    stamp = Stamp(quota.segment_bytes, rng.getrandbits(128).to_bytes(16, "big"))
    write_stamp(fs, path, stamp)
    return stamp


def _make_directories(fs: FileSystem, path: str) -> None:
    """The store's directories, durably; IOFailedError where there is a file already or no permission."""
    try:
        make_durable_dir(fs, path)
        make_durable_dir(fs, join(path, "vlog"))
    except OSError as error:
        op = "making the store's directory"
        raise io_failed(op, path, error) from error


def _index_options(options: StoreOptions, quota: Quota, fs: FileSystem, rng: Rng) -> lsmkv.Options:
    """Memtable and tables small beside the index's share of the capacity."""
    return lsmkv.Options(
        memtable_bytes=min(max(quota.index_bytes // 32, 16 << 10), 16 << 20),
        table_bytes=min(max(quota.index_bytes // 16, 64 << 10), 32 << 20),
        block_cache_bytes=options.block_cache_bytes,
        hash_column_bytes=options.block_cache_bytes // 2,
        stall_timeout_s=5.0,
        event_log=False,  # it would take bytes of the index's share
        status_interval_s=None,  # as the event log
        fs=fs,
        clock=options.clock,
        rng=rng,
        scheduler=options.scheduler,
    )
