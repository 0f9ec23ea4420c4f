"""What a fork means for open handles: the parent keeps them, in the child they are closed."""

from __future__ import annotations

import os
import resource
import socket
import weakref
from typing import Protocol

from lsmkv.env.lock import boot_id

__all__ = ["Forkable", "open_files_limit", "owner_runs", "watch_forks"]


class Forkable(Protocol):
    """A handle that must not be used by two processes."""

    def forked(self) -> None:
        """Called in the child right after a fork: become unusable, without I/O and without taking locks."""
        ...


def owner_runs(text: str) -> bool | None:
    """Whether the process that a lock file names still runs; None: it names none, or one of another machine or container.

    That a process runs does not say that it still has the store open.
    """
    facts = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
    pid = facts.get("pid", "")
    if not pid.isdecimal() or not int(pid) or facts.get("host") != socket.gethostname():
        return None
    if facts.get("boot", "") != boot_id():
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's, but there
        return True
    return True


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
