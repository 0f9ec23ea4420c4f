"""Pages that were accepted and wait to be written: a bounded queue between a server and its disk.

``offer`` never waits for the disk: it takes what there is room for, in order, and declines the rest. What it takes is copied, so
the caller's memory is free again, and can be read from here until it is in the index: a page is in the queue, then in both, then
in the index alone, and whoever asks the queue first and the index second never sees it missing. Jobs run one at a time, in the
order they came; ``drain`` waits for those accepted before it.

A page whose write fails or finds no space is lost like one that a store without a queue would have declined, and counted there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from lsmkv.env.sync import Condition, current_thread_id

__all__ = ["Lent", "PutQueue", "Write", "never"]

Write: TypeAlias = Callable[[Sequence[memoryview]], object]
"""Stores these pages, one view each, in the order they were offered; its errors are counted, not raised."""
Lent: TypeAlias = tuple[memoryview, Callable[[], None]]
"""Memory, and what gives it back."""


def never() -> bool:
    """Pages without an end; a wait that nothing cuts short."""
    return False


class _Job:
    """Pages of one call. Changed under the queue's condition."""

    __slots__ = ("done", "ended", "give", "keys", "nbytes", "pages", "ticket", "users", "write")

    def __init__(
        self,
        keys: Sequence[bytes],
        pages: Sequence[memoryview],
        write: Write,
        give: Callable[[], None],
        ended: Callable[[], bool],
    ) -> None:
        self.keys = keys
        self.pages = pages
        self.nbytes = sum(map(len, pages))
        self.write = write
        self.give = give
        self.ended = ended
        self.ticket = 0
        self.users = 0
        self.done = False


