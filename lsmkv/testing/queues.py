"""A queue of reads (:class:`lsmkv.env.fs.ReadQueue`) for disks that have none: reads are made when they are asked for.

Rules of a fault file system strike a read when it begins, by the name ``queued``: one that hangs ends after its event, one that
fails ends with the error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from lsmkv.env.fs import Begin, Ended, File
from lsmkv.env.sync import Event

__all__ = ["EmulatedQueue", "Fate"]


class Fate(NamedTuple):
    """What is to become of one read."""

    file: File
    """The file that it is made from."""
    waits_for: Sequence[Event] = ()
    fails: int = 0
    """An errno, or 0."""
    spoil: Callable[[memoryview, int, int], None] | None = None
    """Changes what was read: memory, bytes, offset."""


class EmulatedQueue:
    """Of one thread at a time."""

    def __init__(self, depth: int, fate: Callable[[File], Fate] = Fate) -> None:
        """``fate``: what becomes of a read of this file."""
        self._depth = depth
        self._fate = fate
        self._under_way: dict[int, tuple[Fate, memoryview, int]] = {}

    @property
    def waiting(self) -> int:
        """See :class:`lsmkv.env.fs.ReadQueue`."""
        return len(self._under_way)

    def begin(self, reads: Sequence[Begin]) -> int:
        """See :class:`lsmkv.env.fs.ReadQueue`."""
        taken = reads[: self._depth - self.waiting]
        for number, file, memory, offset in taken:
            self._under_way[number] = self._fate(file), memory, offset
        return len(taken)

    def ended(self, least: int, seconds: float | None) -> list[Ended]:
        """See :class:`lsmkv.env.fs.ReadQueue`."""
        found = self._ready()
        if len(found) < min(least, len(found) + self.waiting):
            fate, _, _ = next(iter(self._under_way.values()))
            for event in fate.waits_for:
                event.wait(seconds)
            found += self._ready()
        return found

    def close(self) -> None:
        """See :class:`lsmkv.env.fs.ReadQueue`."""
        self._under_way.clear()

    def _ready(self) -> list[Ended]:
        """Make every read that nothing holds up."""
        ready = [number for number, (fate, _, _) in self._under_way.items() if all(e.is_set() for e in fate.waits_for)]
        return [(number, _made(*self._under_way.pop(number))) for number in ready]


def _made(fate: Fate, memory: memoryview, offset: int) -> int:
    """Read; bytes, or the negative errno."""
    if fate.fails:
        return -fate.fails
    try:
        done = fate.file.preadv([memory], offset)
    except OSError as error:
        return -(error.errno or 5)
    if fate.spoil is not None:
        fate.spoil(memory, done, offset)
    return done
