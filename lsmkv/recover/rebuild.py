"""Carrying out a repair so that it can stop at any moment and be begun again.

New tables are written beside the store (in :data:`~lsmkv.base.filenames.ASIDE`), then given their names; every file that has
to leave gets a second name in ``ASIDE``; then the new manifest takes effect by one rename; only then do the old names go.
Before the rename the directory still holds all it held: a second repair finds the same damage, and beside it tables with
entries that are there anyway. After it the store is whole, and what has not left yet has its second name; the account of
what is lost lies beside it, since nobody could tell any more.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from posixpath import join

import numpy as np

from lsmkv.base.filenames import ASIDE
from lsmkv.base.frames import read_whole
from lsmkv.base.order import equal_to_previous
from lsmkv.base.status import STATUS
from lsmkv.env.fs import FileSystem, make_durable_dir, write_all
from lsmkv.errors import io_failed
from lsmkv.options import Options
from lsmkv.recover.arrange import layers
from lsmkv.recover.plan import MANIFEST, Diagnosis, Job, numbered
from lsmkv.recover.survivors import merged
from lsmkv.sstable.builder import TableBuilder
from lsmkv.version.edit import Added, VersionEdit
from lsmkv.version.manifest import Manifest
from lsmkv.version.rules import check_level_rule
from lsmkv.version.shape import TableMeta
from lsmkv.version.state import ManifestState
from lsmkv.version.version import apply_edit

__all__ = ["carry_out", "leaving", "rehearse"]

UNFINISHED = ".new"
"""Ends the name of a table that a repair is writing."""

COPYING = ".copy" + UNFINISHED
"""Ends the name of a file that a repair is copying, where hard links are refused."""

ACCOUNT = "REPORT.json"
"""Name in ``ASIDE`` of the report, followed by a number if there is an earlier one."""

Account = Callable[[ManifestState, str], Mapping[str, object]]
"""The report, given what the new manifest says and the name that the report will have."""


def leaving(fs: FileSystem, path: str, diagnosis: Diagnosis) -> tuple[str, ...]:
    """Names of the files that have no place in the repaired store. I/O: one listing."""
    stay = {t.number for t in diagnosis.kept} | {t.number for t in diagnosis.state.shape.tables}
    stay -= set(diagnosis.removed)
    names = [f"{n:06d}.sst" for n in numbered(fs, path, "sst") if n not in stay]
    floor = None if diagnosis.settled else diagnosis.state.wal_floor
    names += [f"{n:06d}.wal" for n in numbered(fs, path, "wal") if floor is None or n < floor]
    return (*names, *(name for name in (MANIFEST, f"{MANIFEST}.tmp") if fs.exists(join(path, name))))


def rehearse(diagnosis: Diagnosis) -> tuple[int, int]:
    """(tables, entries) that the repaired tree would have. I/O: reads what would be written anew."""
    written = [sum(map(len, merged(job.sources))) for job in diagnosis.jobs]
    there = [*diagnosis.kept, *(t for t in diagnosis.state.shape.tables if t.number not in diagnosis.removed)]
    return len(there) + len(written), sum(t.entries for t in there) + sum(written)


def carry_out(
    fs: FileSystem, path: str, diagnosis: Diagnosis, names: Iterable[str], account: Account
) -> tuple[ManifestState, str]:
    """Make the repaired store, with the files ``names`` moved aside; what its manifest says, and the report's name.

    Call with the store's lock held. Raises IOFailedError, NoSpaceError; the store is then as it was, or repaired.

    I/O: reads what is written anew, writes those tables and the report, one fdatasync each; two directory syncs before the
    manifest and two behind it; a link and an unlink for each file that leaves.
    """
    aside = join(path, ASIDE)
    try:
        make_durable_dir(fs, aside)
        for name in fs.listdir(aside):
            if name.endswith(UNFINISHED):
                fs.unlink(join(aside, name))
        state = _new_tables(fs, path, diagnosis)
        fs.sync_dir(path)
        gone = list(names)
        for name in gone:
            _second_name(fs, path, aside, name)
        told = _write_account(fs, aside, state, account)
        fs.sync_dir(aside)
        _make_way(fs, path, aside)
        Manifest.create(fs, path, state).close()
        for name in gone:
            if name not in (MANIFEST, f"{MANIFEST}.tmp"):
                fs.unlink(join(path, name))
        with suppress(OSError):  # the last words of a writer that is gone, about a store that is no more
            fs.unlink(join(path, STATUS))
        fs.sync_dir(path)
    except OSError as error:
        raise io_failed("repair", path, error) from error
    return state, told


def _new_tables(fs: FileSystem, path: str, diagnosis: Diagnosis) -> ManifestState:
    """Write what must be written anew and give it names, not durable yet; the state of the repaired store."""
    numbers = itertools.count(_next_number(fs, path, diagnosis.state))
    added: list[Added] = []
    loose = list(diagnosis.kept)
    for job in diagnosis.jobs:
        tables = _write(fs, path, numbers, job)
        if job.slot is None:
            loose += tables
        else:
            level, run, _ = job.slot
            added += [(level, run, table) for table in tables]
    state = _state(diagnosis, added, loose, numbers)
    for _, _, table in state.as_edit().added:
        name = f"{table.number:06d}.sst"
        if fs.exists(join(path, ASIDE, name + UNFINISHED)):
            fs.rename(join(path, ASIDE, name + UNFINISHED), join(path, name))
    return state


def _make_way(fs: FileSystem, path: str, aside: str) -> None:
    """Move directories away that bear the manifest's names: they have one name only, and no file can take it."""
    for name in (MANIFEST, f"{MANIFEST}.tmp"):
        if fs.isdir(join(path, name)):
            fs.rename(join(path, name), _free_name(fs, aside, name))


