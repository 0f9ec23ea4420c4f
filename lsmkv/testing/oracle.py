"""What a store must answer, by the simplest program that can know it: a dict and the list of commits since the last sync."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Batch", "DictOracle", "RangeGone"]


@dataclass(frozen=True, slots=True)
class RangeGone:
    """In a batch: every key with start <= key < stop (None: unbounded) is deleted."""

    start: bytes | None
    stop: bytes | None

    def covers(self, key: bytes) -> bool:
        """Whether a key is in the range."""
        return (self.start is None or key >= self.start) and (self.stop is None or key < self.stop)


Batch: TypeAlias = Sequence[tuple[bytes, bytes | None] | RangeGone]
"""What one commit writes: ``(key, value)`` in order, value None deletes."""


class DictOracle:
    """A model of the engine: the same calls, the right answers.

    Besides the contents it remembers which commits are known durable, so that after a crash it can tell whether what was
    recovered is the effect of the first n commits for an n not below the last synced one (invariant I1).
    """

    def __init__(self, contents: Mapping[bytes, bytes] | None = None) -> None:
        """Begin with ``contents``, all of it durable."""
        self.contents: dict[bytes, bytes] = dict(contents or {})
        self._durable: dict[bytes, bytes] = dict(self.contents)
        self._unsynced: list[Batch] = []

    def put(self, key: bytes, value: bytes) -> None:
        """One commit of one pair."""
        self.write([(key, value)])

    def delete(self, key: bytes) -> None:
        """One commit of one tombstone."""
        self.write([(key, None)])

    def delete_range(self, start: bytes | None, stop: bytes | None) -> None:
        """One commit that deletes a range."""
        self.write([RangeGone(start, stop)])

    def write(self, batch: Batch) -> None:
        """One commit."""
        _apply(self.contents, batch)
        self._unsynced.append(tuple(batch))

    def sync(self) -> None:
        """Everything committed so far is durable."""
        self._durable = dict(self.contents)
        self._unsynced.clear()

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key``, or None."""
        return self.contents.get(key)

    def get_many(self, keys: Iterable[bytes]) -> list[bytes | None]:
        """The value of each key, or None."""
        return [self.contents.get(key) for key in keys]

    def scan(
        self, start: bytes | None = None, stop: bytes | None = None, *, prefix: bytes | None = None, reverse: bool = False
    ) -> list[tuple[bytes, bytes]]:
        """Pairs with start <= key < stop that begin with ``prefix``, ascending or (``reverse``) descending."""
        return sorted(
            (
                (key, value)
                for key, value in self.contents.items()
                if (start is None or key >= start) and (stop is None or key < stop) and key.startswith(prefix or b"")
            ),
            reverse=reverse,
        )

    def snapshot(self) -> DictOracle:
        """The contents as they are now; later commits do not reach it."""
        return DictOracle(self.contents)

    def crash(self, recovered: Mapping[bytes, bytes]) -> int:
        """Accept what a store has after a crash, and go on from there.

        Returns how many unsynced commits were lost; of several explanations the one that lost fewest. AssertionError if
        ``recovered`` is not the effect of a prefix of the commits that includes every synced one.
        """
        states = [dict(self._durable)]
        for batch in self._unsynced:
            states.append(dict(states[-1]))
            _apply(states[-1], batch)
        found = dict(recovered)
        for lost, state in enumerate(reversed(states)):
            if state == found:
                self.contents = found
                self.sync()
                return lost
        missing = sorted(self._durable.keys() - found.keys())[:5]
        foreign = sorted(found.keys() - set().union(*states))[:5]
        msg = (
            f"recovered {len(found)} pairs that no prefix of the commits explains ({len(self._durable)} durable, "
            f"{len(self._unsynced)} commits after them); durable keys missing: {missing}; never written: {foreign}"
        )
        raise AssertionError(msg)


def _apply(contents: dict[bytes, bytes], batch: Batch) -> None:
    """The effect of a commit on a dict."""
    for one in batch:
        if isinstance(one, RangeGone):
            for key in [key for key in contents if one.covers(key)]:
                del contents[key]
            continue
        key, value = one
        if value is None:
            contents.pop(key, None)
        else:
            contents[key] = value
