"""``lsmkv.repair``: making a damaged store one that opens again, and saying what that cost.

What it promises: every value that comes back was written under that key; of several the newest that survived answers; damage
loses and never invents; what is lost is named by key range and count as far as the files tell; nothing is deleted, the
originals are moved into the directory ``ASIDE`` of the store; a healthy store is not touched; interrupted at any moment, it
can be run again.

What it does not do: work on a disk that fails (an I/O error ends it: copy what can be read to a sound disk first), or read
files of a later format.
"""

from __future__ import annotations

from dataclasses import replace
from posixpath import join

from lsmkv.arguments import PathArgument, checked_path
from lsmkv.env.clock import Clock, SystemClock
from lsmkv.env.fs import FileSystem
from lsmkv.env.posix import PosixFileSystem
from lsmkv.errors import InvalidArgumentError, io_failed
from lsmkv.recover.diagnosis import diagnose
from lsmkv.recover.holding import held
from lsmkv.recover.plan import MANIFEST, Diagnosis, numbered
from lsmkv.recover.rebuild import carry_out, leaving, rehearse
from lsmkv.recover.repair_report import RepairReport
from lsmkv.version.state import ManifestState

__all__ = ["repair"]


def repair(
    path: PathArgument,
    fs: FileSystem | None = None,
    *,
    dry_run: bool = False,
    rebuild: bool = False,
    clock: Clock | None = None,
) -> RepairReport:
    """Repair the store at ``path`` if it is damaged; ``fs`` and ``clock`` None: those of the machine.

    ``dry_run``: change nothing, only say what would be done; that works on a disk that can only be read, too. ``rebuild``: make
    the tree anew from the table files even if the manifest reads well.

    Raises LockedError while the store is open, InvalidArgumentError if there is none, FormatTooNewError (nothing is changed
    then), IOFailedError, NoSpaceError. Whatever fails, running it again goes on.

    I/O: reads every file of the store; writes anew the tables that are damaged or must be merged, and a manifest; see
    docs/repair.md.
    """
    path = checked_path(path)
    fs = fs if fs is not None else PosixFileSystem()
    now_s = (clock if clock is not None else SystemClock()).now()
    try:
        _check_there(fs, path)
        with held(fs, path, only_look=dry_run) as doubt:
            diagnosis = diagnose(fs, path, now_s, rebuild=rebuild)
            if doubt is not None:
                diagnosis = replace(diagnosis, doubts=(*diagnosis.doubts, doubt))
            if not diagnosis.findings:
                shape = diagnosis.state.shape
                return _report(path, diagnosis, (len(shape.tables), shape.entries), (), dry_run=dry_run)
            names = leaving(fs, path, diagnosis)
            if dry_run:
                return _report(path, diagnosis, rehearse(diagnosis), names, dry_run=True)
            return _carried_out(fs, path, diagnosis, names)
    except OSError as error:
        raise io_failed("repair", path, error) from error


def _carried_out(fs: FileSystem, path: str, diagnosis: Diagnosis, names: tuple[str, ...]) -> RepairReport:
    """Repair, and tell; the same is written down before the repair takes effect."""

    def told(state: ManifestState, account: str) -> RepairReport:
        """The report."""
        after = len(state.shape.tables), state.shape.entries
        return replace(_report(path, diagnosis, after, names, dry_run=False), account=account)

    return told(*carry_out(fs, path, diagnosis, names, lambda state, account: told(state, account).to_dict()))


def _check_there(fs: FileSystem, path: str) -> None:
    """Refuse what holds nothing of a store."""
    if not fs.exists(path):
        msg = f"{path} does not exist"
        raise InvalidArgumentError(msg)
    if not fs.isdir(path):
        msg = f"{path} is a file: a store is a directory"
        raise InvalidArgumentError(msg)
    if not fs.exists(join(path, MANIFEST)) and not numbered(fs, path, "sst") and not numbered(fs, path, "wal"):
        msg = f"{path} holds nothing of an lsmkv store: no {MANIFEST}, no tables, no logs"
        raise InvalidArgumentError(msg)


def _report(path: str, diagnosis: Diagnosis, after: tuple[int, int], moved: tuple[str, ...], *, dry_run: bool) -> RepairReport:
    """What to tell; ``after``: tables and entries of the repaired tree."""
    tally = diagnosis.tally
    tables, entries = after
    return RepairReport(
        path=path,
        dry_run=dry_run,
        manifest=diagnosis.manifest,
        found=diagnosis.findings,
        losses=diagnosis.losses,
        doubts=diagnosis.doubts,
        deleted_keys_may_return=diagnosis.deletions_lost,
        tables_found=tally.found,
        tables_sound=tally.sound,
        tables_salvaged=tally.salvaged,
        tables_dropped=tally.found - tally.sound - tally.salvaged,
        tables_missing=tally.missing,
        entries_sound=tally.entries_sound,
        entries_salvaged=tally.entries_salvaged,
        entries_replayed=tally.entries_replayed,
        entries_twice=tally.entries_sound + tally.entries_salvaged + tally.entries_replayed - entries,
        tables=tables,
        entries=entries,
        moved=moved,
    )
