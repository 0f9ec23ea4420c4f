"""Following the index of a page store that another process writes: opening it, looking, asking; a while of peace after trouble.

Everything here answers "not there" rather than raise: what is wrong with somebody else's store is no error of ours. It is told
in :class:`SiblingStats`, the store is left alone for a while (``FIRST_PAUSE_S``, doubled up to ``LONGEST_PAUSE_S``), then
opened anew. Nothing of it is ever changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from posixpath import join
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

import lsmkv
from lsmkv.env.clock import Clock
from lsmkv.env.fs import FileSystem
from lsmkv.env.rng import Rng
from lsmkv.env.sync import Lock
from lsmkv_tensor.errors import BusyError, CorruptionError, LsmError
from lsmkv_tensor.runtime.waterfall import Loss
from lsmkv_tensor.sharing.lag import Missed
from lsmkv_tensor.sharing.options import Sharing
from lsmkv_tensor.sharing.segments import OpenSegments
from lsmkv_tensor.vlog.layout import has_ended, minute_of
from lsmkv_tensor.vlog.reserved import NAMESPACES, USES, number_key, number_of
from lsmkv_tensor.vlog.stamp import read_stamp

__all__ = ["FollowedStore", "index_keys"]

T = TypeVar("T")

Settle: TypeAlias = Callable[[bytes, bytes, Sequence[Loss], bool], None]
"""Namespace, page key, what was lost with it, and whether the sibling had it."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
MAX_TABLES = 64
"""Tables of the index held open."""


