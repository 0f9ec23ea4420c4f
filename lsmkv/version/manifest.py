"""The file MANIFEST: every change of the tree, durable before it takes effect.

A framed file (:mod:`lsmkv.base.frames`): a snapshot of the whole state, then edits. What a frame means::

    kind 1 snapshot   payload: an edit that leads from nothing to the state    stamp: number of the frame
    kind 2 edit       payload: one edit                                        stamp: number of the frame
    kind 3 mark       no payload; says only that everything before it is durable

An append writes the edit, syncs, and only then writes a mark. The mark needs no sync of its own: it is evidence that the
edit before it was acknowledged, so a damaged frame under a mark is corruption, and a damaged frame that no mark covers was
never acknowledged and is dropped with a report. A file that lost its end would look like an older manifest; so frames are
only written into space that was filled with zeros and synced beforehand, and a file whose frames are not followed by
that space has been cut. The file is rewritten as one snapshot (MANIFEST.tmp, sync, rename, sync of the directory) when its
frames take twice the space of its first one.
"""

from __future__ import annotations

from posixpath import join

from lsmkv.base.counters import WorkCounters
from lsmkv.base.frames import FILE_HEADER_BYTES, FRAME_HEADER_BYTES, frame_header, pack_file_header
from lsmkv.env.fs import File, FileSystem, write_all
from lsmkv.errors import ClosedError, IOFailedError, PoisonedError, io_failed
from lsmkv.version.edit import VersionEdit, encode
from lsmkv.version.journal import EDIT, MAGIC, MARK, NAME, RESERVE_BYTES, SNAPSHOT, VERSION, read_manifest
from lsmkv.version.state import ManifestState

__all__ = ["Manifest", "ManifestState"]

EXTENT_BYTES = 16 << 10
"""Zeros are laid out in these steps: one extra sync for some forty edits."""

SMALLEST_REWRITE_BYTES = 4 << 10
"""Edits below this are never worth a rewrite, however small the snapshot."""


