"""Pages as files: one file per page as SGLang's ``HiCacheFile`` keeps them, and one safetensors file per batch.

``HiCacheFile`` (behaviour of SGLang 0.5.23, reimplemented): a flat directory; ``<hash><suffix>.bin`` per page; a page already
there is not written again; a write goes to a temporary name beside it and is renamed; a read opens the file unbuffered and reads
into the caller's memory; nothing is synced and nothing checksummed. A query is answered either by one existence check per key
until the first miss (``batch_exists``) or, for models with side pools, by listing the whole directory (``batch_exists_v2``).
"""

from __future__ import annotations

import ctypes
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from bench.peers.base import PagePeer, Pages, UnavailableError
from bench.scratch import sync_tree

__all__ = ["HiCacheFanOut", "HiCacheFiles", "HiCacheScan", "HiCacheSyncfs", "SafetensorsBatches"]

_SUFFIX = "_meta-llama-Llama-3-8B_0_1"
"""Model, tensor-parallel rank and size, as SGLang appends them."""


class HiCacheFiles(PagePeer):
    """A file per page. ``sync`` fsyncs every file and the directory, which HiCacheFile itself leaves out."""

    name = "hicachefile"

    def __init__(self, path: Path, page_bytes: int) -> None:
        """See the base class."""
        self._root = str(path)
        self._page_bytes = page_bytes
        path.mkdir(parents=True, exist_ok=True)

    def keys_for(self, digests: Sequence[bytes]) -> list[str]:
        """SGLang's keys are hexadecimal digests."""
        return [digest.hex() for digest in digests]

    def _file(self, key: str) -> str:
        return os.path.join(self._root, f"{key}{_SUFFIX}.bin")

    def put_batch(self, keys: list[str], pages: Pages) -> None:
        """Per page: exists? temporary file, rename."""
        for key, page in zip(keys, pages, strict=True):
            path = self._file(key)
            if os.path.exists(path):
                continue
            temporary = f"{path}.tmp.{os.getpid()}.{uuid.uuid4().hex}"
            page.tofile(temporary)
            os.replace(temporary, path)

    def sync(self) -> None:
        """Fsync the files and the directory."""
        sync_tree(Path(self._root))

    def settle(self) -> None:
        """A renamed file is where reads find it."""

    def get_batch(self, keys: list[str], out: Pages) -> None:
        """Per page: open unbuffered, read into the row."""
        for key, row in zip(keys, out, strict=True):
            with open(self._file(key), "rb", buffering=0) as file:
                if file.readinto(memoryview(row)) != self._page_bytes:
                    raise KeyError(key)

    def probe(self, keys: list[str]) -> int:
        """One existence check per key until the first miss."""
        return next((i for i, key in enumerate(keys) if not os.path.exists(self._file(key))), len(keys))

    def delete_batch(self, keys: list[str]) -> None:
        """One unlink per page."""
        for key in keys:
            os.remove(self._file(key))

    def close(self) -> None:
        """Nothing is held open."""


class HiCacheSyncfs(HiCacheFiles):
    """The same files, made durable by one ``syncfs``: faster than a sync per file, but it waits for everybody else's data too."""

    name = "hicachefile-syncfs"

    def sync(self) -> None:
        """One syncfs of the whole file system."""
        fd = os.open(self._root, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).syncfs(fd):
                raise OSError(ctypes.get_errno(), "syncfs")
        finally:
            os.close(fd)


class HiCacheFanOut(HiCacheSyncfs):
    """The same files in 65,536 directories by the first four digits of their names, as caches of files are often kept.

    Made durable by one ``syncfs``: a sync of every directory takes seconds.
    """

    name = "hicachefile-fanout"

    def _file(self, key: str) -> str:
        return os.path.join(self._root, key[:2], key[2:4], f"{key}{_SUFFIX}.bin")

    def put_batch(self, keys: list[str], pages: Pages) -> None:
        """As without fan-out, directories made as they are needed."""
        for key in keys:
            os.makedirs(os.path.join(self._root, key[:2], key[2:4]), exist_ok=True)
        super().put_batch(keys, pages)


class HiCacheScan(HiCacheFiles):
    """The same files, queried as for models with side pools: every query lists the directory."""

    name = "hicachefile-scan"

    def probe(self, keys: list[str]) -> int:
        """List the whole directory, keep the names asked for, then find the first gap."""
        wanted = {f"{key}{_SUFFIX}.bin" for key in keys}
        with os.scandir(self._root) as entries:
            found = {entry.name for entry in entries if entry.is_file() and entry.name in wanted}
        return next((i for i, key in enumerate(keys) if f"{key}{_SUFFIX}.bin" not in found), len(keys))


class SafetensorsBatches(PagePeer):
    """A safetensors file per batch and a dict from key to (file, tensor): what one would write by hand. No restart, no delete."""

    name = "safetensors"
    restartable: ClassVar[bool] = False

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
        self._where: dict[bytes, Path] = {}
        path.mkdir(parents=True, exist_ok=True)
        for file in path.glob("*.safetensors"):
            with safe_open(str(file), framework="numpy") as opened:
                self._where.update((bytes.fromhex(name), file) for name in opened.keys())  # noqa: SIM118 - not a dict

    def put_batch(self, keys: list[bytes], pages: Pages) -> None:
        """One file."""
        file = self._root / f"{keys[0].hex()}.safetensors"
        self._save({key.hex(): page for key, page in zip(keys, pages, strict=True)}, str(file))
        self._where.update(dict.fromkeys(keys, file))

    def sync(self) -> None:
        """Fsync the files and the directory."""
        sync_tree(self._root)

    def get_batch(self, keys: list[bytes], out: Pages) -> None:
        """Open each file that holds some of the keys, copy its tensors into the rows."""
        wanted: dict[Path, list[int]] = {}
        for i, key in enumerate(keys):
            wanted.setdefault(self._where[key], []).append(i)
        for file, rows in wanted.items():
            with self._open(str(file), framework="numpy") as opened:
                for i in rows:
                    out[i] = opened.get_tensor(keys[i].hex())

    def close(self) -> None:
        """Nothing is held open."""
