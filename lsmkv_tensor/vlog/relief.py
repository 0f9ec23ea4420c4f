"""Making room on a disk that is so full that a store cannot be opened.

An index must write a little before it can be opened: what its logs hold goes into tables. Where others have filled the disk to
the last byte, the store has the room itself: its segments. One that holds nothing goes first, else the one with the fewest live
bytes; opening then finds that its file is gone and forgets its pages, as of a segment that somebody removed.
"""

from __future__ import annotations

from posixpath import join

import lsmkv
from lsmkv.env.fs import FileSystem
from lsmkv_tensor.errors import LsmError
from lsmkv_tensor.vlog.disks import known_disks, segment_home
from lsmkv_tensor.vlog.reserved import SEGMENTS
from lsmkv_tensor.vlog.segment import ACTIVE, FREE, Segment

__all__ = ["give_room"]


def give_room(fs: FileSystem, path: str) -> bool:
    """Remove one segment file of the store at ``path`` from its first disk, where the index is; False if there is none to remove.

    Nobody else may have the store open: LockedError. I/O: reads the index without writing; one unlink.
    """
    try:
        lock = fs.lock(join(path, "index", "LOCK"))
    except OSError:
        return False
    try:
        with lsmkv.open(join(path, "index"), lsmkv.Options(fs=fs, refresh_s=None), read_only=True) as index:
            segments = [Segment.from_record(key, value, path) for key, value in index.scan(prefix=SEGMENTS)]
            homes = known_disks(index, path)
        there = {s.number: s for s in segments if segment_home(homes, s.number) == homes[0]}
        names = {number: join(homes[0], f"{number:06d}.seg") for number in there}
        on_disk = [s for s in there.values() if fs.exists(names[s.number])]
        if not on_disk:
            return False
        least = min(on_disk, key=lambda s: (s.state != FREE, s.state == ACTIVE, s.live_bytes, s.generation))
        fs.unlink(names[least.number])
    except (LsmError, OSError):
        return False
    else:
        return True
    finally:
        lock.release()