class Manifest:
    """The open manifest of a store that is being written. One thread at a time (the engine's install lock)."""

    def __init__(self, fs: FileSystem, directory: str, file: File, generation: int, counts: WorkCounters) -> None:
        self._fs = fs
        self._directory = directory
        self._file = file
        self._closed = False
        self.path = join(directory, NAME)
        self.counts = counts
        """What was read and written, rewrites included."""
        self.generation = generation
        """Counts the rewrites; it is the number that seeds the frames' checksums."""
        self.length = 0
        """Bytes of header and frames."""
        self.durable = 0
        """Bytes known to be on disk: up to the last edit, since the mark behind it is not synced."""
        self.base = 0
        """Length after the snapshot."""
        self.allocated = 0
        """Length of the file: zeros follow the frames."""
        self.frames = 0
        self.dropped: str | None = None
        """What loading cut off (an edit that was never acknowledged), None if nothing."""
        self.failed: PoisonedError | None = None

    @classmethod
    def create(cls, fs: FileSystem, directory: str, state: ManifestState) -> Manifest:
        """Write a first manifest, or replace the one there, with a snapshot of ``state``.

        Raises IOFailedError, NoSpaceError; a manifest that was there is then still there.

        I/O: writes MANIFEST.tmp, one sync, rename, sync of the directory.
        """
        manifest = _write_snapshot(fs, directory, state, 1, WorkCounters())
        try:
            fs.rename(manifest.path + ".tmp", manifest.path)
            fs.sync_dir(directory)
        except OSError as error:
            manifest.close()
            raise io_failed("create", manifest.path, error) from error
        manifest._take_name()  # noqa: SLF001  an object of this class
        return manifest

    @classmethod
    def load(cls, fs: FileSystem, directory: str) -> tuple[Manifest, ManifestState]:
        """Open the manifest of ``directory`` to go on with it; what it says.

        A last edit that was never acknowledged is cut off (see ``dropped``) and the file rewritten, as is a file of an
        older version, so that nothing is appended to it that its readers would take for damage.
        Raises CorruptionError for any other damage, FormatTooNewError, IOFailedError (missing file included).

        I/O: reads the file once; one sync.
        """
        contents = read_manifest(fs, directory)
        path = join(directory, NAME)
        file: File | None = None
        try:
            file = fs.open(path, "rw")
            file.sync()  # what a killed process left in the page cache must not vanish after we acted upon it
        except OSError as error:
            if file is not None:
                file.close()
            raise io_failed("open", path, error) from error
        manifest = cls(fs, directory, file, contents.generation, WorkCounters())
        manifest.counts.reads, manifest.counts.read_bytes, manifest.counts.syncs = 1, contents.size, 1
        manifest.length, manifest.base, manifest.allocated = contents.length, contents.base, contents.size
        manifest.frames, manifest.durable = contents.frames, contents.length
        if contents.dropped is not None or contents.version < VERSION:
            try:
                manifest._replace(contents.state)
            except BaseException:
                manifest.close()
                raise
            manifest.dropped = contents.dropped
        elif not contents.marked:
            manifest._mark()
        return manifest, contents.state

    def append(self, edit: VersionEdit, state_after: ManifestState, payload: bytes | None = None) -> None:
        """Record ``edit`` durably; ``state_after`` is the state it leads to, which a rewrite will hold.

        ``payload`` is the edit encoded, from a caller that wants to know beforehand that it can be.

        Raises IOFailedError or NoSpaceError when nothing was recorded; PoisonedError when it is unknown what was: then
        the tables of the edit must stay where they are, the next opening knows. All later calls raise it again.

        I/O: one write and one sync, before them one sync of the directory if the edit names new tables (which the caller
        has synced); sometimes a further sync to lay out zeros, or a rewrite.
        """
        if self._closed:
            raise ClosedError(self.path)
        if self.failed is not None:
            raise PoisonedError(self.path, self.failed.first)
        payload = payload if payload is not None else encode(edit)
        header = self._header(EDIT, self.frames, self.durable, payload)
        size = len(header) + len(payload)
        self._make_names_durable(edit)
        self._lay_out(size + FRAME_HEADER_BYTES)
        try:
            write_all(self._file, [header, payload], self.length)
        except OSError as error:
            self._erase(size, error)
            raise io_failed("append", self.path, error) from error
        self._sync(size)
        self.counts.tasks += 1
        self.length += size
        self.frames += 1
        self.durable = self.length
        self._mark()
        if self.length > 2 * self.base and self.length - self.base > SMALLEST_REWRITE_BYTES:
            self._rewrite(state_after)

    def close(self) -> None:
        """Release the file; a second call does nothing."""
        self._closed = True
        self._file.close()

    def _header(self, kind: int, stamp: int, durable: int, payload: bytes) -> bytes:
        """The header of a frame to be written at the end."""
        return frame_header(self.generation, self.length, kind, (0, 0), 0, stamp, durable, [payload], len(payload))

    def _make_names_durable(self, edit: VersionEdit) -> None:
        """A synced table whose name a power cut takes away would be missed for ever: names first, then the edit."""
        if {table.number for *_, table in edit.added}.issubset(edit.removed):
            return  # nothing, or tables that only move
        try:
            self._fs.sync_dir(self._directory)
        except OSError as error:
            raise io_failed("sync", self._directory, error) from error

    def _lay_out(self, size: int) -> None:
        """Make sure that ``size`` bytes and a reserve fit into durable zeros. Failing to write them changes nothing."""
        need = self.length + size + RESERVE_BYTES
        if need <= self.allocated:
            return
        grown = -(-need // EXTENT_BYTES) * EXTENT_BYTES
        try:
            write_all(self._file, [bytes(grown - self.allocated)], self.allocated)
        except OSError as error:
            raise io_failed("extend", self.path, error) from error
        self._sync(grown - self.allocated)
        self.allocated = grown

    def _sync(self, written_bytes: int) -> None:
        """One fdatasync, after one write of so many bytes; PoisonedError if it fails."""
        self._wrote(written_bytes)
        try:
            self._file.sync()
            self.counts.syncs += 1
        except OSError as error:
            raise self._poison(error) from error

    def _wrote(self, written_bytes: int) -> None:
        """Count one write."""
        self.counts.writes += 1
        self.counts.written_bytes += written_bytes

    def _mark(self) -> None:
        """Say that everything so far is durable. Failing costs nothing but this evidence: the edit itself is synced."""
        mark = self._header(MARK, self.frames, self.durable, b"")
        try:
            write_all(self._file, [mark], self.length)  # there is room: every edit was laid out together with its mark
        except OSError:
            return
        self._wrote(len(mark))
        self.length += len(mark)
        self.frames += 1

    def _erase(self, size: int, cause: OSError) -> None:
        """Turn what a failed append may have left back into durable zeros, or give up writing for good."""
        try:
            write_all(self._file, [bytes(size)], self.length)
            self._wrote(size)
            self._file.sync()
            self.counts.syncs += 1
        except OSError:
            raise self._poison(cause) from cause

    def _poison(self, cause: OSError) -> PoisonedError:
        """Write no more: it is unknown what is on disk."""
        self.failed = PoisonedError(self.path, cause)
        return self.failed

    def _rewrite(self, state: ManifestState) -> None:
        """Replace the file by a snapshot if that can be done; the edit that asked for it is durable anyway."""
        try:
            self._replace(state)
        except IOFailedError:
            self.base = self.length  # the next try is due when the frames have doubled once more

    def _replace(self, state: ManifestState) -> None:
        """Replace the file by a snapshot of ``state``.

        Raises IOFailedError when the old file is still in use, PoisonedError when it is unknown which one is.
        """
        tmp = self.path + ".tmp"
        fresh = _write_snapshot(self._fs, self._directory, state, self.generation + 1, self.counts)
        try:
            self._fs.rename(tmp, self.path)
        except OSError as error:
            fresh.close()
            if not _is_there(self._fs, tmp):
                raise self._poison(error) from error
            _discard(self._fs, tmp, None)
            raise io_failed("rename", tmp, error) from error
        try:
            self._fs.sync_dir(self._directory)
        except OSError as error:
            fresh.close()
            raise self._poison(error) from error
        self._file.close()
        self._file, self.generation = fresh._file, fresh.generation  # noqa: SLF001  another object of this class
        self.length, self.base, self.allocated = fresh.length, fresh.base, fresh.allocated
        self.frames, self.durable = fresh.frames, fresh.durable
        self._take_name()

    def _take_name(self) -> None:
        """Open the file anew under the name it was given, so that whatever watches files by name sees the right one."""
        try:
            file = self._fs.open(self.path, "rw")
        except OSError:
            return  # the old handle is the same file
        self._file.close()
        self._file = file


def _is_there(fs: FileSystem, path: str) -> bool:
    """Whether the file exists; False if that cannot be found out."""
    try:
        return fs.exists(path)
    except OSError:
        return False


def _write_snapshot(fs: FileSystem, directory: str, state: ManifestState, generation: int, counts: WorkCounters) -> Manifest:
    """A durable MANIFEST.tmp that holds ``state``. It is unlinked again if it cannot be finished."""
    tmp = join(directory, NAME + ".tmp")
    payload = encode(state.as_edit())
    file: File | None = None
    try:
        if fs.exists(tmp):
            fs.unlink(tmp)
        file = fs.open(tmp, "create")
        manifest = Manifest(fs, directory, file, generation, counts)
        manifest.length = FILE_HEADER_BYTES
        parts = [pack_file_header(MAGIC, VERSION, generation, None), manifest._header(SNAPSHOT, 0, 0, payload), payload]  # noqa: SLF001  of this module
        manifest.length = sum(map(len, parts))
        parts.append(manifest._header(MARK, 1, manifest.length, b""))  # noqa: SLF001  of this module
        manifest.length = manifest.base = manifest.durable = manifest.length + FRAME_HEADER_BYTES
        manifest.allocated = -(-(manifest.length + RESERVE_BYTES) // EXTENT_BYTES) * EXTENT_BYTES
        manifest.frames = 2
        parts.append(bytes(manifest.allocated - manifest.length))
        manifest._wrote(write_all(file, parts, 0))  # noqa: SLF001  of this module
        file.sync()
        counts.syncs += 1
    except OSError as error:
        _discard(fs, tmp, file)
        raise io_failed("write", tmp, error) from error
    return manifest


def _discard(fs: FileSystem, tmp: str, file: File | None) -> None:
    """Close and unlink an unfinished snapshot."""
    if file is not None:
        file.close()
    try:
        fs.unlink(tmp)
    except OSError:
        return  # removed at the next opening
