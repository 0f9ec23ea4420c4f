"""The door for readers: what an open store and a follower of one have in common.

Both answer from a :class:`~lsmkv.live.state.ReadState` that they swap as a whole. A writer's is always up to date; a follower
looks for what is new and then reads by the same methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lsmkv.arguments import check_bounds, check_each, measured_keys
from lsmkv.base.keys import check_key
from lsmkv.errors import ClosedError
from lsmkv.iterator import Scan
from lsmkv.live.snapshots import Pin
from lsmkv.live.state import ReadState, StateBox
from lsmkv.live.tables import TableCache
from lsmkv.read.leading import count_leading
from lsmkv.read.lookup import value_below
from lsmkv.read.multiget import find_many
from lsmkv.read.scan import prefix_range

__all__ = ["Reading"]


class Reading(ABC):
    """Reads of the present. Subclasses set ``_box``, ``_tables`` and ``_path``."""

    __slots__ = ("__weakref__", "_box", "_path", "_tables")

    _box: StateBox
    _tables: TableCache
    _path: str

    @property
    def path(self) -> str:
        """The directory. I/O: none."""
        return self._path

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key``, or None. I/O: at most one block per run; none for keys in memory; none for cached blocks."""
        state = self._box.current
        if state is None:
            raise ClosedError(self._path)
        if type(key) is not bytes:
            check_key(key)
        entry = state.mem.newest.get(key)
        return value_below(state, self._tables, key) if entry is None else entry[1]

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of many keys, None where absent; much cheaper a key than ``get``, above all for neighbours.

        Single gets keep rows of a block instead of the block; for more than a few neighbours in it that block is read again.
        Neighbours whose blocks are not all cached are read with one call, cached ones with the others.

        I/O: each block that may hold one of the keys at most once; none for keys in memory; none for cached blocks.
        """
        keys, longest = measured_keys(keys)
        try:
            return find_many(self._state(), self._tables, keys, longest=longest)
        except TypeError:
            check_each(keys)
            raise

    def contains_many(self, keys: Sequence[bytes]) -> NDArray[np.bool_]:
        """Which of the keys exist, as booleans in their order. I/O: as ``get_many``."""
        keys, longest = measured_keys(keys)
        try:
            found = find_many(self._state(), self._tables, keys, bare=True, longest=longest)
        except TypeError:
            check_each(keys)
            raise
        return np.fromiter((value is not None for value in found), np.bool_, len(found))

    def count_leading(self, keys: Sequence[bytes], *, prefix: bytes = b"") -> int:
        """How many of the keys, each with ``prefix`` before it, exist from the first on without a gap.

        Much cheaper than :meth:`contains_many` for keys that lie side by side (0.1 us a key), and where the answer is short:
        keys are taken from the sequence in slices of 64, and what lies beyond the first gap is not even looked at.

        I/O: each block that may hold one of the keys up to three times; none for keys in memory.
        """
        if type(prefix) is not bytes:
            check_key(prefix)
        return count_leading(self._state(), self._tables, keys, prefix)

    def scan(
        self, start: bytes | None = None, stop: bytes | None = None, *, prefix: bytes | None = None, reverse: bool = False
    ) -> Scan:
        """Entries with start <= key < stop (None: unbounded) that begin with ``prefix``, as of now, in key order.

        ``reverse`` yields the same entries in descending order.

        I/O: each block of the range once, when it is needed; at most two more per run; none for cached blocks.
        """
        check_bounds(start, stop, prefix)
        bounds = prefix_range(start, stop, prefix)
        state, tables, pin = self._moment(bounds)
        return Scan(self._box, tables, pin, bounds, reverse=reverse, state=state)

    @abstractmethod
    def _moment(self, bounds: tuple[bytes | None, bytes | None]) -> tuple[ReadState | None, TableCache, Pin]:
        """What a scan of [start, stop) that begins now reads (None: the state it finds), and its registration."""

    def _state(self) -> ReadState:
        """What readers see now; ClosedError if the store is closed."""
        state = self._box.current
        if state is None:
            raise ClosedError(self._path)
        return state

    @abstractmethod
    def close(self) -> None:
        """Let go of everything; later calls raise ClosedError."""

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close."""
        self.close()
