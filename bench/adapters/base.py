"""What a comparison inside an engine consists of: memory that all share, and sides that move pages from and to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bench.scratch import sync_tree

__all__ = ["Engine", "Opener", "RowsEngine", "Side", "sync_side"]

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


def sync_side(inside: Any, home: Path, known: set[str]) -> None:
    """Make a side durable: ours by its store; files one by one, which engines leave out. ``known``: see sync_tree."""
    holding = getattr(inside, "holding", None)
    if holding is not None:
        holding.store.sync()
    else:
        sync_tree(home, known)


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


class RowsEngine(Engine):
    """An engine whose memory is an array of pages: those to store, then as many to read into."""

    pages: int
    memory: NDArray[np.uint8]

    def fill(self, pages: int, memory: NDArray[np.uint8]) -> None:
        """Use this memory, and put made-up bytes into its first half."""
        self.pages, self.memory = pages, memory
        memory[:pages] = np.random.default_rng(1).integers(0, 256, memory[:pages].shape, np.uint8)

    def clear(self) -> None:
        """See the base class."""
        self.memory[self.pages :] = 0

    def same(self, first: int, n: int) -> bool:
        """See the base class."""
        at = self.pages + first
        return bool(np.array_equal(self.memory[first : first + n], self.memory[at : at + n]))
