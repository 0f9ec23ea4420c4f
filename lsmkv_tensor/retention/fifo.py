"""First in, first out, by whole segments: the oldest sealed segment goes first. Pure.

Generations are handed out in ascending order as segments are started, so the lowest generation is the oldest. Survivors
that garbage collection moved live on in a younger segment.
"""

from __future__ import annotations

from collections.abc import Iterable

from lsmkv_tensor.vlog.segment import SEALED, Segment

__all__ = ["next_victim"]


def next_victim(segments: Iterable[Segment], before: int | None = None) -> Segment | None:
    """The segment to empty next: one without live pages if there is any, else the oldest; None if there is none.

    A segment with copies that the index does not name yet looks dead and is not: it is passed over.
    ``before``: only segments of an earlier generation than this.
    """
    sealed = [s for s in segments if s.state == SEALED and not s.copies and (before is None or s.generation < before)]
    return min(sealed, key=lambda s: (s.pages > 0, s.generation), default=None)
