"""Reading on in a manifest that somebody else is writing: only the edits that are new, or all of it after a rewrite.

The file is opened by name at every look, so it is always the one that a rewrite renamed into place. Whether it is still the
one read before is told by what it begins with: the file header (with the generation) and the header of the snapshot's frame
(with the checksum of the snapshot). An intact frame counts as in effect: its writer never takes one back, and whoever opens the
store after a crash believes it, too. A frame that is not intact yet is left for the next look.
"""

from __future__ import annotations

from posixpath import join

from lsmkv.base.frames import FILE_HEADER_BYTES, FRAME_HEADER_BYTES, scan
from lsmkv.env.fs import File, FileSystem, read_exact
from lsmkv.errors import CorruptionError, io_failed
from lsmkv.version.journal import NAME, applied, edit_of, judge_tail, parse_manifest
from lsmkv.version.state import ManifestState

__all__ = ["ManifestTail"]

HEAD_BYTES = FILE_HEADER_BYTES + FRAME_HEADER_BYTES
"""File header and header of the snapshot: what tells one manifest from another."""


class ManifestTail:
    """The manifest of a directory as far as it was read. One thread at a time."""

    __slots__ = ("_frames", "_fs", "_head", "_length", "generation", "path", "state")

    def __init__(self, fs: FileSystem, directory: str) -> None:
        self._fs = fs
        self._head = b""
        self._length = 0
        self._frames = 0
        self.path = join(directory, NAME)
        self.generation = 0
        """Of the file that was read last."""
        self.state = ManifestState()
        """What it says, as of the last :meth:`look`."""

    def look(self) -> bool:
        """Read what is new; whether ``state`` changed.

        Raises CorruptionError (also when a writer was in the middle of a change: look again before believing it),
        FormatTooNewError, IOFailedError (also when there is no manifest). ``state`` is then as before.

        I/O: opens the file, two reads of some bytes; one more of what is new, or of the whole file after a rewrite.
        """
        try:
            file = self._fs.open(self.path)
            try:
                return self._look(file)
            finally:
                file.close()
        except EOFError as error:
            raise CorruptionError(self.path, -1, f"became shorter while it was read: {error}") from error
        except OSError as error:
            raise io_failed("read", self.path, error) from error

    def _look(self, file: File) -> bool:
        """The look at an open file."""
        if file.pread(HEAD_BYTES, 0) != self._head:
            return self._begin(read_exact(file, file.size(), 0))
        if not any(file.pread(FRAME_HEADER_BYTES, self._length)):  # the zeros that follow the last frame
            return False
        return self._go_on(read_exact(file, file.size() - self._length, self._length))

    def _begin(self, data: bytes) -> bool:
        """A file that was not read before."""
        contents = parse_manifest(self.path, data)
        before, self.state = self.state, contents.state
        self.generation, self._length, self._frames = contents.generation, contents.length, contents.frames
        self._head = data[:HEAD_BYTES]
        return contents.state != before

    def _go_on(self, data: bytes) -> bool:
        """What follows the frames that were read."""
        found = scan(data, self.generation, self._length)
        judge_tail(self.path, data, found, self._length)
        before = state = self.state
        for index, frame in enumerate(found.frames, self._frames):
            edit = edit_of(self.path, index, frame)
            if edit is not None:
                state = applied(state, edit, self.path, frame.offset)
        self._length, self._frames, self.state = found.end, self._frames + len(found.frames), state
        return state is not before
