"""The manifest remembers every acknowledged edit, stays small, and fails in ways one can build on."""

from __future__ import annotations

import errno

import pytest

from lsmkv.errors import ClosedError, IOFailedError, NoSpaceError, PoisonedError
from lsmkv.testing.faults import FailOp, FaultFileSystem, ShortWrite
from lsmkv.version.edit import VersionEdit
from lsmkv.version.journal import read_manifest
from lsmkv.version.manifest import Manifest
from lsmkv.version.version import apply_edit


def load(fs):
    manifest, state = Manifest.load(fs, "/db")
    manifest.close()
    return state


def test_every_edit_is_there_after_loading(trees):
    fs = trees.disk()
    manifest, states = trees.manifest(fs, 6)
    manifest.close()
    assert load(fs) == states[-1]
    contents = read_manifest(fs, "/db")
    assert len(contents.edits) == 7
    assert (contents.marked, contents.dropped, contents.length) == (True, None, manifest.length)
    assert (contents.base, contents.size) == (manifest.base, manifest.allocated)


def test_writing_goes_on_after_loading(trees):
    fs = trees.disk()
    edits, states = trees.history(9)
    trees.manifest(fs, 5)[0].close()
    for i in range(5, 9):
        manifest, state = Manifest.load(fs, "/db")
        assert state == states[i]
        manifest.append(edits[i], states[i + 1])
        manifest.close()
    assert load(fs) == states[9]


def test_it_is_rewritten_at_twice_its_base_but_not_for_a_few_edits(trees):
    fs = trees.disk()
    edits, states = trees.history(200)
    manifest = Manifest.create(fs, "/db", states[0])
    lengths, rewritten_at = [], []
    for edit, state in zip(edits, states[1:], strict=True):
        before = manifest.generation
        manifest.append(edit, state)
        lengths.append(manifest.length)
        assert manifest.length <= max(2 * manifest.base, manifest.base + 4096)
        if manifest.generation != before:
            rewritten_at.append(lengths[-2])
            assert load(fs) == state
    assert 3 <= len(rewritten_at) <= 8
    assert fs.listdir("/db") == ["MANIFEST"]
    assert min(rewritten_at) > 4096 - 500


def test_a_level_0_option_is_not_part_of_the_file(trees):
    fs = trees.disk()
    manifest, states = trees.manifest(fs, 1)
    manifest.close()
    assert load(fs).shape.level0_runs == states[0].shape.level0_runs == 4


