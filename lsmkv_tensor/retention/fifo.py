"""First in, first out, by whole segments: the oldest sealed segment goes first. Pure.

Generations are handed out in ascending order as segments are started, so the lowest generation is the oldest. Survivors
that garbage collection moved live on in a younger segment.
"""

from __future__ import annotations

from collections.abc import Iterable

from lsmkv_tensor.vlog.segment import SEALED, Segment

__all__ = ["next_victim"]


def next_victim(segments: Iterable[Segment]) -> Segment | None:
    """The segment to empty next: one without live pages if there is any, else the oldest; None if none is sealed."""
    sealed = [s for s in segments if s.state == SEALED]
    return min(sealed, key=lambda s: (s.pages > 0, s.generation), default=None)
