"""By when a call must be back, and how it is waited for until then."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from lsmkv_tensor.runtime.attempts import LOOK_S, AttemptPool

__all__ = ["NO_DEADLINE", "ByDeadline", "NoDeadline", "When", "next_look_s"]

T = TypeVar("T")


class When(Protocol):
    """By when a call must be back."""

    @property
    def look_s(self) -> float | None:
        """How long to wait before :meth:`remaining` is asked again; None: it may be waited for."""
        ...

    def remaining(self) -> float | None:
        """Seconds left; None: any number."""
        ...

    def aside(self, work: Callable[[], T]) -> T | None:
        """What work returns that may hang; None if that is late."""
        ...


class ByDeadline(NamedTuple):
    """At a moment of the pool's clock."""

    pool: AttemptPool
    until: float

    @property
    def look_s(self) -> float | None:
        """See :class:`When`."""
        return None if self.pool.ticks else LOOK_S

    def remaining(self) -> float | None:
        """See :class:`When`."""
        return self.pool.remaining(self.until)

    def aside(self, work: Callable[[], T]) -> T | None:
        """See :class:`When`: on a thread of the pool."""
        return self.pool.one(work, self.until)


class NoDeadline:
    """Whenever it is done."""

    look_s = None

    def remaining(self) -> float | None:
        """See :class:`When`."""
        return None

    def aside(self, work: Callable[[], T]) -> T | None:
        """See :class:`When`: here."""
        return work()


NO_DEADLINE = NoDeadline()


def next_look_s(remaining: Callable[[], float | None], look_s: float | None) -> float | None:
    """Seconds to wait now before :meth:`When.remaining` is asked again; 0: the time is over. None: any number."""
    seconds = remaining()
    return seconds if look_s is None else look_s if seconds is None else min(seconds, look_s)
