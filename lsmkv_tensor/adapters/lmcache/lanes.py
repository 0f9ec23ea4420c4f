"""Results of one kind of task, fetched later by LMCache when an event descriptor says that there is one."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from lsmkv.env.sync import Lock

__all__ = ["Lane"]

T = TypeVar("T")


class Lane(Generic[T]):
    """Results by task, and the bell that tells of them. Any thread may call anything."""

    def __init__(self, bell: Any) -> None:  # noqa: ANN401  # LMCache's EventNotifier
        self._bell: Any = bell
        self._lock = Lock()
        self._results: dict[int, T] = {}

    def fileno(self) -> int:
        """The event descriptor."""
        found: int = self._bell.fileno()
        return found

    def finish(self, task: int, result: T) -> None:
        """A task has ended."""
        with self._lock:
            if self._bell is not None:
                self._results[task] = result
                self._bell.notify()

    def take(self, task: int) -> T | None:
        """The result of a task, once; None before its end and after that."""
        with self._lock:
            return self._results.pop(task, None)

    def take_all(self) -> dict[int, T]:
        """All results, once."""
        with self._lock:
            found, self._results = self._results, {}
            return found

    def close(self) -> None:
        """No more results; the descriptor is closed. A second call does nothing."""
        with self._lock:
            bell, self._bell = self._bell, None
            if bell is not None:
                bell.close()
