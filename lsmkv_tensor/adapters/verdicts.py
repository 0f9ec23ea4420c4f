"""What is known of an engine's keys, asked in the background: a scheduler must not wait for an index block.

A key that nobody asked for before, and that is not known to be there without asking, is noted, asked for together with the others
of a step, and known at the next. What is known is kept while a request that asked for it lives; a load that failed makes it a
miss, so that the request does not ask for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

__all__ = ["Verdicts"]


class Verdicts:
    """Answers by key. Belongs to whoever holds the engine's lock."""

    def __init__(self) -> None:
        self._known: dict[bytes, bool | None] = {}
        self._askers: dict[bytes, set[str]] = {}
        self._asked: dict[str, set[bytes]] = {}
        self._new: list[bytes] = []

    def look(self, key: bytes, request: str, at_once: Callable[[], bool]) -> bool | None:
        """Whether it is there; None: not known yet. ``at_once`` says of a new key whether it is known to be, without asking."""
        if key not in self._known:
            there = at_once()
            self._known[key] = there or None
            if not there:
                self._new.append(key)
        self._askers.setdefault(key, set()).add(request)
        self._asked.setdefault(request, set()).add(key)
        return self._known[key]

    def take(self) -> list[bytes]:
        """The keys that are to be asked for, each once."""
        new, self._new = self._new, []
        return new

    def learn(self, keys: Sequence[bytes], flags: Iterable[bool]) -> None:
        """They were asked for. What nobody wants to know any more is forgotten; a miss by failure stays one."""
        for key, flag in zip(keys, flags, strict=True):
            if self._known.get(key, False) is None:
                self._set(key, flag=bool(flag))

    def miss(self, keys: Iterable[bytes]) -> None:
        """They could not be loaded: for the requests that know them they are not there."""
        for key in keys:
            if key in self._known:
                self._set(key, flag=False)

    def stored(self, keys: Iterable[bytes]) -> None:
        """They are there now, whatever somebody who asked before hears."""
        for key in keys:
            if self._known.get(key, True) is not True:
                self._set(key, flag=True)

    def finished(self, request: str) -> None:
        """Nobody asks for this request any more."""
        for key in self._asked.pop(request, ()):
            askers = self._askers.get(key)
            if askers is not None:
                askers.discard(request)
                if not askers and self._known.get(key) is not None:
                    self._drop(key)

    def __len__(self) -> int:
        """Keys that are kept."""
        return len(self._known)

    def _set(self, key: bytes, *, flag: bool) -> None:
        """This is known of a key, as long as somebody wants to know it."""
        self._known[key] = flag
        if not self._askers.get(key):
            self._drop(key)

    def _drop(self, key: bytes) -> None:
        """Forget a key."""
        self._known.pop(key, None)
        self._askers.pop(key, None)
