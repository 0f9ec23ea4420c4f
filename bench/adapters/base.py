"""What a comparison inside an engine consists of: memory that all share, and sides that move pages from and to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Protocol, TypeAlias

__all__ = ["Engine", "Opener", "Side"]

Keys: TypeAlias = Sequence[bytes]
"""32-byte digests."""


class Side(Protocol):
    """A backend, open in a directory. Page ``i`` of the memory goes with key ``i`` of the round; calls take some in a row."""

    def put(self, keys: Keys, first: int) -> int:
        """Store the pages from ``first`` on, as the engine does; how many it took."""

    def get(self, keys: Keys, first: int) -> int:
        """Read pages, as the engine does, into the places of the pages from ``first`` on; how many came."""

    def lookup(self, keys: Keys) -> int:
        """How many are there, as the engine asks."""

    def sync(self) -> None:
        """Make everything durable."""

    def close(self) -> None:
        """Let go of the directory."""


Opener: TypeAlias = Callable[[Path, int], Side]
"""Opens a side in a directory, with a capacity in bytes."""


class Engine:
    """An engine's memory, for so many pages to store and as many to read into; and its sides by name."""

    name: ClassVar[str]
    """Of its targets."""
    title: str
    """Of its table."""
    sides: dict[str, Opener]
    """Ours is called "lsmkv"."""

    def clear(self) -> None:
        """Forget what was read."""
        raise NotImplementedError

    def same(self, first: int, n: int) -> bool:
        """Whether these pages were read byte for byte."""
        raise NotImplementedError
