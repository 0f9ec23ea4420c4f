"""Several callers, callers that cannot wait, and whose memory it is."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, Thread

import numpy as np

from lsmkv.env.clock import SystemClock
from lsmkv_tensor.testing.conformance.protocol import NotApplicableError, Pages
from lsmkv_tensor.testing.conformance.trial import GUARD, Trial, fail, key, page

__all__ = ["concurrent", "deadline", "memory"]

THREADS = 4
TURNS = 12
STALLED = 1
"""The page that a hanging disk does not give."""


def concurrent(trial: Trial) -> None:
    """Callers that store and read the same pages at once get right bytes and no errors, and lose nothing."""
    trial.start()
    together = Barrier(THREADS)

    def call(number: int) -> None:
        """One caller's calls."""
        rng = random.Random(number)  # noqa: S311 - a test's choices
        together.wait()
        for _ in range(TURNS):
            ids = rng.sample(range(24), 6)
            trial.put(ids)
            trial.exists(ids)
            trial.get(ids)

    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(call, number) for number in range(THREADS)]:
            done.result()
    stored = sorted({i for number in range(THREADS) for i in _chosen(number)})
    trial.expect_all(stored, trial.get(stored), "stored by several callers, not delivered afterwards")


def deadline(trial: Trial) -> None:
    """A get beside a disk that hangs is back at its deadline."""
    backend = trial.start()
    ids = list(range(4))
    trial.put(ids)
    with trial.subject.stalled(backend, trial.directory, page(STALLED, trial.subject.page_bytes)):
        late = _Get(trial, ids)
        if not late.wait():
            fail(f"not back {trial.subject.grace_s:g} s after its deadline of {trial.subject.deadline_s:g} s")
        if late.error is not None:
            raise late.error
        for i, flag, row in zip(ids, late.flags, late.out, strict=True):
            if flag and not np.array_equal(row, page(i, trial.subject.page_bytes)):
                fail(f"page {i} was delivered with wrong bytes beside a hanging disk")


def memory(trial: Trial) -> None:
    """After a put or a get has returned, the caller's memory is the caller's: nothing reads it, nothing writes to it."""
    backend = trial.start()
    ids = list(range(8))
    pages = trial.pages(ids)
    backend.put([key(i) for i in ids], pages)
    pages[:] = GUARD
    backend.settle()
    trial.expect_all(ids, trial.get(ids), "not delivered after its memory was used for something else")
    whole, out = trial.memory(len(ids))
    backend.get([key(i) for i in ids], out, None)
    trial.check_guards(whole)
    out[:] = GUARD
    _late_read(trial)
    if (out != GUARD).any():
        fail("memory of a get that had returned was written to")


def _late_read(trial: Trial) -> None:
    """A read that its caller no longer waits for comes after all."""
    assert trial.backend is not None
    stall = trial.subject.stalled(trial.backend, trial.directory, page(STALLED, trial.subject.page_bytes))
    try:
        stall.__enter__()
    except NotApplicableError:
        return
    try:
        late = _Get(trial, list(range(4)))
        came = late.wait()
        late.out[:] = GUARD
    finally:
        stall.__exit__(None, None, None)
    if not came:  # that is the deadline's case
        late.wait()
        return
    clock = SystemClock()
    until = clock.monotonic() + trial.subject.quiet_s
    while clock.monotonic() < until:
        if (late.whole != GUARD).any():
            fail("a read that came late was written to memory that was the caller's again")
        clock.sleep(0.01)


class _Get:
    """A get on a thread of its own, with the subject's deadline."""

    def __init__(self, trial: Trial, ids: Sequence[int]) -> None:
        assert trial.backend is not None
        self._backend, self._keys = trial.backend, [key(i) for i in ids]
        self._seconds, self._most = trial.subject.deadline_s, trial.subject.deadline_s + trial.subject.grace_s
        self.whole: Pages
        self.out: Pages
        self.whole, self.out = trial.memory(len(ids))
        self.flags: list[bool] = []
        self.error: Exception | None = None
        self._done = Event()
        Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        """The thread."""
        try:
            self.flags = list(map(bool, self._backend.get(self._keys, self.out, self._seconds)))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the case's to judge
            self.error = error
        finally:
            self._done.set()

    def wait(self) -> bool:
        """Whether it came back within the deadline and the grace."""
        return self._done.wait(self._most)


def _chosen(number: int) -> set[int]:
    """The pages that a caller stores."""
    rng = random.Random(number)  # noqa: S311 - a test's choices
    return {i for _ in range(TURNS) for i in rng.sample(range(24), 6)}
