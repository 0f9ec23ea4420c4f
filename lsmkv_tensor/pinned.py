"""Keeping pages of a namespace from being evicted."""

from __future__ import annotations

from collections.abc import Sequence

from lsmkv_tensor.keys.given import PageKey, index_keys
from lsmkv_tensor.runtime import StoreGate
from lsmkv_tensor.services import Services
from lsmkv_tensor.vlog.log import ValueLog

__all__ = ["Pinned"]


class Pinned:
    """The part of :class:`lsmkv_tensor.namespaces.Namespace` that pins. Its attributes are the namespace's own."""

    services: Services
    _gate: StoreGate
    _log: ValueLog
    _prefix: bytes

    def pin(self, keys: Sequence[PageKey]) -> list[bool]:
        """Keep pages from being evicted until :meth:`unpin` (once for each time) or the store's close; which are pinned.

        False: the page is absent, or half of the store is pinned already. A pinned page can be deleted, and ends at its time.

        I/O: none; soon after opening a scan of the index.
        """
        own = index_keys(self._prefix, keys)
        with self._gate:
            first = list(dict.fromkeys(own))
            flags = dict(zip(first, self._log.pin_pages(first), strict=True))
        return [flags[key] for key in own]

    def unpin(self, keys: Sequence[PageKey]) -> None:
        """Undo one :meth:`pin` of each of these pages; one that is not pinned (or gone) is passed over."""
        own = list(dict.fromkeys(index_keys(self._prefix, keys)))
        with self._gate:
            self._log.unpin_pages(own)

    def pin_at_once(self, keys: Sequence[PageKey]) -> bool:
        """Pin pages if all are here, and that can be told and done without waiting for anybody; whether they are pinned.

        False: none is; a :meth:`contains` and a :meth:`pin` may find otherwise. I/O: none.
        """
        own = list(dict.fromkeys(index_keys(self._prefix, keys)))
        if not self._gate.lets_in or self.services.breaker.open or self._log.may_expire(self._prefix):
            return False
        with self._gate:
            return self._log.pin_at_once(own)

    def unpin_at_once(self, keys: Sequence[PageKey]) -> bool:
        """:meth:`unpin`, if that can be done without waiting for anybody; whether it was. I/O: none."""
        own = list(dict.fromkeys(index_keys(self._prefix, keys)))
        if not self._gate.lets_in:
            return False
        with self._gate:
            return self._log.unpin_at_once(own)
