"""Checking a store offline: every byte of every file, and whether the files agree with each other.

Checked are the manifest; the level rule; for every table its presence, size, checksums, the order of its entries, that its
filter admits every key, and that it is the table which the manifest describes; for every log its frames and that the logs
follow each other without a hole. What opening the store would repair by itself (a torn log tail, leftovers of unfinished
work) is a warning; what would lose or falsify data is a problem.

Nothing is changed and no lock is taken. Beside a live writer tables come and go: a table that the newest manifest no longer
names is not missed, and tables that it names meanwhile are checked too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from posixpath import join

from lsmkv.arguments import PathArgument, checked_path
from lsmkv.base.counters import Counters
from lsmkv.base.filenames import ASIDE
from lsmkv.base.problem import Problem
from lsmkv.env.fs import FileSystem
from lsmkv.env.posix import PosixFileSystem
from lsmkv.errors import CorruptionError, IOFailedError
from lsmkv.observe.files import list_files, load_contents, load_manifest
from lsmkv.observe.readonly import ReadOnly
from lsmkv.recover.orphans import unexplained
from lsmkv.recover.replay import replay
from lsmkv.sstable.reader import TableReader
from lsmkv.version.rules import check_level_rule
from lsmkv.version.shape import TableMeta
from lsmkv.version.state import ManifestState
from lsmkv.wal.reader import read_wal

__all__ = ["Problem", "VerifyReport", "verify"]

ATTEMPTS = 8
"""Times the logs of a busy store are looked at again before giving up on them."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The outcome of a check."""

    path: str
    files: int
    """Files read."""
    bytes: int
    """Their bytes."""
    entries: int
    """Entries seen in tables and logs."""
    problems: tuple[Problem, ...]
    """Data is damaged or missing."""
    warnings: tuple[str, ...]
    """Worth knowing, and repaired by the next opening."""

    @property
    def ok(self) -> bool:
        """Nothing is damaged."""
        return not self.problems

    def to_dict(self) -> dict[str, object]:
        """Plain values, ready for JSON."""
        return {"ok": self.ok, **asdict(self)}


@dataclass(slots=True)
class _Findings:
    """What has been found so far."""

    files: int = 0
    bytes: int = 0
    entries: int = 0
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, error: CorruptionError) -> None:
        """Note damage."""
        self.problems.append(Problem(error.file, error.offset, error.what))

    def add_all(self, other: _Findings) -> None:
        """Note what another found."""
        self.files += other.files
        self.bytes += other.bytes
        self.entries += other.entries
        self.problems += other.problems
        self.warnings += other.warnings

    def read(self, size: int, entries: int) -> None:
        """Note a file that was read."""
        self.files += 1
        self.bytes += size
        self.entries += entries


def verify(path: PathArgument, fs: FileSystem | None = None) -> VerifyReport:
    """Check the store at ``path`` without changing it; ``fs`` None: the machine's file system.

    Damage is reported, not raised. Raises InvalidArgumentError if there is no store, FormatTooNewError, IOFailedError.

    I/O: reads every file of the store once (logs twice).
    """
    path = checked_path(path)
    fs = ReadOnly(fs if fs is not None else PosixFileSystem())
    findings = _Findings()
    state = _checked_manifest(fs, path, findings)
    if state is not None:
        state = _tables(fs, path, state, findings)
        _logs(fs, path, state, findings)
        _leftovers(fs, path, state, findings)
    return VerifyReport(
        path, findings.files, findings.bytes, findings.entries, tuple(findings.problems), tuple(findings.warnings)
    )


def _checked_manifest(fs: FileSystem, path: str, findings: _Findings) -> ManifestState | None:
    """What the manifest says, if it can be read."""
    try:
        contents = load_contents(fs, path)
        findings.read(contents.size, 0)
        if contents.dropped is not None:
            findings.warnings.append(contents.dropped)
        check_level_rule(contents.state.shape)
    except CorruptionError as error:
        findings.add(error)
        return None
    return contents.state


def _tables(fs: FileSystem, path: str, state: ManifestState, findings: _Findings) -> ManifestState:
    """Check every table of the manifest, and of the manifests that replace it meanwhile; the newest manifest."""
    done: set[int] = set()
    while True:
        todo = [t for t in state.shape.tables if t.number not in done]
        if not todo:
            return state
        bad = [(table, error) for table in todo for error in _check_table(fs, path, table, findings)]
        done.update(t.number for t in todo)
        state = load_manifest(fs, path)
        named = {t.number for t in state.shape.tables}
        for table, error in bad:
            if table.number in named:
                findings.add(error)


