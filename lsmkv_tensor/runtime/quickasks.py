"""Lookups of one page that were answered from memory, until anybody wants to know of them: many at a time.

Accounting for one takes longer than answering it. So a thread that asks appends the page to a queue of its own, and that is all:
how many there were, how long they took, and what the policy is to hear of them is said of all that wait together, when an account
is read, when the thread does anything else that is noted, or when much waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from lsmkv.env.sync import Lock
from lsmkv_tensor.runtime.calltimes import CallTimes
from lsmkv_tensor.runtime.waterfall import Waterfall

__all__ = ["MOST_THREADS", "MOST_WAITING", "Asked", "QuickAsks", "View"]

MOST_WAITING = 256
"""Pages that a thread asked for and that wait."""
MOST_THREADS = 256
"""Threads that have a queue: the first ones that ask."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Where pages were asked for: a view of a namespace, over one life of its store."""

    tokens: int
    """That a page covers."""
    note: Callable[[int, list[bytes]], None]
    """Have the policy hear of pages that a thread asked for, each alone."""


class Asked(deque[bytes]):
    """Pages that one thread asked for in one view, in order; only that thread appends."""

    __slots__ = ("seconds", "view")

    view: View
    seconds: float
    """What the first of them took: the others are taken to have been as long."""


class QuickAsks:
    """Those of one store. Any thread may call anything."""

    def __init__(self, fall: Waterfall, times: CallTimes) -> None:
        """Whoever reads one of these accounts finds all in it."""
        self._fall = fall
        self._times = times
        self._lock = Lock()
        self.threads: dict[int, Asked] = {}
        """Queues by thread. A thread appends to its own if that has a page, its view and room; else it calls :meth:`first`."""
        fall.before_telling = times.before_telling = self.settle

    def first(self, thread: int, view: View, page: bytes, seconds: float, *, waits: bool = True) -> None:
        """This thread was told that a page is there, which took so long; what waited of it is counted before.

        ``waits``: it appends to its queue what it asks next. Not if somebody works for it, who leaves its queue as it is: the
        thread itself may just have looked at that.
        """
        with self._lock:
            asked = self.threads.get(thread)
            if asked is not None:
                self._settle(thread, asked)
            stays = waits and (asked is not None or len(self.threads) < MOST_THREADS)
            if asked is None or not stays:
                asked = Asked()
            asked.view, asked.seconds = view, seconds
            asked.append(page)
            if stays:
                self.threads[thread] = asked
            else:
                self._settle(thread, asked)

    def settle(self) -> None:
        """Account for all that wait."""
        with self._lock:
            for thread, asked in self.threads.items():
                if asked:
                    self._settle(thread, asked)

    def settle_own(self, thread: int) -> None:
        """Account for those of one thread, which is about to do something else."""
        asked = self.threads.get(thread)
        if asked is not None and (asked or self._lock.locked()):  # who holds it may have taken them out and not told of them yet
            with self._lock:
                self._settle(thread, asked)

    def forked(self) -> None:
        """In a forked child: another lock, and what waits is the parent's."""
        self._lock = Lock()
        self.threads.clear()

    def _settle(self, thread: int, asked: Asked) -> None:
        """Account for those of one thread, with the lock held; what is appended meanwhile waits."""
        pages = [asked.popleft() for _ in range(len(asked))]
        if pages:
            asked.view.note(thread, pages)
            self._fall.whole(len(pages), asked.view.tokens)
            self._times.repeated("ask", asked.seconds, len(pages))