def test_names_of_new_tables_become_durable_before_the_edit(trees):
    fs = trees.disk()
    manifest, states = trees.manifest(fs, 1)
    calls = []
    fs.on_op = lambda op, path: calls.append(op)
    manifest.append(trees.flush(2), apply_edit(states[-1], trees.flush(2)))
    assert calls == ["sync_dir", "pwritev", "sync", "pwritev"]
    calls.clear()
    moved = VersionEdit(removed=(2,), added=((1, 9, trees.table(2)),))
    manifest.append(moved, apply_edit(apply_edit(states[-1], trees.flush(2)), moved))
    assert calls == ["pwritev", "sync", "pwritev"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_refused_append_leaves_no_trace_and_writing_goes_on(trees, code):
    faults = FaultFileSystem(trees.disk())
    manifest, states = trees.manifest(faults, 2)
    faults.add(ShortWrite(size=50, times=1))
    faults.add(FailOp("pwritev", nth=2, times=1, errno=code))
    edit = trees.flush(3)
    with pytest.raises(NoSpaceError if code == errno.ENOSPC else IOFailedError):
        manifest.append(edit, apply_edit(states[-1], edit))
    assert load(faults) == states[-1]
    assert read_manifest(faults, "/db").dropped is None
    manifest.append(edit, apply_edit(states[-1], edit))
    assert load(faults) == apply_edit(states[-1], edit)


def test_an_append_that_cannot_be_taken_back_poisons(trees):
    faults = FaultFileSystem(trees.disk())
    manifest, states = trees.manifest(faults, 2)
    faults.add(FailOp("pwritev", times=2))
    for _ in range(2):
        with pytest.raises(PoisonedError):
            manifest.append(trees.flush(3), states[-1])
    assert isinstance(manifest.failed, PoisonedError)
    assert load(faults) == states[-1]


@pytest.mark.parametrize("nth", [1, 2])
def test_a_failed_sync_poisons(trees, nth):
    faults = FaultFileSystem(trees.disk())
    manifest, states = trees.manifest(faults, 2)
    faults.add(FailOp("sync", times=1))
    for _ in range(nth):
        with pytest.raises(PoisonedError):
            manifest.append(trees.flush(3), states[-1])


def test_a_mark_that_cannot_be_written_is_not_missed(trees):
    faults = FaultFileSystem(trees.disk())
    manifest, states = trees.manifest(faults, 2)
    faults.add(ShortWrite(size=7, nth=2, times=1))
    faults.add(FailOp("pwritev", nth=3, times=1))
    edit = trees.flush(3)
    states.append(apply_edit(states[-1], edit))
    manifest.append(edit, states[-1])
    assert read_manifest(faults, "/db").state == states[-1]
    manifest.append(trees.flush(4), apply_edit(states[-1], trees.flush(4)))
    assert load(faults) == apply_edit(states[-1], trees.flush(4))


@pytest.mark.parametrize("op", ["open", "pwritev", "sync", "rename"])
def test_a_failed_rewrite_costs_nothing_but_space(trees, op):
    faults = FaultFileSystem(trees.disk())
    edits, states = trees.history(120)
    manifest = Manifest.create(faults, "/db", states[0])
    rule = faults.add(FailOp(op, path="*.tmp", errno=errno.ENOSPC))
    for edit, state in zip(edits[:60], states[1:61], strict=True):
        manifest.append(edit, state)
    assert faults.hits(rule) > 0
    assert manifest.generation == 1
    assert faults.listdir("/db") == ["MANIFEST"]
    assert load(faults) == states[60]
    faults.remove(rule)
    for edit, state in zip(edits[60:], states[61:], strict=True):
        manifest.append(edit, state)
    assert manifest.generation > 1
    assert load(faults) == states[120]


def test_a_rewrite_whose_rename_may_be_lost_poisons(trees):
    faults = FaultFileSystem(trees.disk())
    edits, states = trees.history(60)
    manifest = Manifest.create(faults, "/db", states[0])
    flushed = 0
    moves = VersionEdit(last_seq=1)
    rule = faults.add(FailOp("sync_dir", path="/db"))
    faults.remove(rule)
    with pytest.raises(PoisonedError):
        for edit, state in zip(edits, states[1:], strict=True):
            manifest.append(edit, state)
            flushed += 1
            if manifest.length + 400 > manifest.base + 4096 and manifest.generation == 1:
                rule = faults.add(FailOp("sync_dir", path="/db"))
                for _ in range(9):
                    manifest.append(moves, state)
    assert faults.hits(rule) == 1
    assert load(faults).shape == states[flushed].shape


def test_creating_fails_cleanly(trees):
    faults = FaultFileSystem(trees.disk())
    rule = faults.add(FailOp("pwritev", errno=errno.ENOSPC))
    with pytest.raises(NoSpaceError):
        trees.manifest(faults, 0)
    faults.remove(rule)
    assert faults.listdir("/db") == []
    trees.manifest(faults, 0)[0].close()


def test_a_closed_manifest_refuses(trees):
    manifest, states = trees.manifest(trees.disk(), 1)
    manifest.close()
    manifest.close()
    with pytest.raises(ClosedError):
        manifest.append(trees.flush(2), states[-1])


def test_a_missing_manifest_is_an_io_error(trees):
    with pytest.raises(IOFailedError, match="MANIFEST"):
        load(trees.disk())


def test_a_thousand_tables_load(trees):
    fs = trees.disk()
    added = tuple((i % 4, i % 4 + 1, trees.table(i, b"k%06d" % i, b"k%06d" % i)) for i in range(1, 1001) if i % 4)
    state = apply_edit(trees.history(0)[1][0], VersionEdit(added=added))
    Manifest.create(fs, "/db", state).close()
    assert load(fs) == state
