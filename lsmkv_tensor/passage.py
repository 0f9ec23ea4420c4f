"""Pages as they are stored, from one store to another: neither decoded nor encoded again on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from lsmkv_tensor.registry import NamespaceInfo
from lsmkv_tensor.retention.notify import Notifier
from lsmkv_tensor.runtime import StoreGate
from lsmkv_tensor.vlog.layout import payload_check
from lsmkv_tensor.vlog.log import ValueLog
from lsmkv_tensor.vlog.reader import PageReader
from lsmkv_tensor.vlog.writer import Page

__all__ = ["Passage", "StoredPage", "telling"]


class StoredPage(NamedTuple):
    """A page in its stored form, as it travels from store to store."""

    key: bytes
    """28 bytes."""
    parent: bytes
    """The key of the page before it, or zeros."""
    codec: int
    payload: memoryview
    end: int = 0
    """The minute (:func:`~lsmkv_tensor.vlog.layout.minute_of`) from which on it does not exist; 0: never."""


@contextmanager
def telling(log: ValueLog, notifier: Notifier) -> Iterator[None]:
    """Afterwards tell owners what was evicted; enter before the gate: a callback may call anything, close too."""
    try:
        yield
    finally:
        notifier.deliver(log.take_evicted())


class Passage:
    """The part of :class:`lsmkv_tensor.namespaces.Namespace` that packs use. Its attributes are the namespace's own."""

    info: NamespaceInfo
    _telling_poison: Callable[[], AbstractContextManager[None]]
    _gate: StoreGate
    _log: ValueLog
    _reader: PageReader
    _notifier: Notifier
    _prefix: bytes
    _records: bytes
    _ttl_s: float | None

    def stored(self, keys: Sequence[bytes]) -> list[StoredPage | None]:
        """Pages by their 28-byte keys in their stored form, every byte checked; None: absent or unreadable.

        I/O: as :meth:`Namespace.get_into`.
        """
        with self._gate:
            found = self._reader.payloads([self._prefix + key for key in keys])
        return [
            None if page is None else StoredPage(key, page[0].parent, page[0].codec, page[1], page[0].expiry)
            for key, page in zip(keys, found, strict=True)
        ]

    def over(self, page: StoredPage) -> bool:
        """Whether a page would have ended before it is stored. I/O: none."""
        return self._ttl_s is None and 0 < page.end <= self._log.minute()

    def put_stored(self, stored: Sequence[StoredPage], *, records: Mapping[bytes, bytes | None] | None = None) -> list[bool]:
        """Store pages of distinct keys that are in their stored form already. They end when this view says, else when they say.

        Verdicts, records and errors as :meth:`Namespace.put_many`.

        The caller answers for their codec and length: a page that cannot be decoded is a miss when it is read.

        I/O: as :meth:`Namespace.put_many`.
        """
        beside: dict[bytes, bytes | None] = {self._records + key: value for key, value in (records or {}).items()}
        with self._telling_poison(), telling(self._log, self._notifier), self._gate:
            own = None if self._ttl_s is None else self._log.terms.end(self._ttl_s)
            pages: list[Page] = []
            ends = False
            for page in stored:
                key, spans, end = self._prefix + page.key, [page.payload], page.end if own is None else own
                kind = page.codec | end << 8
                pages.append(Page(key, page.parent, len(page.payload), kind, payload_check(key, spans), spans))
                ends |= end > 0
            if ends:
                beside |= self._log.terms.expires(self.info.number)
            flags, evicted = self._log.put(pages, beside, page_bytes=self.info.page_bytes)
        gone = set(evicted)
        return [flag and page.key not in gone for flag, page in zip(flags, pages, strict=True)]
