"""The directories that a store's segments lie in: one, or several on several disks.

The first directory holds the index, too. Each further one holds segments alone, and is stamped with whose they are::

    DIR/DISK                   one block, little endian, written once (to DISK.tmp, synced, renamed)
     0 magic "LSMKVDSK" 8 | 8 format version u32 | 12 disk u32 | 16 segment_bytes u64 | 24 store id 16 | 40 checksum u64 | zeros
    DIR/vlog/16777217.seg ...  its segments

The index remembers where each disk was last (record 'D'), so the first directory is enough to open them all. A segment's number
says which disk it is on: ``disk << 24 | n``. A disk that is not there, or whose stamp is not, costs the pages on it and nothing
else: nothing is created on the bare mount point of a disk that was stamped before.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from posixpath import join
from typing import Protocol

from lsmkv import DB
from lsmkv.env.fs import FileSystem, make_durable_dir, write_all
from lsmkv_tensor.errors import CorruptionError, FormatTooNewError, InvalidArgumentError, LsmError, io_failed
from lsmkv_tensor.vlog.layout import BLOCK, header_check
from lsmkv_tensor.vlog.reserved import DISKS, number_key, number_of
from lsmkv_tensor.vlog.stamp import Stamp

__all__ = ["DISK_SHIFT", "MAX_DISKS", "Disks", "Scannable", "known_disks", "open_disks", "segment_home"]

DISK_SHIFT = 24
"""Bits of a segment's number that count within its disk."""
MAX_DISKS = 64
VLOG = "vlog"

_NAME = "DISK"
_VERSION = 1
_STAMP = struct.Struct("<8sIIQ16sQ")
_CHECK_AT = 40
_MAGIC = b"LSMKVDSK"


class Scannable(Protocol):
    """An index that can be read: a store's own, a follower of one, a snapshot."""

    def scan(self, *, prefix: bytes) -> Iterable[tuple[bytes, bytes]]:
        """Entries whose key begins with ``prefix``."""
        ...


@dataclass(slots=True)
class Disks:
    """Directories by disk number; the first directory of the store is 0."""

    homes: dict[int, str]
    """Where the segments of each disk lie, or lay."""
    failed: set[int] = field(default_factory=set)
    """Disks that were missing at opening, or that failed since: nothing is written there."""

    def home(self, segment: int) -> str:
        """The directory of a segment's file."""
        return segment_home(self.homes, segment)

    def works(self, segment: int) -> bool:
        """Whether the segment's disk may be written to."""
        return segment >> DISK_SHIFT not in self.failed

    def give_up(self, segment: int) -> bool:
        """Write no more to the disk of a segment; False (and no change) if there is no other one."""
        disk = segment >> DISK_SHIFT
        if not self.homes.keys() - self.failed - {disk}:
            return False
        self.failed.add(disk)
        return True


def segment_home(homes: dict[int, str], segment: int) -> str:
    """The directory of a segment's file; one nobody ever heard of is looked for in the first."""
    return homes.get(segment >> DISK_SHIFT, homes[0])


def known_disks(index: Scannable, path: str) -> dict[int, str]:
    """Where the index of the store at ``path`` says its disks are. I/O: one short scan."""
    homes = {0: join(path, VLOG)}
    for key, value in index.scan(prefix=DISKS):
        homes[number_of(DISKS, key)] = join(value.decode(), VLOG)
    return homes


def open_disks(fs: FileSystem, db: DB, path: str, stamp: Stamp, further: Sequence[str]) -> Disks:
    """The disks of a store: those it knows, and those of the ``further`` directories, stamped if they are new.

    Raises InvalidArgumentError for a directory that belongs to another store, CorruptionError, FormatTooNewError and
    IOFailedError for a new one that cannot be stamped. One that the store knows and that is not there is given up.

    I/O: reads a stamp a disk; a new one costs a file, two directory syncs and an index commit.
    """
    known = {number_of(DISKS, key): value.decode() for key, value in db.scan(prefix=DISKS)}
    stamped: dict[str, int | None] = {}
    for at in dict.fromkeys([*further, *known.values()]):
        try:
            stamped[at] = _read(fs, at, stamp)
        except InvalidArgumentError:
            raise
        except LsmError:
            if at not in known.values():
                raise
            stamped[at] = None
    for at in further:
        disk = stamped[at]
        if disk is None and at not in known.values():
            disk = max(known, default=0) + 1
            if disk >= MAX_DISKS:
                msg = f"{at}: a store keeps its segments in at most {MAX_DISKS} directories"
                raise InvalidArgumentError(msg)
            _make(fs, at, disk, stamp)
            stamped[at] = disk
        if disk is not None and known.get(disk) != at:  # new, or mounted elsewhere
            known[disk] = at
            db.put(number_key(DISKS, disk), at.encode(), sync=True)
    there = {disk for disk in stamped.values() if disk is not None}
    homes = {0: path, **known}
    return Disks({disk: join(at, VLOG) for disk, at in homes.items()}, {disk for disk in known if disk not in there})


def _read(fs: FileSystem, directory: str, store: Stamp) -> int | None:
    """The number of a disk by its stamp, None if there is none. I/O: one read."""
    path = join(directory, _NAME)
    try:
        if not fs.exists(path):
            return None
        raw = fs.open(path).pread(BLOCK, 0)
    except OSError as error:
        op = "reading a disk's stamp"
        raise io_failed(op, path, error) from error
    if len(raw) != BLOCK:
        raise CorruptionError(path, len(raw), f"stamp has {len(raw)} of {BLOCK} bytes")
    magic, version, disk, segment_bytes, store_id, check = _STAMP.unpack_from(raw)
    if magic != _MAGIC or check != header_check(raw, _CHECK_AT):
        raise CorruptionError(path, 0, "stamp fails its checksum")
    if version > _VERSION:
        raise FormatTooNewError(path, version, _VERSION)
    if store_id != store.store_id or segment_bytes != store.segment_bytes:
        msg = f"{directory} holds segments of another store (its id is {store_id.hex()}): give each store directories of its own"
        raise InvalidArgumentError(msg)
    return int(disk)


def _make(fs: FileSystem, directory: str, disk: int, store: Stamp) -> None:
    """Make a directory a disk of the store, durably. I/O: one file, synced; directory syncs."""
    raw = bytearray(BLOCK)
    _STAMP.pack_into(raw, 0, _MAGIC, _VERSION, disk, store.segment_bytes, store.store_id, 0)
    check = header_check(bytes(raw), _CHECK_AT)
    _STAMP.pack_into(raw, 0, _MAGIC, _VERSION, disk, store.segment_bytes, store.store_id, check)
    path = join(directory, _NAME)
    try:
        make_durable_dir(fs, directory)
        if fs.exists(join(directory, "STORE")):
            msg = f"{directory} is a page store of its own: it cannot be a further directory of another one"
            raise InvalidArgumentError(msg)
        make_durable_dir(fs, join(directory, VLOG))
        if fs.exists(path + ".tmp"):
            fs.unlink(path + ".tmp")
        file = fs.open(path + ".tmp", "create")
        write_all(file, [raw], 0)
        file.sync()
        file.close()
        fs.rename(path + ".tmp", path)
        fs.sync_dir(directory)
    except OSError as error:
        op = "stamping a disk"
        raise io_failed(op, path, error) from error
