"""A view of the store as it was at one moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from lsmkv.errors import ClosedError
from lsmkv.iterator import Scan
from lsmkv.live.snapshots import Pin

__all__ = ["Snapshot", "Source"]


class Source(Protocol):
    """What can be read at a registered sequence number."""

    def get_at(self, key: bytes, seq: int) -> bytes | None:
        """One key."""
        ...

    def get_many_at(self, keys: Sequence[bytes], seq: int) -> list[bytes | None]:
        """Many keys."""
        ...

    def scan_at(self, seq: int, start: bytes | None, stop: bytes | None, *, prefix: bytes | None, reverse: bool) -> Scan:
        """A range."""
        ...


class Snapshot:
    """Reads that all see the same moment. Use it as a context manager: while it lives, old versions are kept.

    It is a sequence number, not a copy: making one costs nothing, keeping one costs the versions it protects.
    """

    __slots__ = ("_pin", "_source", "seq")

    def __init__(self, source: Source, pin: Pin) -> None:
        self._source = source
        self._pin = pin
        self.seq = pin.seq
        """The newest sequence number it sees."""

    def _open(self) -> Source:
        """What it reads, if it is not closed."""
        if not self._pin.held:
            raise ClosedError("snapshot")
        return self._source

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key`` at that moment, or None. I/O: as ``DB.get``."""
        return self._open().get_at(key, self.seq)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of many keys at that moment. I/O: as ``DB.get_many``."""
        return self._open().get_many_at(keys, self.seq)

    def contains_many(self, keys: Sequence[bytes]) -> NDArray[np.bool_]:
        """Which keys existed at that moment. I/O: as ``DB.contains_many``."""
        found = self.get_many(keys)
        return np.fromiter((value is not None for value in found), np.bool_, len(found))

    def scan(
        self, start: bytes | None = None, stop: bytes | None = None, *, prefix: bytes | None = None, reverse: bool = False
    ) -> Scan:
        """The entries in a range at that moment; arguments as ``DB.scan``. I/O: as ``DB.scan``."""
        return self._open().scan_at(self.seq, start, stop, prefix=prefix, reverse=reverse)

    def close(self) -> None:
        """Let old versions go. A second call does nothing. I/O: none."""
        self._pin.release()

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close."""
        self.close()
