"""Whether background work runs in this process: flushes, merges, garbage collection.

A process has one interpreter lock, so it has one such list, whatever stores are open in it. Readers look at it for the price of a
truth test, and leave undone meanwhile what can wait.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["at_work", "running"]

running: list[None] = []
"""One item for each piece of work that runs now. Read it; :func:`at_work` writes it."""


@contextmanager
def at_work() -> Iterator[None]:
    """Background work runs inside."""
    running.append(None)
    try:
        yield
    finally:
        if running:  # in a child forked from inside nothing is left
            running.pop()


os.register_at_fork(after_in_child=running.clear)  # the threads that were at work are not there
