"""Lesson 1, starter code: a memtable that pays for order at every scan."""

from collections.abc import Iterator


class LazyMemtable:
    """The newest value of every key; scans in key order."""

    def __init__(self) -> None:
        """Begin empty."""
        self.newest: dict[bytes, bytes] = {}
        self.ordered: list[bytes] = []  # the keys that are sorted already: for you to use

    def put(self, key: bytes, value: bytes) -> None:
        """Write; of two writes to a key the later one wins. Compares nothing."""
        self.newest[key] = value

    def get(self, key: bytes) -> bytes | None:
        """The newest value, or None."""
        return self.newest.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Every pair with start <= key < stop, in key order."""
        # YOUR TURN: sort only the keys that came since the last scan, bring them together with `self.ordered`, and find
        # `start` in there without looking at every key.
        for key in sorted(self.newest):
            if start <= key < stop:
                yield key, self.newest[key]
