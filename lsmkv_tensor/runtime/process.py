"""What a command asks of the operating system about processes: environment, processors, and dying together.

A helper process must not outlive the command that started it, however that command ends. The command holds the write
end of the helper's standard input and leads nothing else through it; :func:`end_with_stdin` makes the helper watch the
read end, which reports end-of-file at the moment the command exits or is killed, and then kill its own process group.
A pipe needs no signal handler, no polling and no platform call, and it cannot fire early.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress

from lsmkv.env.sync import start_thread

__all__ = ["cpu_count", "end_with_stdin", "environment", "kill_group", "settle_disks"]


def cpu_count() -> int:
    """Processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A copy of this process's environment with ``extra`` on top."""
    return {**os.environ, **(extra or {})}


def settle_disks() -> None:
    """Wait until what this machine has written so far is on its disks, so that it does not compete with what comes next."""
    os.sync()


def kill_group(group: int) -> None:
    """SIGKILL a process group that may already be gone."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def end_with_stdin() -> None:
    """Kill this process's group as soon as its standard input ends (call it in a process that leads its own group)."""
    stdin = sys.stdin.fileno()

    def watch() -> None:
        """Wait for the end of the pipe."""
        while os.read(stdin, 4096):
            pass
        os.killpg(0, signal.SIGKILL)

    start_thread("end-with-stdin", watch)
