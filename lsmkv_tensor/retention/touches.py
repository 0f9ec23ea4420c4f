"""What was read lately and is not yet told to the policy: readers note it without waiting for the commit lock.

A request asks for a prefix, reads it, then stores what was missing: one use of a page, though it was touched three times. Calls
of one thread that follow each other in that order (ask, read, store; the same first key for two asks) are taken for one
request, and a page counts once in it.

Notes wait in a bounded queue, in the order of the calls; when it is full, further ones are lost: the policy then knows a little
less.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lsmkv.env.sync import current_thread_id
from lsmkv_tensor.retention.residents import KeyRows, prefixed_rows

__all__ = ["ASK", "READ", "STORE", "Request", "Touches"]

ASK, READ, STORE = 0, 1, 2
"""Kinds of calls, in the order of a request."""

MAX_WAITING = 1 << 16
"""Keys that wait at most."""
MAX_THREADS = 256
"""Threads whose last request is remembered; beyond, all are forgotten."""


class Request:
    """What a thread's present request has touched."""

    __slots__ = ("first", "kind", "seen")

    def __init__(self) -> None:
        self.kind = STORE
        self.first = b""
        self.seen: NDArray[np.int64] = np.empty(0, np.int64)

    def goes_on(self, kind: int, first: bytes) -> bool:
        """Whether a call of this kind, for this first key, belongs to it; if not, a new request begins."""
        same = self.kind < kind or (self.kind == kind == ASK and self.first == first)
        if not same:
            self.seen = self.seen[:0]
        self.kind = kind
        self.first = first
        return same

    def fresh(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of these distinct slots that it has not touched yet; it has now."""
        new = slots[~np.isin(slots, self.seen)] if len(self.seen) else slots
        self.seen = np.concatenate([self.seen, new])
        return new


class Touches:
    """Notes of readers (any thread) for whoever holds the commit lock."""

    def __init__(self) -> None:
        self._queue: deque[tuple[int, int, bytes, Sequence[bytes]]] = deque()
        self._requests: dict[int, Request] = {}
        self.waiting = 0
        """Keys in the queue, nearly."""

    def note(self, kind: int, keys: Sequence[bytes], prefix: bytes, thread: int | None = None) -> None:
        """A call of this thread used the pages of these keys, in prefix order; absent ones do no harm.

        An index key is ``prefix`` and a key; all have 32 bytes. The sequence is kept, so it must not change.
        ``thread``: whose call it was, if it was not this thread's: a number that no thread here has.
        """
        if keys and self.waiting < MAX_WAITING:
            self.waiting += len(keys)
            self._queue.append((current_thread_id() if thread is None else thread, kind, prefix, keys))

    def take(self) -> Iterator[tuple[Request, KeyRows]]:
        """The notes, oldest first, each with its thread's request; the queue is empty afterwards."""
        queue = self._queue
        while queue:
            thread, kind, prefix, keys = queue.popleft()
            self.waiting = max(self.waiting - len(keys), 0)
            yield self.request(kind, prefix + keys[0], thread), prefixed_rows(prefix, list(dict.fromkeys(keys)))

    def request(self, kind: int, first: bytes, thread: int | None = None) -> Request:
        """The request that a call of this thread belongs to."""
        thread = current_thread_id() if thread is None else thread
        found = self._requests.get(thread)
        if found is None:
            if len(self._requests) >= MAX_THREADS:
                self._requests.clear()
            found = self._requests[thread] = Request()
        found.goes_on(kind, first)
        return found
