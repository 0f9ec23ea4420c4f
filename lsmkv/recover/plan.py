"""What a repair would make of a directory: the records that a diagnosis fills in and carrying out reads."""

from __future__ import annotations

from dataclasses import dataclass
from posixpath import join

from lsmkv.base.filenames import Kind, parse_name
from lsmkv.base.problem import Problem
from lsmkv.env.fs import FileSystem
from lsmkv.recover.repair_report import Loss, ManifestFate
from lsmkv.recover.survivors import Source
from lsmkv.version.rangedeletes import RangeDelete
from lsmkv.version.shape import TableMeta
from lsmkv.version.state import ManifestState

__all__ = ["MANIFEST", "Diagnosis", "Job", "Tally", "numbered"]

MANIFEST = "MANIFEST"


@dataclass(frozen=True, slots=True)
class Job:
    """A table to be written from surviving entries (several, if they are many and have no place given)."""

    sources: tuple[Source, ...]
    slot: tuple[int, int, TableMeta | None] | None = None
    """(level, run id, the table it replaces); None: wherever the level rule lets it."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts for the report; see :class:`~lsmkv.recover.repair_report.RepairReport`."""

    found: int = 0
    sound: int = 0
    salvaged: int = 0
    missing: int = 0
    entries_sound: int = 0
    entries_salvaged: int = 0
    entries_replayed: int = 0


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong, and what to do about it."""

    manifest: ManifestFate
    state: ManifestState
    """The recorded one, or an empty one."""
    removed: tuple[int, ...]
    """Tables of the recorded tree that leave it."""
    kept: tuple[TableMeta, ...]
    """Tables of no recorded tree that stay as they are."""
    jobs: tuple[Job, ...]
    settled: bool
    """What the logs give is in a table: none is needed any more."""
    last_seq: int
    findings: tuple[Problem, ...]
    losses: tuple[Loss, ...]
    doubts: tuple[str, ...]
    deletions_lost: bool
    tally: Tally
    deletes: tuple[RangeDelete, ...] = ()
    """Range deletes that the new manifest must hold beside those of ``state``: of logs, and of a manifest that is given up."""


def numbered(fs: FileSystem, path: str, kind: Kind) -> list[int]:
    """Numbers of the tables or of the logs in a directory, ascending. I/O: one listing, two stats each.

    Directories of such a name, and links that lead nowhere, are not the store's.
    """
    found = [(join(path, name), parse_name(name)) for name in fs.listdir(path)]
    ours = [(file, at) for at, file in found if file is not None and file.kind == kind]
    return sorted(file.number for file, at in ours if fs.exists(at) and not fs.isdir(at))
