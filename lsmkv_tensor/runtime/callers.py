"""Whose call a thread works on: what a call with a deadline does on a thread of ours is still its caller's doing.

Calls of one thread that follow each other are taken for one request (:mod:`lsmkv_tensor.retention.touches`). So a thread that
works for another says for whom.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lsmkv.env.sync import current_thread_id

__all__ = ["CALLERS", "caller_id", "working_for"]

CALLERS: dict[int, int] = {}
"""The caller of each thread that works for another; single entries are set and removed, which needs no lock."""


def caller_id() -> int:
    """An integer that tells the caller from others: this thread, or the one that it works for."""
    own = current_thread_id()
    return CALLERS.get(own, own)


@contextmanager
def working_for(caller: int) -> Iterator[None]:
    """Work for this caller as long as the block lasts; afterwards for whom it was before."""
    own = current_thread_id()
    before = CALLERS.get(own)
    CALLERS[own] = caller
    try:
        yield
    finally:
        if before is None:
            del CALLERS[own]
        else:
            CALLERS[own] = before
