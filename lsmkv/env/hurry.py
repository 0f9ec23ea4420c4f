"""Threads that must not wait for a device: while one *hurries*, a read that memory cannot answer fails at once.

A call with a deadline cannot stop a read that hangs, so it has had a thread make it that may be left. Handing work to a thread
costs more than most answers. So the caller's own thread tries first, in a hurry; only if that fails the thread is called.
"""

from __future__ import annotations

import threading

__all__ = ["HURRY", "Hurry"]


class Hurry(threading.local):
    """``with HURRY:`` around what must not wait; whoever reads for this thread looks at :attr:`on`."""

    on = False
    """Whether the calling thread hurries: BlockingIOError for what is not in memory."""

    def __enter__(self) -> None:
        """From here on. Not twice."""
        self.on = True

    def __exit__(self, *_: object) -> None:
        """Up to here."""
        self.on = False


HURRY = Hurry()
"""Of every thread its own."""
