"""Carrying out a repair so that it can stop at any moment and be begun again.

New tables are written beside the store (in :data:`~lsmkv.base.filenames.ASIDE`), then given their names; every file that has
to leave gets a second name in ``ASIDE``; then the new manifest takes effect by one rename; only then do the old names go.
Before the rename the directory still holds all it held: a second repair finds the same damage, and beside it tables with
entries that are there anyway. After it the store is whole, and what has not left yet has its second name.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from posixpath import join

import numpy as np

from lsmkv.base.filenames import ASIDE
from lsmkv.base.frames import read_whole
from lsmkv.base.order import equal_to_previous
from lsmkv.env.fs import FileSystem, make_durable_dir, write_all
from lsmkv.errors import io_failed
from lsmkv.options import Options
from lsmkv.recover.arrange import layers
from lsmkv.recover.diagnosis import MANIFEST, Diagnosis, Job, numbered
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


def carry_out(fs: FileSystem, path: str, diagnosis: Diagnosis, names: Iterable[str]) -> ManifestState:
    """Make the repaired store, with the files ``names`` moved aside; what its manifest says.

    Call with the store's lock held. Raises IOFailedError, NoSpaceError; the store is then as it was, or repaired.

    I/O: reads what is written anew, writes those tables, one fdatasync each; two directory syncs before the manifest and two
    behind it; a link and an unlink for each file that leaves.
    """
    aside = join(path, ASIDE)
    try:
        make_durable_dir(fs, aside)
        for name in fs.listdir(aside):
            if name.endswith(UNFINISHED):
                fs.unlink(join(aside, name))
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
            if fs.exists(join(aside, name + UNFINISHED)):
                fs.rename(join(aside, name + UNFINISHED), join(path, name))
        fs.sync_dir(path)
        gone = list(names)
        for name in gone:
            _second_name(fs, path, aside, name)
        fs.sync_dir(aside)
        Manifest.create(fs, path, state).close()
        for name in gone:
            if name not in (MANIFEST, f"{MANIFEST}.tmp"):
                fs.unlink(join(path, name))
        fs.sync_dir(path)
    except OSError as error:
        raise io_failed("repair", path, error) from error
    return state


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
    if before is None:
        return done
    return [
        replace(
            t,
            born_s=before.born_s,
            newest_s=before.newest_s,
            tombstone_s=before.tombstone_s if t.tombstones else 0.0,
            swept=before.swept,
        )
        for t in done
    ]


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
    for target in (join(aside, name if not i else f"{name}.{i}") for i in itertools.count()):
        if not fs.exists(target):
            break
        if fs.size(target) == fs.size(source) and read_whole(fs, target) == read_whole(fs, source):
            return
    try:
        fs.link(source, target)
    except OSError:
        _copy(fs, source, target)


def _copy(fs: FileSystem, source: str, target: str) -> None:
    """A durable copy under a name of its own."""
    file = fs.open(target + COPYING, "create")
    try:
        write_all(file, [read_whole(fs, source)], 0)
        file.sync()
    finally:
        file.close()
    fs.rename(target + COPYING, target)
