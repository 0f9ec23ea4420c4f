"""Which sequence numbers somebody still wants to read at.

A snapshot is a number: flush and compaction keep, for every registered number, the newest version at or below it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

from lsmkv.base.keys import MAX_SEQ
from lsmkv.env.sync import Lock
from lsmkv.errors import LsmError

__all__ = ["Pin", "SnapshotRegistry"]


class SnapshotRegistry:
    """Counted set of sequence numbers in use."""

    __slots__ = ("_dropped", "_lock", "_refs", "_watch", "alive", "door")

    def __init__(self) -> None:
        self._lock = Lock()
        self._watch: tuple[int, Callable[[], None]] | None = None
        self._refs: Counter[int] = Counter()
        self._dropped: deque[int] = deque()
        self.door = Lock()
        """Held by whoever registers, from before it takes any other lock, and while what nobody reads is dropped."""
        self.alive = 0
        """How many registrations there are, those dropped and not yet noticed included."""

    def acquire(self, seq: int) -> None:
        """Keep what is visible at ``seq`` (``door`` held).

        No write may be half applied at that moment (``Committer.register_snapshot``).
        """
        with self._lock:
            self._refs[seq] += 1
            self.alive += 1

    def release(self, seq: int) -> None:
        """Undo one acquire."""
        self._dropped.append(seq)
        self.settle()

    def drop(self, seq: int) -> None:
        """Undo one acquire, some time later. Takes no lock: the garbage collector may call it from anywhere."""
        self._dropped.append(seq)

    def settle(self) -> int:
        """Take notice of what was dropped; how many registrations are left."""
        with self._lock:
            self._forget()
            alive, watch = self.alive, self._watch
            if watch is None or self._floor() <= watch[0]:
                return alive
            self._watch = None
        watch[1]()
        return alive

    def _forget(self) -> None:
        """Count out what was dropped (lock held)."""
        while self._dropped:
            seq = self._dropped.popleft()
            self.alive -= 1
            self._refs[seq] -= 1
            if not self._refs[seq]:
                del self._refs[seq]

    def _floor(self) -> int:
        """The smallest number registered (lock held)."""
        return min(self._refs, default=MAX_SEQ)

    def forked(self) -> None:
        """In a forked child: locks may be held by threads that do not exist here; nobody is to be told of anything."""
        self._lock, self.door = Lock(), Lock()
        self._watch = None

    def floor(self) -> int:
        """The smallest registered sequence number; MAX_SEQ if there is none."""
        self.settle()
        with self._lock:
            return self._floor()

    def watch(self, floor: int, call: Callable[[], None]) -> None:
        """Have ``call`` called once the smallest number is above ``floor``: at once if it is already.

        What the garbage collector drops is noticed at the next call of any method here. A second watch replaces the first.
        """
        with self._lock:
            self._watch = floor, call
        self.settle()

    def if_none(self, act: Callable[[], None]) -> bool:
        """Call ``act`` while nobody can register, unless somebody is registered; whether it was called.

        Who wants to register waits at the door, with no lock that a writer needs; everything else here goes on.
        """
        with self.door:
            with self._lock:
                self._forget()
                if self._refs:
                    return False
            act()
            return True

    def numbers(self) -> list[int]:
        """Registered sequence numbers, ascending."""
        self.settle()
        with self._lock:
            return sorted(self._refs)


class Pin:
    """One registration, given back once: by :meth:`release`, or when the last holder drops it.

    It may also keep alive what is read under it (``holds``), such as the tables of a state.
    """

    __slots__ = ("_registry", "chunk", "failure", "holds", "seq")

    def __init__(self, registry: SnapshotRegistry, seq: int, holds: object = None) -> None:
        self._registry: SnapshotRegistry | None = registry
        self.seq = seq
        self.holds = holds
        self.chunk: list[tuple[bytes, bytes]] | None = None
        """What a scan under it is handing out."""
        self.failure: LsmError | None = None
        """Why that scan ended before its time."""

    @property
    def held(self) -> bool:
        """Whether it was not given back yet."""
        return self._registry is not None

    def release(self) -> None:
        """Give the registration back. A second call does nothing."""
        registry, self._registry, self.holds = self._registry, None, None
        if registry is not None:
            registry.release(self.seq)

    def __del__(self) -> None:
        """Give back what was not."""
        registry, self._registry = self._registry, None
        if registry is not None:
            registry.drop(self.seq)
