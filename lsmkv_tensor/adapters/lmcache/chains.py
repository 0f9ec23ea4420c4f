"""Which page comes before which: LMCache asks for the chunks of a prompt in the order of its tokens, and stores them in any.

So the order is noted when chunks are asked for and not there: then they are computed, and stored soon after. Retention keeps the
beginning of a prompt longer than its end if it knows that order; without it a page has no predecessor.
"""

from __future__ import annotations

from collections.abc import Sequence

from lsmkv.env.sync import Lock

__all__ = ["Chains"]


class Chains:
    """Predecessors of pages that are likely to be stored soon. Any thread may call anything."""

    def __init__(self, most: int = 65_536) -> None:
        """``most``: pages that are remembered, about 150 bytes each; the oldest are forgotten first."""
        self._most = most
        self._lock = Lock()
        self._before: dict[bytes, bytes] = {}

    def note(self, keys: Sequence[bytes], present: Sequence[bool]) -> None:
        """The chunks of a prompt, in order, and which of them are there."""
        with self._lock:
            for before, key, there in zip(keys, keys[1:], present[1:], strict=False):
                if not there:
                    self._before.pop(key, None)
                    self._before[key] = before
            while len(self._before) > self._most:
                del self._before[next(iter(self._before))]

    def before(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The predecessors of pages that are being stored, as far as they are known; the same on every rank."""
        with self._lock:
            return [self._before.get(key) for key in keys]
