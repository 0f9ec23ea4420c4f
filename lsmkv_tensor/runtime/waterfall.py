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
from typing import Literal, NamedTuple, TypeAlias

from lsmkv.env.sync import Lock

__all__ = ["CAUSES", "FATES", "Asked", "Cause", "Defer", "Fates", "Loss", "Waterfall", "at_once"]

Cause: TypeAlias = Literal[
    "never_offered", "declined", "evicted", "dropped", "orphaned", "corrupt", "late", "breaker", "follower_lag"
]
CAUSES: Mapping[Cause, str] = {
    "never_offered": "nobody stored it, or it was lost so long ago that this is forgotten",
    "declined": "it was offered, and not admitted, or found no space, no place in the queue, or a disk that failed",
    "evicted": "it made room for others",
    "dropped": "its owner deleted it",
    "orphaned": "it is stored, but a page before it is not",
    "corrupt": "it could not be read: its bytes failed the check, or the disk did",
    "late": "the deadline passed",
    "breaker": "the disk was left alone after failures",
    "follower_lag": "a sibling had it already, and this process had not looked yet",
}
FATES = 1 << 16
"""Pages whose fate is remembered, about 150 bytes each."""


class Loss(NamedTuple):
    """A page that was told missing, until it is known whether a sibling had it."""

    call: Literal["ask", "get"]
    cause: Cause
    """What it was lost to if none had."""
    tokens: int


Defer: TypeAlias = Callable[[Sequence[bytes], Sequence[Loss]], Sequence[bool]]
"""Takes losses of pages, by index key, that are to be settled later; which it took."""


def at_once(keys: Sequence[bytes], losses: Sequence[Loss]) -> list[bool]:
    """Nobody is followed: what is lost is known at once."""
    assert len(keys) == len(losses)
    return [False] * len(keys)


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
        self.before_telling: Callable[[], object] = bool
        """Called before the account is told: it counts what waits elsewhere."""

    def prefix(
        self,
        pages: int,
        known: int,
        tokens: int,
        keys: Callable[[int, int], list[bytes]],
        there: Callable[[list[bytes]], Iterable[bool | None]],
        defer: Defer = at_once,
    ) -> None:
        """A prefix of so many pages was asked for; its first ``known`` pages, of so many tokens each, are there.

        ``keys`` gives the index keys of a part; ``there`` says which are there (None: that is not known in time), and is
        asked only where one was lost.
        """
        if known == pages:
            self.whole(pages, tokens)
            return
        first = keys(known, known + 1)
        fate = self.fates.of(first[0])
        late = defer(first, [Loss("ask", fate, tokens)])[0]
        if fate == "never_offered" and not late:
            self._count("ask", known, Counter({fate: pages - known}), tokens)
            return
        lost: Counter[Cause] = Counter() if late else Counter({fate: 1})
        rest = keys(known + 1, pages)
        causes: list[Cause] = [
            "late" if stored is None else "orphaned" if stored else self.fates.of(key)
            for key, stored in zip(rest, there(rest), strict=True)
        ]
        self._at_once("ask", rest, causes, tokens, defer, lost)
        self._count("ask", known, lost, tokens)

    def whole(self, pages: int, tokens: int, call: Literal["ask", "get"] = "ask") -> None:
        """So many pages, of so many tokens each, were asked for, and all of them are there."""
        with self._lock:
            self._asked[call] += pages * tokens
            self._hits[call] += pages * tokens

    def pages(
        self, keys: Sequence[bytes], flags: Sequence[bool], why: Mapping[int, Cause], tokens: int, defer: Defer = at_once
    ) -> None:
        """Pages were asked for; ``why`` says what the call itself knows of some that it did not deliver."""
        if all(flags):
            self.whole(len(flags), tokens, "get")
            return
        lost: Counter[Cause] = Counter(why[i] for i, flag in enumerate(flags) if not flag and i in why)
        open_ = [key for i, (key, flag) in enumerate(zip(keys, flags, strict=True)) if not flag and i not in why]
        self._at_once("get", open_, [self.fates.of(key) for key in open_], tokens, defer, lost)
        self._count("get", sum(flags), lost, tokens)

    def settle(self, losses: Iterable[Loss], *, lagged: bool) -> None:
        """It is known now whether a sibling had these pages."""
        for loss in losses:
            self._count(loss.call, 0, Counter({"follower_lag" if lagged else loss.cause: 1}), loss.tokens)

    def refused(self, call: Literal["ask", "get"], pages: int, cause: Cause, tokens: int) -> None:
        """A call was answered without the disk."""
        self._count(call, 0, Counter({cause: pages}), tokens)

    def told(self) -> dict[str, Asked]:
        """The account, by kind of call."""
        self.before_telling()
        with self._lock:
            return {
                call: Asked(self._asked[call], self._hits[call], {cause: lost[cause] for cause in CAUSES})
                for call, lost in self._lost.items()
            }

    def forked(self) -> None:
        """In a forked child: other locks."""
        self._lock = Lock()
        self.fates.forked()

    @staticmethod
    def _at_once(
        call: Literal["ask", "get"],
        keys: Sequence[bytes],
        causes: Sequence[Cause],
        tokens: int,
        defer: Defer,
        lost: Counter[Cause],
    ) -> None:
        """Add to ``lost`` those pages of these causes that need not wait for a sibling's word."""
        if keys:
            taken = defer(keys, [Loss(call, cause, tokens) for cause in causes])
            lost.update(cause for cause, later in zip(causes, taken, strict=True) if not later)

    def _count(self, call: str, hits: int, lost: Mapping[Cause, int], tokens: int) -> None:
        """Add one call's pages."""
        with self._lock:
            self._asked[call] += (hits + sum(lost.values())) * tokens
            self._hits[call] += hits * tokens
            account = self._lost[call]
            for cause, count in lost.items():
                account[cause] += count * tokens
