"""Bare files: what the disk and the kernel allow when there is no store at all. Not peers: lower bounds.

``bare log`` appends each batch with one gathered O_DIRECT write and syncs once. ``bare preads`` reads the same extents page by
page through the page cache. Neither can find a page again after a restart, check it, or delete it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bench.peers.base import PagePeer, Pages

__all__ = ["BareLog", "BarePreads"]

_IOV_MAX = 1024


class BareLog(PagePeer):
    """One file, O_DIRECT where the file system takes it."""

    name = "bare log"
    direct_writes = True

    def __init__(self, path: Path, page_bytes: int) -> None:
        """Create or open the file; page numbers are given by the order of the puts."""
        path.mkdir(parents=True, exist_ok=True)
        self._page_bytes = page_bytes
        self._file = str(path / "log.bin")
        self._index = path / "order.bin"
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            self._out = os.open(self._file, flags | (os.O_DIRECT if self.direct_writes else 0))
        except OSError:  # a file system without O_DIRECT (tmpfs before Linux 6.6): the bound is then a buffered log
            self._out = os.open(self._file, flags)
        self._in = os.open(self._file, os.O_RDONLY | os.O_CLOEXEC)
        known = self._index.read_bytes() if self._index.exists() else b""
        self._slots = {known[i : i + 32]: i // 32 for i in range(0, len(known), 32)}

    def put_batch(self, keys: list[bytes], pages: Pages) -> None:
        """One gathered write."""
        self.put_spans(keys, [memoryview(pages.reshape(-1))])

    def put_spans(self, keys: Sequence[bytes], spans: Sequence[memoryview]) -> None:
        """As :meth:`put_batch`, from memory that lies in pieces."""
        at = len(self._slots)
        self._slots.update((key, at + i) for i, key in enumerate(keys))
        size = len(keys) * self._page_bytes
        if os.pwritev(self._out, spans, at * self._page_bytes) != size:
            msg = f"less than {size} bytes were written at once"
            raise OSError(msg)

    def sync(self) -> None:
        """One fdatasync."""
        os.fdatasync(self._out)

    def get_batch(self, keys: list[bytes], out: Pages) -> None:
        """One pread per page."""
        self.get_spans(keys, [[memoryview(row)] for row in out])

    def get_spans(self, keys: Sequence[bytes], pages: Sequence[Sequence[memoryview]]) -> None:
        """As :meth:`get_batch`, into memory that lies in pieces."""
        size = self._page_bytes
        for key, page in zip(keys, pages, strict=True):
            if os.preadv(self._in, page, self._slots[key] * size) != size:
                raise KeyError

    def close(self) -> None:
        """Note which page is where, for the next opening; close the descriptors."""
        self._index.write_bytes(b"".join(self._slots))
        for fd in (self._in, self._out):
            if fd >= 0:
                os.close(fd)
        self._in = self._out = -1


class BarePreads(BareLog):
    """The same file, as the lower bound of reads."""

    name = "bare preads"
