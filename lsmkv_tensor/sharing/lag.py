"""What a follower's lag costs: pages that were told missing although a sibling may have had them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lsmkv.env.sync import Lock

__all__ = ["MAX_MISSED", "Missed"]

MAX_MISSED = 4096
"""Pages remembered until the next look; further ones are not counted."""


class Missed:
    """The pages that were told missing since the last look at one sibling. Any thread may call anything."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._keys: dict[bytes, dict[bytes, None]] = {}
        self._waiting = 0

    def note(self, text: bytes, keys: Sequence[bytes]) -> None:
        """These pages of the namespace with this canonical text were told missing without a look."""
        with self._lock:
            noted = self._keys.setdefault(text, {})
            before = len(noted)
            noted.update(dict.fromkeys(keys[: MAX_MISSED - self._waiting]))
            self._waiting += len(noted) - before

    def take(self) -> Iterator[tuple[bytes, list[bytes]]]:
        """The pages by namespace; they are forgotten."""
        if self._waiting:
            with self._lock:
                noted, self._keys, self._waiting = self._keys, {}, 0
            yield from ((text, list(keys)) for text, keys in noted.items())

    def forked(self) -> None:
        """In a forked child: whoever held the lock is not here."""
        self._lock = Lock()
