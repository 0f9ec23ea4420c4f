"""Scratch space that disappears, the page cache, and memory as the kernel counts it."""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["aligned_bytes", "drop_from_cache", "resident_bytes", "scratch_dir", "sync_tree"]


@contextlib.contextmanager
def scratch_dir(parent: str | None) -> Iterator[Path]:
    """A fresh directory below ``parent`` (None: the system's temporary directory), removed on the way out, whatever happens."""
    path = Path(tempfile.mkdtemp(prefix="lsmkv-bench-", dir=parent)).absolute()  # engines take no other
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _files(root: Path) -> list[str]:
    return [os.path.join(where, name) for where, _, names in os.walk(root) for name in names]


def sync_tree(root: Path, known: set[str] | None = None) -> None:
    """Make every file and directory below ``root`` durable: what a store that never syncs leaves to its user.

    ``known``: files that need it no more; gains the others. Only where files are never changed.
    """
    files = [path for path in _files(root) if known is None or path not in known]
    if known is not None:
        known.update(files)
    for path in [*files, *(where for where, _, _ in os.walk(root))]:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def drop_from_cache(root: Path) -> None:
    """Throw the files below ``root`` out of the page cache; they must be synced (dirty pages stay) and not be mapped."""
    for path in _files(root):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)


def aligned_bytes(size: int) -> NDArray[np.uint8]:
    """``size`` zero bytes that start on a page boundary, as an engine's host memory pool does."""
    return np.frombuffer(mmap.mmap(-1, size), dtype=np.uint8)


def resident_bytes() -> int:
    """This process's resident set (VmRSS)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    msg = "/proc/self/status has no VmRSS line: memory can only be measured on Linux"
    raise RuntimeError(msg)
