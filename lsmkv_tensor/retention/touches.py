"""What was used lately and is not yet told to the policy: calls note it without waiting for the commit lock, and do no more.

A request asks for a prefix, reads it, then stores what was missing: one use of a page, though it was touched three times. Calls
of one thread that follow each other in that order (ask, read, store; the same first key for two asks) are taken for one
request, and a page counts once in it. A request may store in several calls, and a call in several frames: each goes on where the
one before it ended. Who asks for many requests on one thread, and reads for them on others, gives each a number of its own
(:func:`request_id`).

Notes wait in a bounded queue, in the order of the calls; when it is full, further ones are lost, and counted: the policy then
knows a little less.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import count, repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.runtime.callers import caller_id

__all__ = ["ASK", "MAX_WAITING", "READ", "STORE", "Note", "Request", "Touches", "request_id"]

ASK, READ, STORE = 0, 1, 2
"""Kinds of calls, in the order of a request."""

FIRST_REQUEST = 1 << 63
"""Numbers from here on, in the place of a thread, are one request each: no thread has them."""

MAX_WAITING = 1 << 16
"""Keys that wait at most."""
MAX_THREADS = 256
"""Threads (and requests by number) of which the last request is remembered: those that called last."""

_requests = count(FIRST_REQUEST)


def request_id() -> int:
    """A number for :func:`~lsmkv_tensor.runtime.callers.working_for` of one request, whose calls come in any order."""
    return next(_requests)


class Note(NamedTuple):
    """What one call used."""

    thread: int
    kind: int
    prefix: bytes
    keys: Sequence[bytes]
    """An index key is ``prefix`` and a key."""
    stored: NDArray[np.int64] | None
    """Slots of pages that were stored, in prefix order, of which the policy was not told; the one key is the first one's."""

    @property
    def size(self) -> int:
        """Pages that it is about."""
        return len(self.keys if self.stored is None else self.stored)


class Request:
    """What a thread's present request has touched."""

    __slots__ = ("first", "kind", "only", "seen")

    def __init__(self, *, only: bool = False) -> None:
        """``only``: there is no other of this number."""
        self.only = only
        self.kind = STORE
        self.first = b""
        self.seen: set[int] = set()

    def goes_on(self, kind: int, first: bytes, parent: int) -> bool:
        """Whether a call of this kind, for this first key, belongs to it; if not, a new request begins.

        ``parent``: slot of the page before the first.
        """
        same = self.kind < kind or (self.kind == kind == ASK and self.first == first) or (kind == STORE and parent in self.seen)
        same = same or self.only
        if not same:
            self.seen.clear()
        self.kind = kind
        self.first = first
        return same

    def fresh(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of these distinct slots that it has not touched yet; it has now."""
        seen = self.seen
        listed = slots.tolist()
        new = [slot for slot in listed if slot not in seen] if seen else listed
        seen.update(new)
        return slots if len(new) == len(listed) else np.array(new, np.int64)


class Touches:
    """Notes of calls (any thread) for whoever holds the commit lock."""

    def __init__(self) -> None:
        self._queue: deque[tuple[int, int, bytes, Sequence[bytes], NDArray[np.int64] | None]] = deque()
        """Notes, or tuples of their fields."""
        self.before_noting: Callable[[int], object] = bool
        """Called with a thread before a call of it is noted: earlier ones of it are noted first."""
        self.before_taking: Callable[[], object] = bool
        """Called before notes are counted or taken: what waits elsewhere is noted."""
        self._requests: dict[int, Request] = {}
        self.waiting = 0
        """Keys in the queue, nearly."""
        self.lost = 0
        """Keys whose use the policy never heard of, nearly: the queue was full."""

    def note(self, kind: int, keys: Sequence[bytes], prefix: bytes, thread: int | None = None) -> None:
        """A call of this thread used the pages of these keys, in prefix order; absent ones do no harm.

        An index key is ``prefix`` and a key; all have 32 bytes. The sequence is kept, so it must not change.
        ``thread``: whose call it was, if it was not this thread's: a number that no thread here has.
        """
        if not keys:
            return
        caller = caller_id() if thread is None else thread
        self.before_noting(caller)
        if self.waiting >= MAX_WAITING:
            self.lost += len(keys)
            return
        self.waiting += len(keys)
        self._queue.append((caller, kind, prefix, keys, None))

    def note_asks(self, thread: int, keys: Sequence[bytes], prefix: bytes) -> None:
        """A thread asked for these pages in calls of one page each, as :meth:`note` has it."""
        if self.waiting >= MAX_WAITING:
            self.lost += len(keys)
            return
        self.waiting += len(keys)
        self._queue.extend(zip(repeat(thread), repeat(ASK), repeat(prefix), zip(keys, strict=True), repeat(None), strict=False))

    def note_stored(self, first: bytes, slots: NDArray[np.int64]) -> None:
        """A call of this thread stored pages in prefix order, of which the first has this index key. Never lost."""
        caller = caller_id()
        self.before_noting(caller)
        self.waiting += len(slots)
        self._queue.append(Note(caller, STORE, b"", (first,), slots))

    @property
    def notes(self) -> int:
        """Notes that wait."""
        self.before_taking()
        return len(self._queue)

    def take(self, most: int) -> list[Note]:
        """The oldest notes, of ``most`` keys together or one note of more; they wait no longer."""
        self.before_taking()
        taken: list[Note] = []
        queue, keys = self._queue, 0
        while queue:
            note = Note(*queue[0])
            if taken and keys + note.size > most:
                break
            queue.popleft()
            taken.append(note)
            keys += note.size
        self.waiting = max(self.waiting - keys, 0) if queue else 0
        return taken

    def request(self, thread: int) -> Request:
        """The present request of a thread, or the one of this number."""
        found = self._requests.pop(thread, None)
        if found is None:
            found = Request(only=thread >= FIRST_REQUEST)
            if len(self._requests) >= MAX_THREADS:
                del self._requests[next(iter(self._requests))]
        self._requests[thread] = found
        return found
