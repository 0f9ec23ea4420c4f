"""Segments opened before anybody asks for their pages.

The first read of a segment has to open it, which may wait for the disk: a call with a deadline hands that to a thread, which
costs more than reading a page of 64 KiB. So after a store was opened its background opens those that hold the most, a few at a
time.
What cannot be opened is left to whoever reads it in earnest.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from lsmkv.env.process import open_files_limit
from lsmkv_tensor.vlog.files import MAX_OPEN, SegmentFiles
from lsmkv_tensor.vlog.log import ValueLog

__all__ = ["MOST", "STEP", "OpenAhead"]

MOST = MAX_OPEN // 2
"""Segments opened so: a store of the usual capacities has no more, and what is in use beside them finds room."""

FILES_SHARE = 16
"""... but no more than one for so many files that the process may have open; each is open twice."""

STEP = 8
"""Segments opened at a time: some 0.1 ms."""


class OpenAhead:
    """Opens the segments of one store. Of one thread."""

    def __init__(self, log: ValueLog, files: SegmentFiles) -> None:
        self._log = log
        self._files = files
        self._left: deque[int] | None = None

    def step(self) -> bool:
        """Open some; whether there are more. I/O: at most two opens for each of STEP segments, and a read of nothing."""
        if self._left is None:
            self._left = deque(self._chosen())
        some = list(islice(self._left, STEP))
        for _ in some:
            self._left.popleft()
        self._files.opened(number for number in some if number in self._log.space.segments)
        return bool(self._left)

    def _chosen(self) -> list[int]:
        """The numbers of those that hold the most."""
        with self._log.lock:
            full = sorted((-found.live_bytes, number) for number, found in self._log.space.segments.items() if found.pages)
        return [number for _, number in full[: min(MOST, open_files_limit() // FILES_SHARE)]]
