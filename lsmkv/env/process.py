"""What a fork means for open handles: the parent keeps them, in the child they are closed."""

from __future__ import annotations

import os
import resource
import weakref
from typing import Protocol

__all__ = ["Forkable", "open_files_limit", "watch_forks"]


class Forkable(Protocol):
    """A handle that must not be used by two processes."""

    def forked(self) -> None:
        """Called in the child right after a fork: become unusable, without I/O and without taking locks."""
        ...


_handles: weakref.WeakSet[Forkable] = weakref.WeakSet()


def watch_forks(handle: Forkable) -> None:
    """Have ``handle.forked()`` called in every child this process forks while the handle is alive."""
    _handles.add(handle)


def _in_child() -> None:
    """Tell every live handle."""
    for handle in list(_handles):
        handle.forked()


def open_files_limit() -> int:
    """How many files this process may have open at once."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 1 << 30


os.register_at_fork(after_in_child=_in_child)
