"""Reading a manifest: the frames of the file MANIFEST back into one state. Changes nothing on disk.

Whoever reads on in a file that grows meanwhile (:mod:`lsmkv.version.tail`) judges and applies its frames by the same functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from posixpath import join

from lsmkv.base.frames import FRAME_HEADER_BYTES, Frame, Scan, parse_file_header, read_whole, scan
from lsmkv.env.fs import FileSystem
from lsmkv.errors import CorruptionError, InvalidArgumentError
from lsmkv.version.edit import VersionEdit, decode
from lsmkv.version.state import ManifestState
from lsmkv.version.version import apply_edit

__all__ = ["ManifestContents", "applied", "edit_of", "judge_tail", "parse_manifest", "read_manifest"]

NAME = "MANIFEST"
MAGIC = b"lsmkvMAN"
VERSION = 3
"""Newest format this library writes and knows. Version 1 had no times of tables, no transition and no ledger, version 2 no
range deletes."""

SNAPSHOT, EDIT, MARK = 1, 2, 3
"""Kinds of frames."""

RESERVE_BYTES = FRAME_HEADER_BYTES
"""Zeros that always follow the last frame: without them the end of the file is missing."""


@dataclass(frozen=True, slots=True)
class ManifestContents:
    """What a manifest file says."""

    state: ManifestState
    edits: tuple[VersionEdit, ...]
    """The snapshot, then every edit."""
    generation: int
    version: int
    """Of the format the file was begun in."""
    length: int
    """Bytes of header and intact frames."""
    base: int
    """Length after the snapshot and the mark behind it."""
    size: int
    """Bytes of the file."""
    frames: int
    marked: bool
    """The last frame is a mark: everything before it was acknowledged."""
    dropped: str | None
    """What lies beyond the intact frames and was never acknowledged; None if only zeros."""


def read_manifest(fs: FileSystem, directory: str) -> ManifestContents:
    """Read the manifest of ``directory``.

    Raises CorruptionError for damage to anything that was acknowledged (a file that lost its end included),
    FormatTooNewError, IOFailedError (also when there is none).

    I/O: reads the file once.
    """
    path = join(directory, NAME)
    return parse_manifest(path, read_whole(fs, path))


def parse_manifest(path: str, data: bytes) -> ManifestContents:
    """What the bytes of a whole manifest say; see :func:`read_manifest`."""
    header = parse_file_header(data, path, MAGIC, VERSION)
    found = scan(data, header.number)
    dropped = judge_tail(path, data, found)
    edits: list[VersionEdit] = []
    state = ManifestState()
    base = 0
    for index, frame in enumerate(found.frames):
        edit = edit_of(path, index, frame)
        if edit is not None:
            edits.append(edit)
            state = applied(state, edit, path, frame.offset)
        if index < 2 and (edit is None or not base):
            base = frame.end
    return ManifestContents(
        state=state,
        edits=tuple(edits),
        generation=header.number,
        version=int.from_bytes(data[len(MAGIC) : len(MAGIC) + 4], "little"),
        length=found.end,
        base=base,
        size=len(data),
        frames=len(found.frames),
        marked=found.frames[-1].kind == MARK,
        dropped=dropped,
    )


def judge_tail(path: str, data: bytes, found: Scan, origin: int = 0) -> str | None:
    """Judge what follows the intact frames: None if it is the reserve, a report if it was never acknowledged.

    ``data`` is what the file holds from ``origin`` on.
    """
    end = found.end - origin
    left = len(data) - end
    if found.overhang or left < RESERVE_BYTES:
        raise CorruptionError(path, found.end, "the end of the file is missing: zeros always follow the last frame")
    if not found.frames and not origin:
        raise CorruptionError(path, found.end, f"no intact snapshot: {found.why}")
    if found.durable > found.end:
        raise CorruptionError(path, found.end, f"{found.why}; everything up to byte {found.durable} was durable")
    lost = len(data.rstrip(b"\0")) - end
    if lost <= 0:
        return None
    return f"{path}: dropped {lost} bytes at byte {found.end} that were never acknowledged ({found.why})"


def edit_of(path: str, index: int, frame: Frame) -> VersionEdit | None:
    """The edit in a frame, None if it is a mark."""
    expected = {SNAPSHOT} if index == 0 else {EDIT, MARK}
    if frame.kind not in expected or frame.stamp != index:
        what = f"frame {index} is of kind {frame.kind} and calls itself number {frame.stamp}"
        raise CorruptionError(path, frame.offset, what)
    return None if frame.kind == MARK else decode(bytes(frame.payload), path, frame.offset)


def applied(state: ManifestState, edit: VersionEdit, path: str, offset: int) -> ManifestState:
    """The state after an edit; CorruptionError if the edit contradicts the tree."""
    try:
        return apply_edit(state, edit)
    except InvalidArgumentError as error:
        raise CorruptionError(path, offset, str(error)) from error
