"""What namespaces may claim: for how long their pages are kept, how many bytes, and whether anybody still uses them.

A *time to live* and a *quota* are given when a namespace is opened, and hold while the store is open; the moment at which a page
ends is recorded with the page. When a namespace was last opened is recorded too, to the hour: one that nobody opened for
``StoreOptions.idle_after_s`` (its model was replaced, say) is *idle*, and its pages go before anybody else's.

::

    0 0 0 0 'U' | namespace number u32 BE  ->  minute last opened u32 | whether pages of it may end u8      little endian
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable

from lsmkv import DB
from lsmkv.env.clock import Clock
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.vlog.layout import MAX_MINUTE, minute_of
from lsmkv_tensor.vlog.reserved import USES, number_key, number_of

__all__ = ["Terms", "checked_quota", "checked_ttl"]

_USE = struct.Struct("<IB")
NOTED_MINUTES = 60
"""Minutes after which an opening is recorded again."""


class Terms:
    """The terms of one store's namespaces. Changed by whoever opens namespaces, one at a time; read by any thread."""

    def __init__(self, db: DB, clock: Clock, idle_after_s: float | None) -> None:
        self._clock = clock
        self._idle_minutes = None if idle_after_s is None else max(math.ceil(idle_after_s / 60), 1)
        self._used: dict[int, int] = {}
        self._opened: set[int] = set()
        self.expiring: set[int] = set()
        """Namespaces of which some pages may end."""
        self._recorded: set[int] = set()  # those of them whose record says so
        self.quotas: dict[int, int] = {}
        """Bytes, padding included, by namespace."""
        for key, value in db.scan(prefix=USES):
            if len(value) == _USE.size:
                number = number_of(USES, key)
                self._used[number], expiring = _USE.unpack(value)
                if expiring:
                    self.expiring.add(number)
        self._recorded |= self.expiring

    def minute(self) -> int:
        """The present minute, as expiries count them."""
        return minute_of(self._clock.now())

    def opened(self, number: int, quota_bytes: int | None) -> dict[bytes, bytes]:
        """A namespace is opened with this quota (None: as it is); the record to write, none if there is nothing new."""
        self._opened.add(number)
        if quota_bytes is not None:
            self.quotas[number] = quota_bytes
        now = self.minute()
        if number in self._used and self._used[number] <= now < self._used[number] + NOTED_MINUTES:
            return {}
        self._used[number] = now
        return self._record(number)

    def retired(self, number: int) -> dict[bytes, bytes]:
        """Nobody will use this namespace again: it is idle from now on; the record to write."""
        self._opened.discard(number)
        self._used[number] = 0
        return self._record(number)

    def end(self, ttl_s: float) -> int:
        """The minute at which a page stored now ends."""
        return max(min(minute_of(self._clock.now() + ttl_s + 59.999), MAX_MINUTE), 1)

    def expires(self, number: int) -> dict[bytes, bytes]:
        """A page of this namespace that ends is about to be stored; the record to write with it, until one was written."""
        if number in self._recorded:
            return {}
        self.expiring.add(number)
        return self._record(number)

    def written(self, records: Iterable[bytes]) -> None:
        """These records were committed: namespaces whose pages may end are known as such after a restart, too."""
        for key in records:
            if key.startswith(USES) and (number := number_of(USES, key)) in self.expiring:
                self._recorded.add(number)

    def idle(self, minute: int) -> frozenset[int]:
        """The namespaces that nobody uses."""
        if self._idle_minutes is None:
            return frozenset(number for number, used in self._used.items() if not used)
        since = minute - self._idle_minutes
        return frozenset(n for n, used in self._used.items() if n not in self._opened and (used <= since or not used))

    def forget(self, number: int) -> bytes:
        """A namespace was dropped; the key of its record."""
        self._used.pop(number, None)
        self.quotas.pop(number, None)
        self.expiring.discard(number)
        self._recorded.discard(number)
        return number_key(USES, number)

    def _record(self, number: int) -> dict[bytes, bytes]:
        """A namespace's record as it should be."""
        return {number_key(USES, number): _USE.pack(self._used.get(number, self.minute()), number in self.expiring)}


def checked_ttl(ttl_s: object) -> float | None:
    """``ttl_s`` if it is None or a number of seconds above 0, else InvalidArgumentError."""
    if ttl_s is None:
        return None
    if isinstance(ttl_s, bool) or not isinstance(ttl_s, int | float) or not 0 < ttl_s < math.inf:
        msg = f"ttl_s = {ttl_s!r}: must be a number of seconds above 0, or None for pages that do not end"
        raise InvalidArgumentError(msg)
    return float(ttl_s)


def checked_quota(quota_bytes: object, page_bytes: int) -> int | None:
    """``quota_bytes`` if it is None or room for at least one page, else InvalidArgumentError."""
    if quota_bytes is None:
        return None
    if isinstance(quota_bytes, bool) or not isinstance(quota_bytes, int) or quota_bytes < page_bytes:
        msg = f"quota_bytes = {quota_bytes!r}: must be an integer of at least a page ({page_bytes} bytes), or None for no quota"
        raise InvalidArgumentError(msg)
    return quota_bytes
