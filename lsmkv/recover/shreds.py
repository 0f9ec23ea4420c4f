"""What the intact frames of a manifest that is given up still say and that stays true whatever else is lost.

Which tables made up the tree is not among it. What is: the policy it had last, and the range deletes it held: each was
committed once, and what it covers was gone from then on.
"""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import join

from lsmkv.base.frames import parse_file_header, read_whole, scan
from lsmkv.env.fs import FileSystem
from lsmkv.errors import CorruptionError
from lsmkv.policy.leveled import Leveled
from lsmkv.policy.registry import describe_policy
from lsmkv.version.edit import VersionEdit, decode
from lsmkv.version.journal import MAGIC, MARK, NAME, VERSION
from lsmkv.version.rangedeletes import RangeDelete

__all__ = ["recorded_deletes", "recorded_policy"]


def recorded_policy(fs: FileSystem, path: str) -> dict[str, object]:
    """The last policy that an intact frame names; the default if there is none. I/O: reads the manifest."""
    policy = describe_policy(Leveled())
    for edit in _edits(fs, path):
        policy = edit.policy or policy
    return policy


def recorded_deletes(fs: FileSystem, path: str) -> set[RangeDelete]:
    """Every range delete that an intact frame names, in the pieces that it was cut into. I/O: reads the manifest."""
    lists = [edit.ranges for edit in _edits(fs, path) if edit.ranges is not None]
    return {RangeDelete(one.start, one.stop, seq) for ranges in lists for one in ranges.fragments for seq in one.seqs}


def _edits(fs: FileSystem, path: str) -> Iterator[VersionEdit]:
    """The edits in intact frames, up to the first that makes no sense."""
    manifest = join(path, NAME)
    if not fs.exists(manifest):
        return
    data = read_whole(fs, manifest)
    try:
        number = parse_file_header(data, manifest, MAGIC, VERSION).number
        for frame in scan(data, number).frames:
            if frame.kind != MARK:
                yield decode(bytes(frame.payload), manifest, frame.offset)
    except CorruptionError:
        return
