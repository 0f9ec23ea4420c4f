"""What waits in the queue of puts: calls, and the pieces of them that are written together."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, TypeAlias

from lsmkv.base.columns import U8
from lsmkv_tensor.runtime.putmemory import Loan

__all__ = ["Call", "Fill", "Piece", "Sink", "Told", "Verdict", "never"]

Verdict: TypeAlias = "bool | None"
"""What became of a page: it is there; it is not; it was not wanted."""
Told: TypeAlias = Callable[[Sequence[bytes], Sequence[Verdict]], None]
"""Told, in the thread that writes, what became of pages (by index key), when they are here no more."""
Fill: TypeAlias = Callable[[int, int, U8], None]
"""Copies pages of a call, from the first to before the second position, end to end."""
Sink: TypeAlias = "Callable[[Sequence[Piece]], Sequence[Verdict]]"
"""Stores the pages of pieces, in their order, and says of each what became of it; its errors are counted, not raised."""


def never() -> bool:
    """Pages without an end; a wait that nothing cuts short."""
    return False


class Call(NamedTuple):
    """A call that puts pages: what its pieces have in common."""

    keys: Sequence[bytes]
    size: int
    sink: Sink
    what: Any
    group: Hashable
    told: Told | None
    ended: Callable[[], bool]


class Piece:
    """Pages of one call that are written together. Changed under the queue's condition."""

    __slots__ = ("at", "done", "ended", "group", "keys", "loan", "nbytes", "pages", "sink", "ticket", "told", "users", "what")

    def __init__(self, call: Call, at: range, loan: Loan) -> None:
        self.keys = call.keys[at.start : at.stop]
        self.pages = loan.pages
        self.at = at
        """The pages' positions in the call."""
        self.nbytes = len(at) * call.size
        self.loan = loan
        self.sink = call.sink
        self.what = call.what
        self.group = call.group
        self.told = call.told
        self.ended = call.ended
        self.ticket = 0
        self.users = 0
        self.done = False
