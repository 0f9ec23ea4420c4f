"""What the tests of versions share: tables out of thin air, a manifest on an in-memory disk."""

from __future__ import annotations

import pytest

from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv.version.edit import VersionEdit
from lsmkv.version.manifest import Manifest
from lsmkv.version.shape import TableMeta
from lsmkv.version.state import ManifestState
from lsmkv.version.version import apply_edit


class Trees:
    """Helpers."""

    path = "/db/MANIFEST"

    def table(self, number, smallest=b"a", largest=b"z", *, seqs=None, entries=10, tombstones=0):
        low, high = seqs if seqs is not None else (number * 10, number * 10 + 9)
        return TableMeta(number, 1000 + number, entries, tombstones, smallest, largest, low, high, 900, 100)

    def disk(self, **settings) -> MemoryFileSystem:
        fs = MemoryFileSystem(**settings)
        fs.mkdir("/db")
        fs.sync_dir("/")
        return fs

    def flush(self, number) -> VersionEdit:
        """An edit as a flush makes it."""
        return VersionEdit(
            added=((0, number, self.table(number)),),
            wal_floor=number + 1,
            next_file=number + 2,
            last_seq=number * 10 + 9,
            next_run=number + 1,
        )

    def history(self, count):
        """``count`` flushes: the edits, and the state before the first and after each."""
        edits = [self.flush(number) for number in range(1, count + 1)]
        states = [ManifestState(policy={"name": "leveled", "size_ratio": 10})]
        for edit in edits:
            states.append(apply_edit(states[-1], edit))
        return edits, states

    def manifest(self, fs, count) -> tuple[Manifest, list[ManifestState]]:
        """A manifest of ``count`` flushes, and the states they lead through."""
        edits, states = self.history(count)
        manifest = Manifest.create(fs, "/db", states[0])
        for edit, state in zip(edits, states[1:], strict=True):
            manifest.append(edit, state)
        return manifest, states

    def bytes_of(self, fs) -> bytes:
        file = fs.open(self.path)
        return file.pread(file.size(), 0)

    def disk_with(self, data) -> MemoryFileSystem:
        fs = self.disk()
        if data is not None:
            file = fs.open(self.path, "create")
            if data:
                file.pwritev([data], 0)
        return fs


@pytest.fixture
def trees() -> Trees:
    return Trees()