def _check_table(fs: FileSystem, path: str, table: TableMeta, findings: _Findings) -> list[CorruptionError]:
    """Everything wrong with one table."""
    file = join(path, f"{table.number:06d}.sst")
    if not fs.exists(file):
        return [CorruptionError(file, -1, "missing, although the manifest names it")]
    try:
        reader = TableReader(fs, file, table.number, None, Counters())
    except CorruptionError as error:
        return [error]
    except IOFailedError:
        if fs.exists(file):
            raise
        return [CorruptionError(file, -1, "vanished")]  # believed only if the manifest still names it
    try:
        found = reader.verify()
        meta = replace(
            reader.properties.meta,  # the file does not know when its entries were flushed, nor for whom versions were kept
            born_s=table.born_s,
            newest_s=table.newest_s,
            tombstone_s=table.tombstone_s,
            shadowed=table.shadowed,
            swept=table.swept,
        )
        if not found and meta != table:
            found = [CorruptionError(file, -1, f"is not the table the manifest describes: {_difference(table, meta)}")]
        findings.read(meta.bytes, meta.entries)
    finally:
        reader.close()
    return found


def _difference(says: TableMeta, has: TableMeta) -> str:
    """The fields in which two records differ."""
    theirs = asdict(has)
    return ", ".join(f"{name} {value!r}, not {theirs[name]!r}" for name, value in asdict(says).items() if value != theirs[name])


def _logs(fs: FileSystem, path: str, state: ManifestState, findings: _Findings) -> None:
    """Check the logs of one moment: if some were flushed and removed meanwhile, those of a later one."""
    for _ in range(ATTEMPTS):
        now = _Findings()
        _check_logs(fs, path, state, now)
        later = load_manifest(fs, path)
        if later.wal_floor == state.wal_floor:
            findings.add_all(now)
            return
        state = later
    findings.warnings.append(f"{path}: logs come and go faster than they can be checked")


def _check_logs(fs: FileSystem, path: str, state: ManifestState, findings: _Findings) -> None:
    """Check each log by itself, that replaying them all gives a prefix of the commits, and that nobody knows of more."""
    numbers = sorted(n for n in list_files(fs, path).logs if n >= state.wal_floor)
    sound = True
    for number in numbers:
        file = join(path, f"{number:06d}.wal")
        try:
            contents = read_wal(fs, file)
        except CorruptionError as error:
            findings.add(error)
            sound = False
        except IOFailedError:
            if fs.exists(file):
                raise
            return  # removed: the manifest has moved on
        else:
            findings.read(contents.valid_length + contents.dropped_bytes, sum(len(b.keys) for b in contents.batches))
    if not sound:
        return
    try:
        replayed = replay(fs, path, numbers, state.last_seq)
        findings.warnings += replayed.report
        named = {t.number for t in state.shape.tables}
        orphans = [n for n in list_files(fs, path).tables if n not in named]
        findings.problems += unexplained(fs, path, state, orphans, numbers, replayed.batches)
    except CorruptionError as error:
        findings.add(error)
    except IOFailedError:
        if all(fs.exists(join(path, f"{number:06d}.wal")) for number in numbers):
            raise


def _leftovers(fs: FileSystem, path: str, state: ManifestState, findings: _Findings) -> None:
    """Name what no version needs."""
    files = list_files(fs, path)
    named = {t.number for t in state.shape.tables}
    wrong = {problem.file for problem in findings.problems}
    names = [name for n in sorted(files.tables) if n not in named and join(path, name := f"{n:06d}.sst") not in wrong]
    names += [f"{n:06d}.wal" for n in sorted(files.logs) if n < state.wal_floor]
    names += sorted(files.temporaries)
    for name in names:
        findings.warnings.append(f"{join(path, name)} is named by no version: the next opening removes it")
    if fs.isdir(aside := join(path, ASIDE)):
        findings.warnings.append(f"{aside} holds what a repair moved aside: remove it when it is not needed any more")
    for name in sorted(files.others):
        findings.warnings.append(f"{join(path, name)} is no file of this store")
