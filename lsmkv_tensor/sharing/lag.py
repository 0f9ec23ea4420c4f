"""What a follower's lag costs: pages that were told missing although a sibling may have had them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lsmkv.env.sync import Lock
from lsmkv_tensor.runtime.waterfall import Loss

__all__ = ["MAX_MISSED", "Missed"]

MAX_MISSED = 4096
"""Pages remembered until the next look; further ones are not counted."""


class Missed:
    """The pages that were told missing since the last look at one sibling. Any thread may call anything."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._keys: dict[bytes, dict[bytes, list[Loss]]] = {}
        self._waiting = 0

    @property
    def waits(self) -> bool:
        """Whether there are any."""
        return bool(self._waiting)

    def note(self, text: bytes, keys: Sequence[bytes]) -> None:
        """These pages of the namespace with this canonical text were told missing without a look."""
        with self._lock:
            noted = self._keys.setdefault(text, {})
            before = len(noted)
            for key in keys[: MAX_MISSED - self._waiting]:
                noted.setdefault(key, [])
            self._waiting += len(noted) - before

    def defer(self, text: bytes, key: bytes, losses: Sequence[Loss]) -> bool:
        """Keep these losses of a page with it; False if it is not among those noted."""
        with self._lock:
            kept = self._keys.get(text, {}).get(key)
            if kept is None:
                return False
            kept += losses
            return True

    def take(self) -> Iterator[tuple[bytes, dict[bytes, list[Loss]]]]:
        """The pages by namespace, each with the losses kept with it; they are forgotten."""
        if self._waiting:
            with self._lock:
                noted, self._keys, self._waiting = self._keys, {}, 0
            yield from noted.items()

    def forked(self) -> None:
        """In a forked child: whoever held the lock is not here."""
        self._lock = Lock()