class FollowedStore:
    """The store in one directory, followed. Any thread may call anything."""

    def __init__(self, name: str, path: str, fs: FileSystem, clock: Clock, rng: Rng, sharing: Sharing) -> None:
        """``fs`` must refuse every change. Nothing is opened before :meth:`look`."""
        self.name = name
        self.path = path
        self._fs = fs
        self._clock = clock
        self._options = lsmkv.Options(
            refresh_s=None, block_cache_bytes=sharing.block_cache_bytes, max_open_tables=MAX_TABLES, fs=fs, clock=clock, rng=rng
        )
        self._lock = Lock()
        self._index: lsmkv.Follower | None = None
        self._segments = OpenSegments(fs, join(path, "vlog"))
        self._store_id = b""
        self._numbers: dict[bytes, int] = {}
        self._absent: dict[bytes, int] = {}  # namespaces that it has not, and the sequence number up to which that is known
        self.missed = Missed()
        self.settle: Settle = _nobody
        """Told of every page that was told missing and that a look has found to be there, or not."""
        self._opened = 0
        self._opened_s = self._looked_s = self._retry_s = float("-inf")
        self._pause_s = FIRST_PAUSE_S
        self._reason = "not looked at yet"
        self._hits = self._read_bytes = self._retries = self._unreadable = self._failures = 0
        self._looks = self._news = 0
        self.lag_misses = 0

    # looking

    @property
    def shown(self) -> tuple[int, int]:
        """Differs whenever something new may be seen."""
        index = self._index
        return self._opened, -1 if index is None else index.last_seq

    def look(self, max_age_s: float) -> bool:
        """See what it acknowledged before this call, unless the last look is younger than ``max_age_s``; whether it is seen.

        I/O: one listing and some small reads; what is new is read once. Opening it: its manifest and logs.
        """
        index, now = self._index, self._clock.monotonic()
        if index is None:
            return now >= self._retry_s and self._open(now)
        if now - self._looked_s < max_age_s:
            return False
        try:
            news = index.refresh()
        except (LsmError, OSError) as error:
            self._give_up(index, error)
            return False
        with self._lock:
            self._looked_s = max(now, self._looked_s)
            self._looks += 1
            self._news += news
        for text, missed in self.missed.take():
            had = self.contains(text, list(missed)).tolist() if news else [False] * len(missed)
            self.lag_misses += sum(had)
            for (key, losses), lagged in zip(missed.items(), had, strict=True):
                self.settle(text, key, losses, lagged)
        return True

    def _open(self, now: float) -> bool:
        """Begin to follow; whether that succeeded."""
        with self._lock:
            if self._index is not None:
                return True
            try:
                stamp = read_stamp(self._fs, self.path)
                if stamp is None:
                    raise CorruptionError(join(self.path, "STORE"), -1, "missing")
                self._index = lsmkv.open(join(self.path, "index"), self._options, read_only=True)
            except (LsmError, OSError) as error:
                self._failed(error, now)
                return False
            self._store_id = stamp.store_id
            self._opened += 1
            self._opened_s = self._looked_s = now
            self._reason = ""
            return True

    def is_another(self) -> bool:
        """Whether another store has taken this one's directory since it was opened. I/O: one read."""
        if self._index is None:
            return False
        try:
            stamp = read_stamp(self._fs, self.path)
        except (LsmError, OSError):
            return False  # a look will tell
        return stamp is None or stamp.store_id != self._store_id

    def _give_up(self, index: lsmkv.Follower, error: Exception) -> None:
        """Stop following for a while, unless it is only busy or somebody else has done so."""
        if isinstance(error, BusyError):
            with self._lock:
                self._failures += 1
            return
        with self._lock:
            if self._index is index:
                self._index = None  # not closed: other threads may be reading; its files close with the last of them
                self._segments.close()
                self._numbers, self._absent = {}, {}
                self._failed(error, self._clock.monotonic())

    def _failed(self, error: Exception, now: float) -> None:
        """Note a failure, with the lock held, and when to try again."""
        if now - self._opened_s > 10 * self._pause_s:
            self._pause_s = FIRST_PAUSE_S
        self._failures += 1
        self._reason = f"{type(error).__name__}: {error}"
        self._retry_s = now + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    # asking

    def contains(self, text: bytes, keys: Sequence[bytes]) -> NDArray[np.bool_]:
        """Which of these 28-byte page keys it holds in the namespace of this canonical text. I/O: index blocks."""

        def ask(index: lsmkv.Follower) -> NDArray[np.bool_]:
            """As the index has it."""
            number = self._number(index, text)
            if number is None:
                return np.zeros(len(keys), np.bool_)
            wanted = index_keys(number, keys)
            if not self._may_end(index, number):
                return index.contains_many(wanted)
            minute = minute_of(self._clock.now())
            values = index.get_many(wanted)
            return np.array([value is not None and not has_ended(value, minute) for value in values], np.bool_)

        return self._ask(ask, np.zeros(len(keys), np.bool_))

    def keys(self, text: bytes) -> list[bytes]:
        """The 28-byte keys of all its pages in a namespace. I/O: a scan of these index entries."""

        def ask(index: lsmkv.Follower) -> list[bytes]:
            """As the index has them."""
            number = self._number(index, text)
            return [] if number is None else [key[4:] for key, _ in index.scan(prefix=number.to_bytes(4, "big"))]

        return self._ask(ask, [])

    def namespaces(self) -> list[bytes]:
        """The canonical texts of its namespaces. I/O: a short scan."""
        return self._ask(lambda index: [text for _, text in index.scan(prefix=NAMESPACES)], [])

    def _number(self, index: lsmkv.Follower, text: bytes) -> int | None:
        """The number that this store gave a namespace, None if it has not. Asked each time: it may be dropped.

        I/O: one lookup; a scan of the namespaces if it is not known.
        """
        number = self._numbers.get(text)
        if number is not None and index.get(number_key(NAMESPACES, number)) == text:
            return number
        seen = index.last_seq
        if self._absent.get(text) == seen:
            return None
        found = next((number_of(NAMESPACES, key) for key, value in index.scan(prefix=NAMESPACES) if value == text), None)
        if found is None:
            self._absent[text] = seen
        else:
            self._numbers[text] = found
        return found

    def _may_end(self, index: lsmkv.Follower, number: int) -> bool:
        """Whether pages of a namespace may have an end. I/O: one lookup."""
        use = index.get(number_key(USES, number))
        return use is not None and use[-1] > 0

    def _ask(self, ask: Callable[[lsmkv.Follower], T], otherwise: T) -> T:
        """An answer from the index; ``otherwise`` if there is none to be had."""
        index = self._index
        if index is None:
            return otherwise
        try:
            return ask(index)
        except (LsmError, OSError) as error:
            self._give_up(index, error)
            return otherwise

    # upkeep

    def forget_unused(self) -> None:
        """Give up files that were not read from since the last call."""
        self._segments.forget_unused()

    def close(self) -> None:
        """Let go of every file; nobody may be asking."""
        with self._lock:
            index, self._index = self._index, None
        if index is not None:
            index.close()
        self._segments.close()

    def forked(self) -> None:
        """In a forked child: let go of the copies of the descriptors."""
        self._lock = Lock()
        self.missed.forked()
        self._index = None
        self._segments.forked()


def _nobody(text: bytes, key: bytes, losses: Sequence[Loss], lagged: bool) -> None:
    """Nobody keeps an account."""
    del text, key, losses, lagged


def index_keys(number: int, keys: Sequence[bytes]) -> list[bytes]:
    """Page keys as a store's index has them under a namespace's number."""
    prefix = number.to_bytes(4, "big")
    return [prefix + key for key in keys]
