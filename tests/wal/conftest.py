"""What the log's tests share: making, changing and reading logs on an in-memory disk."""

from __future__ import annotations

import pytest

from lsmkv.testing.memfs import MemoryFileSystem
from lsmkv.wal.batch import WalBatch
from lsmkv.wal.reader import WalContents, read_wal
from lsmkv.wal.writer import WalWriter

PATH = "/db/000007.wal"


class Logs:
    """Helpers; batches are given as lists of (key, value)."""

    path = PATH

    def disk(self) -> MemoryFileSystem:
        fs = MemoryFileSystem()
        fs.mkdir("/db")
        fs.sync_dir("/")
        return fs

    def batches(self, *groups, first_seq=1):
        out = []
        for group in groups:
            out.append(WalBatch(first_seq, [k for k, _ in group], [v for _, v in group]))
            first_seq += len(group)
        return out

    def write(self, fs, batches, *, sync_after=(), number=7, previous=None) -> WalWriter:
        """Append one by one, syncing after those counts."""
        wal = WalWriter(fs, f"/db/{number:06d}.wal", number=number, previous=previous)
        for i, batch in enumerate(batches, 1):
            wal.append([batch])
            if i in sync_after:
                wal.sync()
        return wal

    def read_bytes(self, data: bytes, number: int = 7) -> WalContents:
        fs = self.disk()
        path = f"/db/{number:06d}.wal"
        file = fs.open(path, "create")
        if data:
            file.pwritev([data], 0)
        return read_wal(fs, path)

    def bytes_of(self, fs, path: str = PATH) -> bytes:
        file = fs.open(path)
        return file.pread(file.size(), 0)


@pytest.fixture
def logs() -> Logs:
    return Logs()
