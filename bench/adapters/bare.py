"""A bare log beside the backends: what the disk and the kernel allow, when nothing has to be found again, checked or deleted.

Each batch is one gathered write (O_DIRECT, where the file system takes it), a sync is one fdatasync, and a page is read by one
pread through the page cache.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["BARE", "BareLog", "Spans"]

BARE = "bare log"
"""Its name among the sides. It answers no lookups worth measuring: where its pages are is all it knows."""

Spans = Callable[[int, int, bool], Sequence[Sequence[memoryview]]]
"""The memory of so many pages from the first on, per page its spans in order; to be read into, or to be stored from."""


class BareLog:
    """One file, in an engine's memory."""

    def __init__(self, home: Path, spans: Spans) -> None:
        self._spans = spans
        self._order = home / "order.bin"
        name, flags = str(home / "log.bin"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            self._out = os.open(name, flags | os.O_DIRECT)
        except OSError:  # the bound is then a buffered log
            self._out = os.open(name, flags)
        self._in = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        known = self._order.read_bytes() if self._order.exists() else b""
        self._slots = {known[i : i + 32]: i // 32 for i in range(0, len(known), 32)}

    def put(self, keys: Sequence[bytes], first: int) -> int:
        """One gathered write."""
        spans = [span for page in self._spans(first, len(keys), False) for span in page]
        nbytes = sum(map(len, spans))
        at = len(self._slots)
        self._slots.update((key, at + i) for i, key in enumerate(keys))
        return len(keys) if os.pwritev(self._out, spans, at * (nbytes // len(keys))) == nbytes else 0

    def get(self, keys: Sequence[bytes], first: int) -> int:
        """One pread a page."""
        read = 0
        for key, page in zip(keys, self._spans(first, len(keys), True), strict=True):
            nbytes = sum(map(len, page))
            read += os.preadv(self._in, page, self._slots[key] * nbytes) == nbytes
        return read

    def lookup(self, keys: Sequence[bytes]) -> int:
        """Those it wrote."""
        return sum(key in self._slots for key in keys)

    def sync(self) -> None:
        """One fdatasync."""
        os.fdatasync(self._out)

    def close(self) -> None:
        """Note which page is where, for the next opening."""
        self._order.write_bytes(b"".join(self._slots))
        os.close(self._in)
        os.close(self._out)
