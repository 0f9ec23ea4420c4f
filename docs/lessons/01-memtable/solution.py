"""Lesson 1, a solution: the dict's last keys are the ones not sorted yet."""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice


class LazyMemtable:
    """The newest value of every key; scans in key order."""

    def __init__(self) -> None:
        """Begin empty."""
        self.newest: dict[bytes, bytes] = {}
        self.ordered: list[bytes] = []

    def put(self, key: bytes, value: bytes) -> None:
        """Write; of two writes to a key the later one wins. Compares nothing."""
        self.newest[key] = value

    def get(self, key: bytes) -> bytes | None:
        """The newest value, or None."""
        return self.newest.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Every pair with start <= key < stop, in key order."""
        missing = len(self.newest) - len(self.ordered)
        if missing:
            # Two sorted stretches, which Python's sort finds and merges: one comparison a key, not log n.
            self.ordered = sorted(self.ordered + sorted(islice(reversed(self.newest), missing)))
        for at in range(bisect_left(self.ordered, start), len(self.ordered)):
            key = self.ordered[at]
            if key >= stop:
                break
            yield key, self.newest[key]
