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

from lsmkv_tensor.keys.flat import KEY_BYTES, flat_key
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

    def name(self, key: PageKey) -> bytes | None:
        """The page key of a key, where that is at hand: it is one, or was brought to one before."""
        return key if key.__class__ is bytes else self.names.get(key) if key.__class__ is str else None

    def leading(self, keys: Sequence[PageKey]) -> Sequence[bytes]:
        """The page keys of those from the first on that are known to be stored; none where nothing can be said."""
        pages = self._pages
        if not pages or not len(keys) or isinstance(keys, str | bytes | bytearray):
            return ()
        if not self._gate.lets_in or self._breaker.open or self._log.may_expire(self._space):
            return ()
        try:
            if _is_page_key(keys[0]) and keys[0] not in pages:
                return ()
            there = list(map(pages.__contains__, keys))
            known = there.index(False) if False in there else len(keys)
            if known:
                return list(keys[:known])  # type: ignore[arg-type]  # what is in the set is bytes
            return self._leading_of_others(keys)
        except TypeError:  # a bytearray, which is remembered nowhere; or no key at all
            return ()

    def _leading_of_others(self, keys: Sequence[PageKey]) -> Sequence[bytes]:
        """:meth:`leading` of keys that have to be brought to page keys; beyond those that are known, one is."""
        pages, names = self._pages, self.names
        if (names.get(keys[0]) or flat_key(keys[0])) not in pages:
            return ()
        named = list(map(names.get, keys))
        there = list(map(pages.__contains__, named))
        if False not in there:
            return named  # type: ignore[return-value]  # as above
        known = there.index(False)
        rest = (name or flat_key(key) for key, name in zip(keys[known:], named[known:], strict=True))
        new = list(takewhile(pages.__contains__, rest))
        self._remember(keys[known : known + len(new)], new)
        return [*named[:known], *new]  # type: ignore[list-item]  # as above

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
        self._log.keeper.known.doubt([key for key, flag in zip(keys, flags, strict=True) if not flag])

    def _remember(self, keys: Sequence[PageKey], found: Sequence[bytes]) -> None:
        """What these keys were brought to."""
        names = self.names
        if len(names) + len(keys) > self._log.keeper.known.limit:
            names.clear()
        with suppress(TypeError):  # bytearrays
            names.update(zip(keys, found, strict=True))


def _is_page_key(key: PageKey) -> bool:
    """Whether a key is what it is brought to."""
    return isinstance(key, bytes) and len(key) == KEY_BYTES
