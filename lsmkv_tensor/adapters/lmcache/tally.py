"""What an adapter counts, and how it takes failures: counted, said now and then, never raised into the engine."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from lsmkv.env.sync import Lock

__all__ = ["COUNTS", "Tally"]

T = TypeVar("T")

COUNTS = {
    "stored_pages": "objects stored",
    "stored_bytes": "their bytes",
    "present_pages": "objects that were to be stored and were there already",
    "declined_pages": "objects not stored: admission did not want them, or another process has the directory",
    "failed_pages": "objects not stored: no room, the disk failed, or too many waited",
    "loaded_pages": "objects loaded, every byte checked",
    "missing_pages": "objects that were to be loaded and could not be: gone, damaged, or late",
    "errors": "calls that failed altogether",
}
"""What is counted, and what it means."""

_log = logging.getLogger(__name__)


class Tally:
    """The counts. Any thread may call anything."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.counts = dict.fromkeys(COUNTS, 0)

    def count(self, **more: int) -> None:
        """Add to them."""
        with self._lock:
            for name, n in more.items():
                self.counts[name] += n

    def failed(self, what: str, error: Exception) -> None:
        """Count a failure; say so at the first, second, fourth, eighth: a failing disk must not fill another one with its log."""
        self.count(errors=1)
        times = self.counts["errors"]
        if times & (times - 1) == 0:
            _log.warning("lsmkv: %s failed (%d failures so far): %s: %s", what, times, type(error).__name__, error)

    def guarded(self, what: str, call: Callable[[], T], otherwise: Callable[[], T]) -> T:
        """What the call returns; ``otherwise`` if it fails, whatever the reason."""
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - nothing may reach the server's threads
            self.failed(what, error)
            return otherwise()
