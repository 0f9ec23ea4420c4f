"""The helper process of a store: started when a large merge is due, kept while merges go on, ended when it idles or fails.

One that cannot be started, or dies, is no failure of the store: merges run here then, as they do without one.
"""

from __future__ import annotations

from lsmkv.env.helper import HelperProcess
from lsmkv.env.sync import Lock

__all__ = ["IDLE_S", "Helping"]

START_BYTES = 4 << 20
"""Of a merge that is worth a process: to start one takes a fifth of a second, and 45 MB of memory."""

WARM_BYTES = 256 << 10
"""Of a merge that is worth telling a process that runs: to talk to it takes a millisecond."""

IDLE_S = 60.0
"""Seconds without a merge after which the process is ended."""

MOST_FAILURES = 3
"""After so many in a row, there is no process for this store any more."""


class Helping:
    """The process of one store, if it has one. One merge at a time takes it; ending it takes no turn."""

    __slots__ = ("_doubted", "_ended", "_failures", "_last_s", "_lock", "_module", "_process")

    def __init__(self) -> None:
        """There is none, and will be none until it is allowed."""
        self._module: str | None = None
        self._process: HelperProcess | None = None
        self._failures = 0
        self._last_s = 0.0
        self._ended = False
        self._doubted = False
        self._lock = Lock()

    def allow(self, module: str) -> None:
        """Let there be a process, which runs ``module``, once it is worth it."""
        self._module = module

    @property
    def pid(self) -> int | None:
        """Of the process, if there is one."""
        process = self._process
        return None if process is None else process.pid

    def worth(self, nbytes: int) -> bool:
        """Whether a merge that reads so many bytes should go there."""
        return nbytes >= (START_BYTES if self._process is None else WARM_BYTES)

    def take(self, now_s: float) -> tuple[HelperProcess, bool] | None:
        """The process, and whether it was just started and has not said yet that it is ready; None: there is none to be had."""
        with self._lock:
            self._last_s = now_s
            self._doubted = False
            if self._module is None or self._ended or self._failures >= MOST_FAILURES:
                return None
            if self._process is not None:
                return self._process, False
            try:
                self._process = HelperProcess(self._module)
            except Exception:  # noqa: BLE001 - what a program has made of sockets and processes is not for a merge to fail of
                self._failures = MOST_FAILURES
                return None
            return self._process, True

    def worked(self, now_s: float) -> None:
        """It did what it was asked."""
        self._failures = 0
        self._last_s = now_s

    def refused(self) -> None:
        """It says that it cannot do what it was asked: see :meth:`done_here`."""
        self._doubted = True

    def done_here(self) -> None:
        """A merge was done here: if the process had said that it cannot be done, the fault was its own."""
        if self._doubted:
            self._doubted = False
            self.failed()

    def failed(self, *, for_good: bool = False) -> None:
        """It died, or is of no use: the next merge may start another one, unless it is known that none would do better."""
        with self._lock:
            self._failures = MOST_FAILURES if for_good else self._failures + 1
            self._drop()

    def drop(self) -> None:
        """End it, whatever it does."""
        with self._lock:
            self._drop()

    def rest(self, now_s: float) -> float | None:
        """End it if it has idled long enough; else the seconds until that is to be looked at again; None: there is none."""
        with self._lock:
            if self._process is None:
                return None
            left = self._last_s + IDLE_S - now_s
            if left > 0:
                return left
            self._drop()
            return None

    def end(self) -> None:
        """End it for good."""
        with self._lock:
            self._ended = True
            self._drop()

    def forked(self) -> None:
        """In a forked child: there is none, and will be none. Takes no lock."""
        self._lock = Lock()
        self._ended = True
        process, self._process = self._process, None
        if process is not None:
            process.forked()

    def _drop(self) -> None:
        """End it (lock held)."""
        process, self._process = self._process, None
        if process is not None:
            process.end()