def _next_number(fs: FileSystem, path: str, state: ManifestState) -> int:
    """A file number that no file has or had."""
    names = [*fs.listdir(path), *fs.listdir(join(path, ASIDE))]
    stems = [name.partition(".")[0] for name in names]
    return max([state.next_file, *(int(stem) + 1 for stem in stems if stem.isdecimal() and len(stem) <= 18)])


def _state(diagnosis: Diagnosis, added: list[Added], loose: list[TableMeta], numbers: Iterable[int]) -> ManifestState:
    """What the new manifest says. Tables without a place become runs of level 1, which holds runs of any size and number."""
    state = diagnosis.state
    run = max([state.next_run, *(run + 1 for _, run, _ in added)])
    for layer in reversed(layers(loose)):
        added += [(1, run, table) for table in layer]
        run += 1
    number = next(iter(numbers))
    edit = VersionEdit(
        added=tuple(added),
        removed=diagnosis.removed,
        wal_floor=number if diagnosis.settled else None,
        next_file=number + 1,
        last_seq=diagnosis.last_seq,
        next_run=run,
        ranges=state.shape.ranges.added(diagnosis.deletes) if diagnosis.deletes else None,
    )
    state = apply_edit(state, edit)
    check_level_rule(state.shape)
    return state


def _write(fs: FileSystem, path: str, numbers: Iterable[int], job: Job) -> list[TableMeta]:
    """The durable tables of a job, under the names of unfinished ones."""
    done: list[TableMeta] = []
    builder: TableBuilder | None = None
    shadowed = 0
    try:
        for columns in merged(job.sources):
            if builder is None:
                builder, shadowed = _builder(fs, path, next(iter(numbers))), 0
            builder.add(columns)
            shadowed += int(np.count_nonzero(equal_to_previous(columns.keys)))
            if job.slot is None and builder.bytes >= Options().table_bytes:
                done.append(replace(builder.finish(), shadowed=shadowed))
                builder = None
        if builder is not None:
            done.append(replace(builder.finish(), shadowed=shadowed))
            builder = None
    finally:
        if builder is not None:
            builder.abandon()
    before = job.slot[2] if job.slot is not None else None
    times = [before] if before is not None else [source.meta for source in job.sources]
    return [_with_times(table, times) for table in done]


def _with_times(table: TableMeta, origins: list[TableMeta]) -> TableMeta:
    """A table with the times of those that may have given it entries."""
    origins = [t for t in origins if t.smallest <= table.largest and table.smallest <= t.largest] or origins
    deleted = [t.tombstone_s for t in origins if t.tombstones]
    return replace(
        table,
        born_s=min(t.born_s for t in origins),
        newest_s=max(t.newest_s for t in origins),
        tombstone_s=min(deleted, default=0.0) if table.tombstones else 0.0,
    )


def _builder(fs: FileSystem, path: str, number: int) -> TableBuilder:
    """A table to be written, with the options that a store has by default."""
    options = Options()
    return TableBuilder(
        fs,
        join(path, ASIDE, f"{number:06d}.sst{UNFINISHED}"),
        number=number,
        block_bytes=options.block_bytes,
        compression=options.compression_at(0),
        filter_bits_per_key=options.filter_bits_per_key,
    )


def _second_name(fs: FileSystem, path: str, aside: str, name: str) -> None:
    """Give a file a name in ``aside`` that is free there, unless it is there already; a copy where links are refused."""
    source = join(path, name)
    if fs.isdir(source):
        return
    target = _free_name(fs, aside, name, source)
    if fs.exists(target):
        return
    try:
        fs.link(source, target)
    except OSError:
        _write_durably(fs, target, read_whole(fs, source))


def _free_name(fs: FileSystem, aside: str, name: str, source: str | None = None) -> str:
    """Where a file called ``name`` goes: a name not taken, or taken by a file with the bytes of ``source``."""
    target = join(aside, name)
    for i in itertools.count(1):
        if not fs.exists(target) or (source is not None and not fs.isdir(target) and _alike(fs, source, target)):
            break
        target = join(aside, f"{name}.{i}")
    return target


def _alike(fs: FileSystem, one: str, other: str) -> bool:
    """Whether two files hold the same bytes."""
    return fs.size(one) == fs.size(other) and read_whole(fs, one) == read_whole(fs, other)


def _write_account(fs: FileSystem, aside: str, state: ManifestState, account: Account) -> str:
    """Write the report, durable up to its name; the name."""
    for i in itertools.count():
        name = ACCOUNT if not i else f"{ACCOUNT}.{i}"
        data = json.dumps(account(state, name), indent=1).encode()
        target = join(aside, name)
        if not fs.exists(target):
            _write_durably(fs, target, data)
            break
        if not fs.isdir(target) and read_whole(fs, target) == data:  # of an attempt that was cut short
            break
    return name


def _write_durably(fs: FileSystem, target: str, data: bytes) -> None:
    """A durable file that appears as a whole; its name is durable after the next sync of its directory."""
    file = fs.open(target + COPYING, "create")
    try:
        write_all(file, [data], 0)
        file.sync()
    finally:
        file.close()
    fs.rename(target + COPYING, target)
