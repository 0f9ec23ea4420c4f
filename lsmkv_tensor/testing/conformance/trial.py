"""One case's use of one backend: a directory, pages that are told apart by their bytes, and gets that check every byte."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from lsmkv_tensor.testing.conformance.damage import Found, find
from lsmkv_tensor.testing.conformance.protocol import Backend, NonconformingError, NotApplicableError, Pages, Subject

__all__ = ["GUARD", "Trial", "fail", "key", "page"]

GUARD = 0xA5
"""What memory holds that nobody may write to."""
GUARD_BYTES = 4096


def key(i: int) -> bytes:
    """The key of page ``i``."""
    return hashlib.sha256(b"conformance page %d" % i).digest()


def page(i: int, page_bytes: int) -> Pages:
    """The bytes of page ``i``: random, so no other page and no header looks like a part of it."""
    return np.random.default_rng([7, i]).integers(0, 256, page_bytes, np.uint8)


def fail(what: str) -> NoReturn:
    """NonconformingError."""
    raise NonconformingError(what)


class Trial:
    """A backend in a directory of its own. Any thread may put and get."""

    def __init__(self, subject: Subject, directory: Path) -> None:
        self.subject = subject
        self.directory = directory
        self.backend: Backend | None = None
        self._parts = 0

    def start(self) -> Backend:
        """Open in the directory."""
        self.backend = self.subject.open(self.directory, self.subject.capacity_bytes)
        return self.backend

    def stop(self) -> None:
        """Close."""
        backend, self.backend = self.backend, None
        if backend is not None:
            backend.close()

    def restart(self) -> Backend:
        """Close and open again."""
        self.stop()
        return self.start()

    def fresh(self) -> Backend:
        """Open in an empty directory beside the one that was used."""
        self.stop()
        self._parts += 1
        self.directory = self.directory.parent / f"part{self._parts}"
        self.directory.mkdir()
        return self.start()

    def pages(self, ids: Iterable[int]) -> Pages:
        """The bytes of these pages."""
        return np.stack([page(i, self.subject.page_bytes) for i in ids])

    def put(self, ids: Sequence[int]) -> list[bool]:
        """Store pages and wait until they can be got; which the backend took."""
        backend = self._open()
        flags = list(map(bool, backend.put([key(i) for i in ids], self.pages(ids))))
        if len(flags) != len(ids):
            fail(f"a put of {len(ids)} pages gave {len(flags)} verdicts")
        backend.settle()
        return flags

    def exists(self, ids: Sequence[int]) -> list[bool]:
        """What the backend says."""
        flags = list(map(bool, self._open().exists([key(i) for i in ids])))
        if len(flags) != len(ids):
            fail(f"asked for {len(ids)} pages, it gave {len(flags)} verdicts")
        return flags

    def get(self, ids: Sequence[int], deadline_s: float | None = None) -> list[bool]:
        """Read pages; which came. NonconformingError for one that came with other bytes, or bytes beside the memory given."""
        guarded, out = self.memory(len(ids))
        flags = list(map(bool, self._open().get([key(i) for i in ids], out, deadline_s)))
        if len(flags) != len(ids):
            fail(f"a get of {len(ids)} pages gave {len(flags)} verdicts")
        self.check_guards(guarded)
        for i, flag, row in zip(ids, flags, out, strict=True):
            if flag and not np.array_equal(row, page(i, self.subject.page_bytes)):
                fail(f"page {i} was delivered with wrong bytes")
        return flags

    def memory(self, n: int) -> tuple[Pages, Pages]:
        """Memory for ``n`` pages, and the whole that it is the middle of; all of it holds GUARD. It is aligned to 4096 bytes."""
        size = n * self.subject.page_bytes
        whole = np.full(size + 3 * GUARD_BYTES, GUARD, np.uint8)
        start = GUARD_BYTES + -whole.ctypes.data % GUARD_BYTES
        return whole, whole[start : start + size].reshape(n, self.subject.page_bytes)

    def check_guards(self, whole: Pages) -> None:
        """Nobody wrote before or behind the memory that was given."""
        start = GUARD_BYTES + -whole.ctypes.data % GUARD_BYTES
        behind = start + (len(whole) - 3 * GUARD_BYTES)
        if (whole[:start] != GUARD).any() or (whole[behind:] != GUARD).any():
            fail("a get wrote beside the memory it was given")

    def expect_all(self, ids: Sequence[int], flags: Sequence[bool], what: str) -> None:
        """NonconformingError naming the first page whose flag is False."""
        missing = [i for i, flag in zip(ids, flags, strict=True) if not flag]
        if missing:
            fail(f"{what}: {len(missing)} of {len(ids)} pages, the first of them page {missing[0]}")

    def damage(self, i: int, how: Callable[[list[Found]], None]) -> None:
        """Damage page ``i`` wherever it lies."""
        places = find(self.directory, page(i, self.subject.page_bytes))
        if not places:
            msg = "its bytes are in no file as they are (encoded, or in memory only)"
            raise NotApplicableError(msg)
        how(places)

    def _open(self) -> Backend:
        """The backend, which is open."""
        assert self.backend is not None
        return self.backend
