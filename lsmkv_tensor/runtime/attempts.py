"""Work that its owner may walk away from: parts done by a thread of ours, waited for until a deadline.

A read that hangs in the kernel cannot be stopped, only left. So what has a deadline runs on a thread of this pool and touches
memory of our own; its owner takes the parts that are ready in time and goes. The thread ends its part whenever the disk lets it,
and only then is the memory used again. How many attempts may be under way is bounded, and so is how many may have been left:
beyond that an attempt is not begun at all, which to its owner is an attempt that was late.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Generic, TypeVar

from lsmkv.env.clock import Clock, SystemClock
from lsmkv.env.sync import Condition, start_thread
from lsmkv_tensor.runtime.callers import caller_id, working_for

__all__ = ["MAX_LEFT", "MAX_THREADS", "AttemptPool"]

MAX_THREADS = 16
"""Attempts under way at a time; more wait for their turn, as long as their deadline lets them."""
MAX_LEFT = 8
"""Attempts left and not yet ended, beyond which none is begun: a disk that hangs must not take all threads and memory."""
LOOK_S = 0.005
"""How often a clock that is not the machine's is looked at."""

T = TypeVar("T")


class _Attempt(Generic[T]):
    """Parts, what came of them, and who still cares. Changed under the pool's condition."""

    __slots__ = ("began", "caller", "ended", "error", "left", "parts", "release", "results")

    def __init__(self, parts: Sequence[Callable[[], T]], release: Callable[[], None]) -> None:
        self.parts = parts
        self.release = release
        self.caller = caller_id()
        self.results: list[T] = []
        self.error: BaseException | None = None
        self.began = False
        self.left = False
        self.ended = False


class AttemptPool:
    """Threads that run attempts. Any thread may call anything."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._ticks = isinstance(self._clock, SystemClock)
        self._changed = Condition()
        self._waiting: deque[_Attempt[object]] = deque()
        self._threads = 0
        self._idle = 0
        self._left = 0
        self._stopping = False
        self.refused = 0
        """Attempts that were not begun because too many had been left."""

    @property
    def left(self) -> int:
        """Attempts that their owners left and that have not ended."""
        return self._left

    @property
    def ticks(self) -> bool:
        """Whether its clock is the machine's: then moments of it can be waited for."""
        return self._ticks

    def until(self, seconds: float) -> float:
        """The moment ``seconds`` from now, as :meth:`results` takes it."""
        return self._clock.monotonic() + seconds

    def remaining(self, until: float) -> float:
        """Seconds left until that moment, at least 0."""
        return max(until - self._clock.monotonic(), 0.0)

    def results(self, parts: Sequence[Callable[[], T]], until: float, release: Callable[[], None]) -> Generator[T, None, None]:
        """What the parts return, one after the other, as they end; stops after the last, or at ``until``.

        An error of a part is raised in its place. ``release`` is called once, when the attempt has ended and its owner has closed
        this iterator or exhausted it: only then is nobody using its memory.
        """
        attempt: _Attempt[T] = _Attempt(parts, release)
        if not self.remaining(until) or not self._begin(attempt):
            release()
            return
        try:
            for at in range(len(parts)):
                if not self._wait(attempt, at, until):
                    return
                if at >= len(attempt.results):
                    assert attempt.error is not None
                    raise attempt.error
                yield attempt.results[at]
        finally:
            self._leave(attempt)

    def one(self, part: Callable[[], T], until: float) -> T | None:
        """What one part returns, None if it is late."""
        results = self.results([part], until, _nothing)
        try:
            return next(results, None)
        finally:
            results.close()

    def stop(self, wait_s: float) -> int:
        """Begin nothing more, and give what is under way so many seconds (real ones); how many attempts are still hanging."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._threads, wait_s)
            return self._threads

    def forked(self) -> None:
        """In a forked child: there are no threads here. Takes no lock."""
        self._changed = Condition()
        self._stopping = True
        self._threads = self._left = 0

    def _begin(self, attempt: _Attempt[T]) -> bool:
        """Hand it to a thread; False if none may be begun."""
        with self._changed:
            if self._left >= MAX_LEFT or self._stopping:
                self.refused += 1
                return False
            self._waiting.append(attempt)  # type: ignore[arg-type]  # the queue never looks at what parts return
            if self._idle >= len(self._waiting):
                self._changed.notify_all()
                return True
            if self._threads >= MAX_THREADS:
                return True
            try:
                start_thread("lsmkv-read", self._run)
            except RuntimeError:  # the machine has no more threads: those that there are do it
                if not self._threads:
                    self._waiting.remove(attempt)  # type: ignore[arg-type]  # as above
                    self.refused += 1
                    return False
            else:
                self._threads += 1
            return True

    def _wait(self, attempt: _Attempt[T], at: int, until: float) -> bool:
        """Wait for a part, or for the attempt's error; False at the deadline."""
        with self._changed:
            last = at == len(attempt.parts) - 1  # its thread has let go by then: the next call finds it idle
            while not attempt.ended and (last or at >= len(attempt.results)):
                seconds = self.remaining(until)
                if not seconds:
                    return False
                self._changed.wait(seconds if self._ticks else min(seconds, LOOK_S))
            return True

    def _leave(self, attempt: _Attempt[T]) -> None:
        """Its owner wants nothing more of it."""
        with self._changed:
            attempt.left = True
            if not attempt.ended and not attempt.began:
                self._waiting.remove(attempt)  # type: ignore[arg-type]  # as in _begin
                attempt.ended = True
            if not attempt.ended:
                self._left += 1
                return
        attempt.release()

    def _run(self) -> None:
        """A thread: attempts, one after the other."""
        while (attempt := self._next()) is not None:
            for part in attempt.parts:
                if attempt.left:
                    break
                try:
                    with working_for(attempt.caller):
                        attempt.results.append(part())
                except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                    attempt.error = error
                    break
                if len(attempt.results) < len(attempt.parts):
                    with self._changed:
                        self._changed.notify_all()
            with self._changed:
                attempt.ended = True
                left = attempt.left
                self._left -= left
                self._changed.notify_all()
            if left:
                attempt.release()
            del attempt  # an idle thread keeps no caller's keys alive

    def _next(self) -> _Attempt[object] | None:
        """The next attempt; None at the end."""
        with self._changed:
            self._idle += 1
            while not self._waiting and not self._stopping:
                self._changed.wait()
            self._idle -= 1
            if not self._waiting:
                self._threads -= 1
                self._changed.notify_all()
                return None
            attempt = self._waiting.popleft()
            attempt.began = True
            return attempt


def _nothing() -> None:
    """There is no memory to take back."""
