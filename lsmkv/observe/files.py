"""What lies in a store's directory, by kind, as an onlooker sees it.

Beside a live writer a file may vanish between the listing and the look; such a file is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from posixpath import join

from lsmkv.base.events import EVENT_FILES
from lsmkv.base.filenames import JOURNAL_FILES, parse_name
from lsmkv.base.status import STATUS
from lsmkv.env.fs import FileSystem
from lsmkv.errors import InvalidArgumentError, io_failed
from lsmkv.version.journal import ManifestContents, read_manifest
from lsmkv.version.state import ManifestState

__all__ = ["MANIFEST", "StoreFiles", "check_is_store", "is_store", "list_files", "load_contents", "load_manifest"]

MANIFEST = "MANIFEST"
LOCK = "LOCK"
TEMPORARY = "MANIFEST.tmp"


@dataclass(frozen=True, slots=True)
class StoreFiles:
    """Sizes in bytes, by file number or by name."""

    manifest_bytes: int
    tables: Mapping[int, int]
    logs: Mapping[int, int]
    temporaries: Mapping[str, int]
    """An unfinished manifest; the next opening removes it."""
    events: Mapping[str, int]
    """The log of events, and the controller's journal."""
    others: Mapping[str, int]
    """Files that are not ours."""
    status_bytes: int = 0
    """What a live writer says of itself."""

    @property
    def bytes(self) -> int:
        """Bytes of every file together."""
        parts = (self.tables, self.logs, self.temporaries, self.events, self.others)
        return self.manifest_bytes + self.status_bytes + sum(size for part in parts for size in part.values())


def is_store(fs: FileSystem, path: str) -> bool:
    """Whether ``path`` is a directory with a manifest. I/O: two stats."""
    return fs.isdir(path) and fs.exists(join(path, MANIFEST))


def load_manifest(fs: FileSystem, path: str) -> ManifestState:
    """The state recorded by the manifest of the store at ``path``; see :func:`load_contents`. I/O: reads the manifest."""
    return load_contents(fs, path).state


def load_contents(fs: FileSystem, path: str) -> ManifestContents:
    """What the manifest of the store at ``path`` says, without changing or locking anything.

    InvalidArgumentError if there is no store, CorruptionError, FormatTooNewError, IOFailedError. I/O: reads the manifest.
    """
    check_is_store(fs, path)
    return read_manifest(fs, path)


def check_is_store(fs: FileSystem, path: str) -> None:
    """Raise InvalidArgumentError, saying why, unless ``path`` is a directory with a manifest. I/O: three stats."""
    if not fs.exists(path):
        msg = f"{path} does not exist"
        raise InvalidArgumentError(msg)
    if not fs.isdir(path):
        msg = f"{path} is a file: a store is a directory"
        raise InvalidArgumentError(msg)
    if not fs.exists(join(path, MANIFEST)):
        msg = f"{path} holds no lsmkv store (no {MANIFEST} there)"
        raise InvalidArgumentError(msg)


def list_files(fs: FileSystem, path: str) -> StoreFiles:
    """Every file in the directory. IOFailedError. I/O: one listing, one stat per file."""
    tables: dict[int, int] = {}
    logs: dict[int, int] = {}
    temporaries: dict[str, int] = {}
    events: dict[str, int] = {}
    others: dict[str, int] = {}
    manifest_bytes = status_bytes = 0
    try:
        for name in fs.listdir(path):
            if name == LOCK or fs.isdir(join(path, name)):
                continue
            try:
                size = fs.size(join(path, name))
            except FileNotFoundError:
                continue
            file = parse_name(name)
            if name == MANIFEST:
                manifest_bytes = size
            elif file is not None:
                (tables if file.kind == "sst" else logs)[file.number] = size
            elif name == TEMPORARY:
                temporaries[name] = size
            elif name == STATUS:
                status_bytes = size
            elif name in EVENT_FILES or name in JOURNAL_FILES:
                events[name] = size
            else:
                others[name] = size
    except OSError as error:
        op = "listing a store"
        raise io_failed(op, path, error) from error
    return StoreFiles(manifest_bytes, tables, logs, temporaries, events, others, status_bytes)
