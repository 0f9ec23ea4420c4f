"""What a backend is to the kit: six calls, and a subject that opens it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.testing.conformance.damage import stalled_by_pipes

__all__ = ["Backend", "NonconformingError", "NotApplicableError", "Pages", "Subject", "Verdict"]

Pages: TypeAlias = NDArray[np.uint8]
"""Bytes of n pages: [n, page_bytes], C-contiguous."""


class Backend(Protocol):
    """Pages by key, in a directory. Calls come from several threads at once. Keys are 32-byte digests."""

    def put(self, keys: Sequence[bytes], pages: Pages) -> Sequence[bool]:
        """Store pages. True: it is there now, or will be after :meth:`settle`. The memory is the caller's again on return."""

    def exists(self, keys: Sequence[bytes]) -> Sequence[bool]:
        """Which pages are there."""

    def get(self, keys: Sequence[bytes], out: Pages, deadline_s: float | None) -> Sequence[bool]:
        """Read pages into the caller's memory. True: every byte of it is right. False: its row of ``out`` is undefined.

        ``deadline_s``: seconds after which it is back, whatever the disk does; a backend whose engine gives it none uses its own.
        """

    def settle(self) -> None:
        """Return when everything that was put can be got."""

    def delete(self, keys: Sequence[bytes]) -> None:
        """Forget pages. NotApplicableError: the backend has no such call."""

    def close(self) -> None:
        """Let go of the directory; what was settled stays there."""


class Subject:
    """How a backend is opened, and what it is called. Derive from it, and say at least ``name`` and :meth:`open`."""

    name: str = "backend"
    """What tables call it."""
    version: str = ""
    """What it was tested in, such as "sglang 0.5.23"."""
    page_bytes: int = 64 << 10
    capacity_bytes: int = 16 << 20
    """What a full one may take; at least 32 pages must fit."""
    deadline_s: float = 0.5
    """Given to a get beside a disk that hangs."""
    grace_s: float = 3.0
    """Seconds after the deadline until the get counts as hanging."""
    quiet_s: float = 0.3
    """Seconds in which a late read would have come."""

    def open(self, directory: Path, capacity_bytes: int) -> Backend:
        """The backend in this directory, which may hold what an earlier one left; one that knows no capacity leaves it out."""
        raise NotImplementedError

    def stalled(self, backend: Backend, directory: Path, page: Pages) -> AbstractContextManager[object]:
        """A disk that hangs when this page is read, until the context is left.

        As it is, the file that holds the page's bytes becomes a pipe that nobody writes to. NotApplicableError where pages share
        files: such a subject makes its disk hang in its own way.
        """
        del backend
        return stalled_by_pipes(directory, page)


class NotApplicableError(Exception):
    """The case asks for something that this backend does not have, and does not claim to have."""


class NonconformingError(AssertionError):
    """The backend does not do what the case asks."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a case gave."""

    case: str
    outcome: Literal["pass", "fail", "skip"]
    why: str = ""
    """Of a failure or a skip, one line."""

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return {"outcome": self.outcome, "why": self.why}
