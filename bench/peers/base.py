"""What a subject must be able to do. One adapter per store, thin enough that the store is measured and not the adapter.

An adapter takes and gives Python bytes (index) or fills the caller's array (pages). It opens in its constructor, so that a
missing binding raises :class:`UnavailableError` before anything is measured.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["IndexPeer", "PagePeer", "Pages", "Pairs", "Peer", "Settings", "UnavailableError"]

Pairs: TypeAlias = list[tuple[bytes, bytes]]

Pages: TypeAlias = NDArray[np.uint8]
"""Shape (pages, page bytes)."""


class UnavailableError(Exception):
    """The store cannot take part; the message says why."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What all subjects are given alike."""

    cache_bytes: int = 32 << 20
    """Block cache (SQLite: page cache; LMDB has none, it maps its file)."""
    write_buffer_bytes: int = 32 << 20
    """Memtable of the LSM-trees."""
    filter_bits_per_key: int = 10
    """Bloom filters of the LSM-trees."""
    compact: bool = True
    """False: keep every flushed run apart (for the rows about several runs), where the store can be told to."""


class Peer(ABC):
    """What both kinds have."""

    name: ClassVar[str]

    @abstractmethod
    def close(self) -> None:
        """Close cleanly; a second call does nothing."""


class IndexPeer(Peer):
    """A store of small values, opened at ``path``."""

    needs_numpy: ClassVar[bool] = False
    """Whether NumPy's own memory counts as the store's."""
    durable: ClassVar[bool] = True
    """False: everything is gone when it is closed; it takes no part in rows about opening."""

    get: Callable[[bytes], bytes | None]
    """The value of a key. Like ``put``, bound straight to the store's own function: no adapter frame is measured."""
    put: Callable[[bytes, bytes], Any]
    """One write of its own, in the kernel when it returns."""

    @abstractmethod
    def __init__(self, path: Path, settings: Settings) -> None:
        """Open, creating what is missing; raises UnavailableError."""

    @abstractmethod
    def put_many(self, pairs: Pairs) -> None:
        """All pairs in one atomic write."""

    @abstractmethod
    def get_many(self, keys: list[bytes]) -> Sequence[bytes | None]:
        """The values in the order of the keys, by the store's fastest batch call."""

    def contains_many(self, keys: list[bytes]) -> Iterable[bool]:
        """Which keys are present, by the store's fastest exact way."""
        return [value is not None for value in self.get_many(keys)]

    @abstractmethod
    def scan(self, start: bytes, count: int) -> Pairs:
        """The first ``count`` pairs at or after ``start``."""

    def flush(self) -> None:
        """Bring every write to where it is read from, durably; stores without a log in front do nothing more than sync."""

    def end_run(self) -> None:
        """Close the current run, so that later writes land in another one; nothing for single-tree stores."""
        self.flush()

    def compact(self) -> None:
        """Merge everything down as far as it goes; nothing for single-tree stores."""

    def start_reading(self) -> None:
        """Called before rounds of reads: a chance to hold one read transaction over them."""

    def start_mixing(self) -> None:
        """Called before rounds that read and write by turns: from here on reads must see every write."""

    def settle(self) -> None:
        """Wait until no background work is due; nothing for stores that have none."""

    def background(self) -> Mapping[str, float]:
        """Background work done since opening, by what it counts ("flushes", "MB compacted"); empty for stores that have none."""
        return {}


class PagePeer(Peer):
    """A store of pages of one size, opened at ``path``."""

    @abstractmethod
    def __init__(self, path: Path, page_bytes: int) -> None:
        """Open, creating what is missing; raises UnavailableError."""

    def keys_for(self, digests: Sequence[bytes]) -> list[Any]:
        """The digests in the form this store's caller would hold them; done before the clock starts."""
        return list(digests)

    @abstractmethod
    def put_batch(self, keys: list[Any], pages: Pages) -> None:
        """Store page i under key i."""

    @abstractmethod
    def sync(self) -> None:
        """Make everything stored so far durable and bring it to where it is read from."""

    def settle(self) -> None:
        """Bring everything stored so far to where it is read from, durable or not."""
        self.sync()

    @abstractmethod
    def get_batch(self, keys: list[Any], out: Pages) -> None:
        """Deliver page i into row i of the caller's array; raises KeyError if one is missing."""

    def probe(self, keys: list[Any]) -> int:
        """How many of the keys, from the first on, are stored without a gap."""
        raise NotImplementedError

    def delete_batch(self, keys: list[Any]) -> None:
        """Forget these pages."""
        raise NotImplementedError
