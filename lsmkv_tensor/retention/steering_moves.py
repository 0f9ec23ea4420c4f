"""How much reclaiming should move, and out of how live a segment: what moves cost against the hits that they save. Pure.

A page that is moved instead of dropped is worth something if it is used afterwards, once: without the move that use would have
been a miss, and the page stored again. So a move saves at most one hit, and the uses of moved pages, each counted once, say what
moves are worth: at most, for the room they take would have held other pages. What they cost is the joint cost of log and index
(:func:`lsmkv.cost.gc.joint_bytes_per_put`): a byte moved is written and read, and its page's entry is written again.

There are three settings (:data:`RUNGS`). With *much*, reclaiming moves up to :data:`MOVE_SHARE` bytes for each byte stored, with
*some* half of that, with *little* a quarter, so there is always something to learn from. Bytes moved for each byte stored are
``u/(1-u)`` where victims are live by u (:mod:`lsmkv.cost.gc`), so a share is a mean live fraction: 0.23, 0.13, 0.07. Credit
that was saved up would still let single victims be moved that are far more alive. A rung therefore also bounds the live fraction
of each victim, at about three times that mean, and that of segments which are collected though nobody needs them.

As for admission the difference is added up, never below nothing, toward less and toward more by itself; a change goes one rung.
Each change doubles the patience for the next: where one rung is too much and the next too little, it goes to and fro ever more
seldom.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from lsmkv.cost.gc import joint_bytes_per_put
from lsmkv_tensor.retention.protocol import Prints
from lsmkv_tensor.retention.steering_decide import SLACK, Decision
from lsmkv_tensor.retention.victims import CHEAP, MOVE_SHARE

__all__ = ["LITTLE", "MUCH", "RUNGS", "SOME", "MoveBooks", "Moved", "Rung", "decide_moves", "moves_cost"]

MUCH, SOME, LITTLE = "much", "some", "little"


class Rung(NamedTuple):
    """What reclaiming may do."""

    share: float = MOVE_SHARE
    """Bytes that may be moved for each byte stored."""
    live_limit: float = 1.0
    """Part of a segment that may be wanted for it to be a victim, at most (a store has a limit of its own, 0.5 or 0.7)."""
    cheap: float = CHEAP
    """Live fraction up to which a segment is collected in the background though nobody needs it."""


RUNGS: Mapping[str, Rung] = {
    MUCH: Rung(),
    SOME: Rung(MOVE_SHARE / 2, 0.4, CHEAP / 2),
    LITTLE: Rung(MOVE_SHARE / 4, 0.2, CHEAP / 4),
}
"""From the laziest eviction to the least moving. ``much`` is what a store without a controller does."""
_ORDER = tuple(RUNGS)
ENTRY_BYTES, ENTRY_COPIES = 100, 5
"""Of the index's entry of a page, and how often merges write it: next to nothing beside a page."""
MOST_DOUBLINGS = 6


def moves_cost(stored_bytes: float, moved_bytes: float, page_bytes: float) -> float:
    """Bytes of log and index that moving so much takes, where so much was stored, in pages of this size."""
    if stored_bytes <= 0 or moved_bytes <= 0:
        return 2.0 * max(moved_bytes, 0.0)
    with_moves = joint_bytes_per_put(page_bytes, moved_bytes / (stored_bytes + moved_bytes), ENTRY_BYTES, ENTRY_COPIES)
    without = joint_bytes_per_put(page_bytes, 0.0, ENTRY_BYTES, ENTRY_COPIES)
    return (with_moves.total - without.total) * stored_bytes / page_bytes


class Moved:
    """Pages of the sample that were moved and not used since."""

    def __init__(self) -> None:
        self._waiting: dict[int, None] = {}
        self._most = 1 << 16
        """Prints remembered; beyond, the oldest are forgotten: they were not used for long."""

    def moved(self, prints: Prints) -> None:
        """These were moved."""
        for one in prints.tolist():
            self._waiting.pop(one, None)
            self._waiting[one] = None
        while len(self._waiting) > self._most:
            del self._waiting[next(iter(self._waiting))]

    def used(self, prints: Prints, sizes: Iterable[int]) -> int:
        """These were used: bytes of those among them that a move had saved."""
        waiting = self._waiting
        if not waiting:
            return 0
        return sum(size for one, size in zip(prints.tolist(), sizes, strict=True) if waiting.pop(one, 1) is None)

    def gone(self, prints: Prints) -> None:
        """These are not there any more: what was moved of them was moved in vain."""
        for one in prints.tolist() if self._waiting else ():
            self._waiting.pop(one, None)


@dataclass(frozen=True, slots=True)
class MoveBooks:
    """What is remembered from window to window."""

    setting: str = MUCH
    less_bytes: float = 0.0
    """What moves have cost beyond their worth, lately; never below 0."""
    more_bytes: float = 0.0
    """What they have been worth beyond their cost."""
    changes: int = 0


def decide_moves(
    books: MoveBooks, cost_bytes: float, saved_bytes: float, asked_bytes: float, hit_worth: float, patience_bytes: float
) -> tuple[MoveBooks, Decision | None]:
    """The books after a window in which moves cost so much and saved hits of so many bytes, and the change that is due."""
    worth, place = hit_worth * saved_bytes, _ORDER.index(books.setting)
    loss, slack = cost_bytes - worth, SLACK * (worth + cost_bytes)
    less = max(books.less_bytes + loss - slack, 0.0) if place + 1 < len(_ORDER) else 0.0
    more = max(books.more_bytes - loss - slack, 0.0) if place else 0.0
    enough = patience_bytes * 2 ** min(books.changes, MOST_DOUBLINGS)
    ahead = less if loss > 0 else more
    if ahead < enough or loss == 0 or asked_bytes <= 0 or ahead == 0:
        return replace(books, less_bytes=less, more_bytes=more), None
    other = _ORDER[place + 1 if loss > 0 else place - 1]
    decision = Decision("moves", books.setting, other, ahead, abs(loss) / asked_bytes)
    return MoveBooks(other, changes=books.changes + 1), decision
