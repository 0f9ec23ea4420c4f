"""A safetensors file per batch, found through RocksDB: what a team with those two libraries would build in an afternoon.

Unlike the dict of :class:`~bench.peers.files.SafetensorsBatches` the index survives a restart, answers probes and forgets pages;
a file goes when the last page in it is forgotten. Files and RocksDB's log are synced together; nothing is checksummed on reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.peers.base import PagePeer, Pages, Settings, UnavailableError
from bench.peers.rocksdict import RocksIndex
from bench.scratch import sync_tree

__all__ = ["SafetensorsRocks"]

_NUMBER_BYTES = 8
_COUNT = b"pages in "
"""Before the number of a file: the key under which the index counts its pages."""


class SafetensorsRocks(PagePeer):
    """Pages in files of a batch each; their keys, and how many pages each file still has, in RocksDB."""

    name = "safetensors-rocksdb"

    def __init__(self, path: Path, page_bytes: int) -> None:
        """See the base class."""
        del page_bytes
        try:
            from safetensors import numpy as binding  # noqa: PLC0415 - optional: its absence is an answer, not an error
            from safetensors import safe_open  # noqa: PLC0415 - as above
        except ImportError as error:
            msg = f"safetensors is not installed ({error})"
            raise UnavailableError(msg) from error
        self._save: Any = binding.save_file
        self._open: Any = safe_open
        self._root = path
        path.mkdir(parents=True, exist_ok=True)
        self._index = RocksIndex(path / "index", Settings())
        self._next = max((int(file.stem) for file in path.glob("*.safetensors")), default=0) + 1

    def _file(self, number: bytes) -> Path:
        return self._root / f"{int.from_bytes(number, 'big'):08}.safetensors"

    def put_batch(self, keys: list[bytes], pages: Pages) -> None:
        """One file, then one WriteBatch that names it under every key."""
        number = self._next.to_bytes(_NUMBER_BYTES, "big")
        self._next += 1
        self._save({key.hex(): page for key, page in zip(keys, pages, strict=True)}, str(self._file(number)))
        count = len(keys).to_bytes(_NUMBER_BYTES, "big")
        self._index.put_many([*((key, number) for key in keys), (_COUNT + number, count)])

    def sync(self) -> None:
        """Fsync the files, the index's log and the directories."""
        sync_tree(self._root)

    def settle(self) -> None:
        """Bring the index to where it is read from; the files are there."""
        self._index.flush()

    def _found(self, keys: list[bytes]) -> Sequence[bytes | None]:
        return self._index.get_many(keys)

    def get_batch(self, keys: list[bytes], out: Pages) -> None:
        """One multi_get; open each file that holds some of the keys, copy its tensors into the rows."""
        wanted: dict[bytes, list[int]] = {}
        for i, number in enumerate(self._found(keys)):
            if number is None:
                raise KeyError(keys[i])
            wanted.setdefault(number, []).append(i)
        for number, rows in wanted.items():
            with self._open(str(self._file(number)), framework="numpy") as opened:
                for i in rows:
                    out[i] = opened.get_tensor(keys[i].hex())

    def probe(self, keys: list[bytes]) -> int:
        """One multi_get."""
        return next((i for i, number in enumerate(self._found(keys)) if number is None), len(keys))

    def delete_batch(self, keys: list[bytes]) -> None:
        """One WriteBatch of tombstones and counts; files without pages are unlinked."""
        gone: dict[bytes, int] = {}
        for number in self._found(keys):
            if number is not None:
                gone[number] = gone.get(number, 0) + 1
        counted = [_COUNT + number for number in gone]
        left = [
            int.from_bytes(count or b"", "big") - less
            for count, less in zip(self._index.get_many(counted), gone.values(), strict=True)
        ]
        empty = [number for number, count in zip(gone, left, strict=True) if count <= 0]
        kept = [(name, count.to_bytes(_NUMBER_BYTES, "big")) for name, count in zip(counted, left, strict=True) if count > 0]
        self._index.change(kept, [*keys, *(_COUNT + number for number in empty)])
        for number in empty:
            self._file(number).unlink()

    def close(self) -> None:
        """Close the index."""
        self._index.close()
