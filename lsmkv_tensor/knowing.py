"""What a view of a namespace says of pages at once, on the caller's thread: those that are known to be stored.

A lookup that may have to read a block of the index is handed to a thread, which its caller can leave when the time is over. That
costs more than looking. Where nothing has to be read there is nothing to leave: the answer is a set's. It is only ever "they are
there"; of anything else, and whenever a call might have to wait or to be refused (the store is closed or reopens itself, the disk
is left alone, pages of the namespace may end), nothing is said here.

Engines ask with keys of their own, most often hexadecimal text; what such a key is brought to never changes, so it is remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import takewhile

from lsmkv_tensor.keys.flat import flat_key
from lsmkv_tensor.keys.given import PageKey, page_keys
from lsmkv_tensor.runtime import StoreGate
from lsmkv_tensor.runtime.breaker import Breaker
from lsmkv_tensor.vlog.log import ValueLog

__all__ = ["Knowing"]


class Knowing:
    """What one view knows. Any thread may call anything. No I/O."""

    __slots__ = ("_breaker", "_gate", "_log", "_pages", "_space", "names")

    def __init__(self, log: ValueLog, gate: StoreGate, breaker: Breaker, space: bytes, earlier: Knowing | None = None) -> None:
        """``space``: the namespace's number, as it begins index keys. ``earlier``: this view's, before the store was reopened."""
        self._log = log
        self._gate = gate
        self._breaker = breaker
        self._space = space
        self._pages = log.keeper.known.of(space)
        self.names: dict[PageKey, bytes] = {} if earlier is None else earlier.names
        """Page keys by keys as they are given, where that is something else."""

    def leading(self, keys: Sequence[PageKey]) -> Sequence[bytes]:
        """The page keys of those from the first on that are known to be stored; none where nothing can be said."""
        pages = self._pages
        if not pages or not self._gate.lets_in or self._breaker.open or self._log.may_expire(self._space):
            return ()
        try:
            if pages.issuperset(keys):
                return list(keys)  # type: ignore[arg-type]  # what is in the set is bytes
            named = list(map(self.names.get, keys))
            if pages.issuperset(named):
                return named  # type: ignore[return-value]  # as above
        except TypeError:  # a bytearray, which is remembered nowhere; or no key at all
            return ()
        return () if isinstance(keys, str | bytes | bytearray) else self._one_by_one(keys)

    @property
    def losses(self) -> int:
        """See :meth:`learn`."""
        return self._log.keeper.known.losses

    def learn(self, keys: Sequence[PageKey], losses: int) -> None:
        """These were found in the index by a call that saw :attr:`losses` before it looked."""
        known = self._log.keeper.known
        if known.limit and not self._log.may_expire(self._space):
            found = page_keys(keys)
            known.found(self._space, found, losses)
            if found is not keys:
                self._remember(keys, found)

    def doubt(self, keys: Sequence[bytes], flags: Sequence[bool]) -> None:
        """Pages (by index key) were read, and these came: of the others nothing is known any more."""
        self._log.keeper.known.lose([key for key, flag in zip(keys, flags, strict=True) if not flag])

    def _one_by_one(self, keys: Sequence[PageKey]) -> list[bytes]:
        """As :meth:`leading`: no more of them are brought to page keys than are known, and one."""
        names, pages = self.names, self._pages
        found = list(takewhile(pages.__contains__, (names.get(key) or flat_key(key) for key in keys)))
        self._remember(keys[: len(found)], found)
        return found

    def _remember(self, keys: Sequence[PageKey], found: Sequence[bytes]) -> None:
        """What these keys were brought to."""
        names = self.names
        if len(names) + len(keys) > self._log.keeper.known.limit:
            names.clear()
        with suppress(TypeError):  # bytearrays
            names.update(zip(keys, found, strict=True))
