"""The bare log of the pages suite, in an engine's memory: what disk and kernel allow, when nothing has to be found or checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bench.peers.bare import BareLog

__all__ = ["BARE", "BareSide", "Spans"]

BARE = BareLog.name
"""Its name among the sides. It answers no lookups worth measuring: where its pages are is all it knows."""

Spans = Callable[[int, int, bool], Sequence[Sequence[memoryview]]]
"""The memory of so many pages from the first on, per page its spans in order; to be read into, or to be stored from."""


class BareSide:
    """A bare log as a side."""

    def __init__(self, home: Path, page_bytes: int, spans: Spans) -> None:
        self._log = BareLog(home, page_bytes)
        self._spans = spans
        self.sync = self._log.sync
        self.close = self._log.close

    def put(self, keys: Sequence[bytes], first: int) -> int:
        """One gathered write."""
        self._log.put_spans(keys, [span for page in self._spans(first, len(keys), False) for span in page])
        return len(keys)

    def get(self, keys: Sequence[bytes], first: int) -> int:
        """One pread a page."""
        self._log.get_spans(keys, self._spans(first, len(keys), True))
        return len(keys)

    def lookup(self, keys: Sequence[bytes]) -> int:
        """All: nobody measures it."""
        return len(keys)