class PutQueue:
    """The queue of one store. Any thread may call anything; ``step`` belongs to one worker."""

    def __init__(self, limit_bytes: int, limit_pages: int, *, manual: bool) -> None:
        self._limit_bytes = limit_bytes
        self._limit_pages = limit_pages
        self._manual = manual
        self._changed = Condition()
        self._jobs: deque[_Job] = deque()
        self._pending: dict[bytes, tuple[_Job, memoryview]] = {}
        self._tickets = 0
        self._finished = 0
        self._shut = False
        self._worker: int | None = None
        self.wake: Callable[[], None] = _nothing
        """Called when there is work."""
        self.bytes = 0
        """Bytes of pages accepted and not yet written."""
        self.pages = 0
        self.accepted_pages = 0
        self.declined_pages = 0
        """Pages for which there was no room."""
        self.failed_jobs = 0
        """Calls whose write raised."""
        self.last_error: Exception | None = None

    def offer(
        self,
        keys: Sequence[bytes],
        size: int,
        copy: Callable[[int], Lent],
        write: Callable[[int], Write],
        ended: Callable[[], bool] = never,
    ) -> int:
        """Accept the first pages of a call, as many as there is room for; how many.

        ``size``: bytes of each. ``copy(n)`` brings the first n into memory that is lent; ``write(n)`` is what will store them.
        ``ended`` says whether they have ended: from then on they are not here any more.
        """
        with self._changed:
            room = min(len(keys), (self._limit_bytes - self.bytes) // size, self._limit_pages - self.pages)
            n = 0 if self._shut else max(room, 0)
            self.declined_pages += len(keys) - n
            if not n:
                return 0
            self.bytes += n * size
            self.pages += n
        try:
            memory, give = copy(n)
            job = _Job(keys[:n], [memory[i * size : (i + 1) * size] for i in range(n)], write(n), give, ended)
        except BaseException:
            with self._changed:
                self.bytes -= n * size
                self.pages -= n
            raise
        with self._changed:
            if not self._shut:
                self._tickets += 1
                job.ticket = self._tickets
                self._jobs.append(job)
                self._pending.update((key, (job, page)) for key, page in zip(job.keys, job.pages, strict=True))
                self.accepted_pages += n
                self.wake()
                return n
            self.bytes -= n * size
            self.pages -= n
            self.declined_pages += n
        give()
        return 0

    @property
    def full(self) -> bool:
        """Whether less than a sixteenth is free."""
        return (
            16 * (self._limit_bytes - self.bytes) < self._limit_bytes or 16 * (self._limit_pages - self.pages) < self._limit_pages
        )

    def holds(self, keys: Sequence[bytes]) -> list[bool] | None:
        """Which pages are here; None if none is at all."""
        if not self._pending:
            return None
        with self._changed:
            return [(there := self._pending.get(key)) is not None and not there[0].ended() for key in keys]

    @contextmanager
    def holding(self, keys: Sequence[bytes]) -> Iterator[dict[int, memoryview]]:
        """The pages that are here, by position in ``keys``, for as long as the block lasts."""
        found: dict[int, memoryview] = {}
        jobs: list[_Job] = []
        if self._pending:
            with self._changed:
                for i, key in enumerate(keys):
                    there = self._pending.get(key)
                    if there is not None and not there[0].ended():
                        job, found[i] = there
                        job.users += 1
                        jobs.append(job)
        try:
            yield found
        finally:
            for job in jobs:
                self._let_go(job)

    def step(self) -> bool:
        """Write the pages of the oldest call; whether there may be more."""
        with self._changed:
            if not self._jobs:
                return False
            job = self._jobs.popleft()
            before, self._worker = self._worker, current_thread_id()
        try:
            job.write(job.pages)
        except Exception as error:  # noqa: BLE001 - nobody waits for this call: it is counted, and told where the owner looks
            self.failed_jobs += 1
            self.last_error = error
        finally:
            with self._changed:
                for key in job.keys:
                    if self._pending.get(key, (None,))[0] is job:
                        del self._pending[key]
                self._finished = max(self._finished, job.ticket)
                self._worker = before
                self.bytes -= job.nbytes
                self.pages -= len(job.pages)
                job.done = True
                unused = not job.users
                self._changed.notify_all()
            if unused:
                job.give()
        return bool(self._jobs)

    def drain(self, given_up: Callable[[], bool] = never) -> bool:
        """Wait until everything accepted so far is written; False if it is not, as ``given_up`` says that it cannot be now.

        From inside a write (a callback): all but that. ``given_up`` is asked at first, after every write, and after :meth:`stir`.
        """
        with self._changed:
            last = self._tickets
            if self._worker == current_thread_id():
                last = self._jobs[-1].ticket if self._jobs else 0
                inline = True
            else:
                inline = self._manual
        while inline and self._jobs and self._jobs[0].ticket <= last:
            if given_up():
                return False
            self.step()
        if inline:
            return True
        with self._changed:
            while self._finished < last:
                if given_up():
                    return False
                self._changed.wait()
        return True

    def await_room(self, nbytes: int, pages: int, seconds: float, given_up: Callable[[], bool] = never) -> bool:
        """Wait until there is room for so many pages of so many bytes in all, or that long; whether there is room.

        More than the queue ever holds: until it is empty. ``given_up`` as for :meth:`drain`.
        """

        def room() -> bool:
            """Whether they would be accepted now."""
            if not self.pages:
                return True
            return self.bytes + nbytes <= self._limit_bytes and self.pages + pages <= self._limit_pages

        while self._manual and not room() and not given_up() and self.step():
            pass
        with self._changed:
            if not self._manual:
                self._changed.wait_for(lambda: room() or self._shut or given_up(), seconds)
            return room() and not self._shut

    def stir(self) -> None:
        """Have those who wait in :meth:`drain` ask whether to give up."""
        with self._changed:
            self._changed.notify_all()

    def shut(self) -> None:
        """Accept nothing more; what was accepted is still written."""
        with self._changed:
            self._shut = True

    def forked(self) -> None:
        """In a forked child: the pages are the parent's to write. Takes no lock."""
        self._changed = Condition()
        self._shut = True
        self._jobs = deque()
        self._pending = {}
        self._finished = self._tickets

    def _let_go(self, job: _Job) -> None:
        """A reader is done with one page."""
        with self._changed:
            job.users -= 1
            last = job.done and not job.users
        if last:
            job.give()


def _nothing() -> None:
    """No worker is there to be woken."""
