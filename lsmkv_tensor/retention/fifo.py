"""Which segment is emptied when a store is opened with a smaller capacity: the oldest, whatever the policy. Pure.

Generations are handed out in ascending order as segments are started, so the lowest generation is the oldest. Survivors
that garbage collection moved live on in a younger segment.
"""

from __future__ import annotations

from collections.abc import Iterable

from lsmkv_tensor.vlog.segment import SEALED, Segment

__all__ = ["oldest_sealed"]


def oldest_sealed(segments: Iterable[Segment]) -> Segment | None:
    """The segment to empty next: one without live pages if there is any, else the oldest; None if there is none.

    A segment with copies that the index does not name yet looks dead and is not: it is passed over.
    """
    sealed = [s for s in segments if s.state == SEALED and not s.copies]
    return min(sealed, key=lambda s: (s.pages > 0, s.generation), default=None)
