"""Where hits are lost: every token that was asked for is a hit, or lost for exactly one cause.

Two things are asked: *ask*, how long a prefix is there, and *get*, deliver these pages. What a page was lost to is known at once
where the call itself knows it (late, the breaker, unreadable), else from the page's *fate*: the last thing that kept it from
being there, of which a bounded number is remembered. Of what was never offered, or so long ago that it is forgotten, there is no
fate.

In a prefix the first page that is missing takes all behind it along: those that are stored are *orphaned*, of the others each has
its own fate. Where that page was never offered, those behind it were not either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from lsmkv.env.sync import Lock

__all__ = ["CAUSES", "FATES", "Asked", "Cause", "Fates", "Waterfall"]

Cause: TypeAlias = Literal["never_offered", "declined", "evicted", "dropped", "orphaned", "corrupt", "late", "breaker"]
CAUSES: Mapping[Cause, str] = {
    "never_offered": "nobody stored it, or it was lost so long ago that this is forgotten",
    "declined": "it was offered, and not admitted, or found no space, no place in the queue, or a disk that failed",
    "evicted": "it made room for others",
    "dropped": "its owner deleted it",
    "orphaned": "it is stored, but a page before it is not",
    "corrupt": "it could not be read: its bytes failed the check, or the disk did",
    "late": "the deadline passed",
    "breaker": "the disk was left alone after failures",
}
FATES = 1 << 16
"""Pages whose fate is remembered, about 150 bytes each."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What one kind of call asked for, in tokens, since opening."""

    asked_tokens: int
    hit_tokens: int
    lost_tokens: Mapping[str, int]
    """By cause; all of :data:`CAUSES`. Together with the hits they are what was asked for."""


class Fates:
    """The last thing that happened to pages that are not there; the oldest is forgotten first."""

    def __init__(self, limit: int = FATES) -> None:
        self._limit = limit
        self._lock = Lock()
        self._fates: dict[bytes, Cause] = {}

    def __len__(self) -> int:
        """Pages remembered."""
        return len(self._fates)

    def note(self, keys: Iterable[bytes], cause: Cause) -> None:
        """These index keys are gone, or were not taken."""
        new = dict.fromkeys(keys, cause)
        with self._lock:
            self._forget(new)
            self._fates.update(new)
            while len(self._fates) > self._limit:
                del self._fates[next(iter(self._fates))]

    def stored(self, keys: Iterable[bytes]) -> None:
        """These index keys are there now."""
        if self._fates:
            with self._lock:
                self._forget(dict.fromkeys(keys))

    def _forget(self, keys: Collection[bytes]) -> None:
        """Take these out, if they are there."""
        if not self._fates.keys().isdisjoint(keys):
            for key in keys:
                self._fates.pop(key, None)

    def of(self, key: bytes) -> Cause:
        """Why a page that is not there is not there."""
        return self._fates.get(key, "never_offered")

    def forked(self) -> None:
        """In a forked child: another lock."""
        self._lock = Lock()


class Waterfall:
    """The account of one store. Any thread may call anything."""

    def __init__(self) -> None:
        self.fates = Fates()
        self._lock = Lock()
        self._asked: Counter[str] = Counter()
        self._hits: Counter[str] = Counter()
        self._lost: dict[str, Counter[str]] = {"ask": Counter(), "get": Counter()}

    def prefix(
        self,
        pages: int,
        known: int,
        tokens: int,
        keys: Callable[[int, int], list[bytes]],
        there: Callable[[list[bytes]], Iterable[bool]],
    ) -> None:
        """A prefix of so many pages was asked for; its first ``known`` pages, of so many tokens each, are there.

        ``keys`` gives the index keys of a part; ``there`` says which are there, and is asked only where one was lost.
        """
        lost: Counter[str] = Counter()
        if known < pages:
            first = self.fates.of(keys(known, known + 1)[0])
            lost[first] = 1
            if first == "never_offered":
                lost[first] = pages - known
            elif known + 1 < pages:
                rest = keys(known + 1, pages)
                lost.update("orphaned" if stored else self.fates.of(key) for key, stored in zip(rest, there(rest), strict=True))
        self._count("ask", pages, known, lost, tokens)

    def pages(self, keys: Sequence[bytes], flags: Sequence[bool], why: Mapping[int, Cause], tokens: int) -> None:
        """Pages were asked for; ``why`` says what the call itself knows of some that it did not deliver."""
        lost: Counter[str] = Counter()
        hits = sum(flags)
        if hits < len(flags):
            lost.update(why[i] if i in why else self.fates.of(keys[i]) for i, flag in enumerate(flags) if not flag)
        self._count("get", len(keys), hits, lost, tokens)

    def refused(self, call: Literal["ask", "get"], pages: int, cause: Cause, tokens: int) -> None:
        """A call was answered without the disk."""
        self._count(call, pages, 0, Counter({cause: pages}), tokens)

    def told(self) -> dict[str, Asked]:
        """The account, by kind of call."""
        with self._lock:
            return {
                call: Asked(self._asked[call], self._hits[call], {cause: lost[cause] for cause in CAUSES})
                for call, lost in self._lost.items()
            }

    def forked(self) -> None:
        """In a forked child: other locks."""
        self._lock = Lock()
        self.fates.forked()

    def _count(self, call: str, pages: int, hits: int, lost: Counter[str], tokens: int) -> None:
        """Add one call."""
        assert hits + lost.total() == pages
        with self._lock:
            self._asked[call] += pages * tokens
            self._hits[call] += hits * tokens
            account = self._lost[call]
            for cause, count in lost.items():
                account[cause] += count * tokens
