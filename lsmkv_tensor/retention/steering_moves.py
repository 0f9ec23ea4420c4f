"""Whether reclaiming should move much or little: what moves cost against the hits that they save. Pure.

A page that is moved instead of dropped is worth something if it is used afterwards, once: without the move that use would have
been a miss, and the page stored again. So a move saves at most one hit, and the uses of moved pages, each counted once, say what
moves are worth: at most, for the room they take would have held other pages. What they cost is the joint cost of log and index
(:func:`lsmkv.cost.gc.joint_bytes_per_put`): a byte moved is written and read, and its page's entry is written again.

With *much*, reclaiming moves up to :data:`MOVE_SHARE` bytes for each byte stored, with *little* a quarter of that, so there is
always something to learn from. As for admission the difference is added up, never below nothing; each change of this setting
doubles the patience for the next: where much is too much and little too little, it goes to and fro ever more seldom.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lsmkv.cost.gc import joint_bytes_per_put
from lsmkv_tensor.retention.protocol import Prints
from lsmkv_tensor.retention.steering_decide import SLACK, Decision
from lsmkv_tensor.retention.victims import MOVE_SHARE

__all__ = ["LITTLE", "MUCH", "MoveBooks", "Moved", "decide_moves", "moves_cost", "share_of"]

MUCH, LITTLE = "much", "little"
LITTLE_SHARE = MOVE_SHARE / 4
ENTRY_BYTES, ENTRY_COPIES = 100, 5
"""Of the index's entry of a page, and how often merges write it: next to nothing beside a page."""
MOST_DOUBLINGS = 6


def share_of(setting: str) -> float:
    """Bytes that may be moved for each byte stored."""
    return MOVE_SHARE if setting == MUCH else LITTLE_SHARE


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
    ahead_bytes: float = 0.0
    changes: int = 0


def decide_moves(
    books: MoveBooks, cost_bytes: float, saved_bytes: float, asked_bytes: float, hit_worth: float, patience_bytes: float
) -> tuple[MoveBooks, Decision | None]:
    """The books after a window in which moves cost so much and saved hits of so many bytes, and the change that is due."""
    worth = hit_worth * saved_bytes
    gain = cost_bytes - worth if books.setting == MUCH else worth - cost_bytes
    ahead = max(books.ahead_bytes + gain - SLACK * (worth + cost_bytes), 0.0)
    if ahead < patience_bytes * 2 ** min(books.changes, MOST_DOUBLINGS) or gain <= 0 or asked_bytes <= 0:
        return replace(books, ahead_bytes=ahead), None
    other = LITTLE if books.setting == MUCH else MUCH
    return MoveBooks(other, 0.0, books.changes + 1), Decision("moves", books.setting, other, ahead, gain / asked_bytes)
