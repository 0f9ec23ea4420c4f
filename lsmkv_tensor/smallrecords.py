"""Small records beside the pages of a namespace: the caller's own, changed with pages or alone, never evicted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.passage import telling
from lsmkv_tensor.retention.notify import Notifier
from lsmkv_tensor.runtime import StoreGate
from lsmkv_tensor.vlog.log import ValueLog

__all__ = ["MAX_RECORD_BYTES", "SmallRecords"]

MAX_RECORD_BYTES = 64 << 10
"""Bytes of a small record and its key."""


class SmallRecords:
    """The part of :class:`lsmkv_tensor.namespaces.Namespace` about records. Its attributes are the namespace's own."""

    _telling_poison: Callable[[], AbstractContextManager[None]]
    _gate: StoreGate
    _log: ValueLog
    _notifier: Notifier
    _records: bytes

    def records(self, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """The namespace's small records whose key begins with ``prefix``, ascending.

        They are the caller's own: written with :meth:`put_many`, deleted with it or :meth:`delete_many`, never evicted.

        I/O: a scan of these index entries.
        """
        with self._gate:
            entries = self._log.db.scan(prefix=self._records + prefix)
        cut = len(self._records)
        return ((key[cut:], value) for key, value in entries)

    def write_records(self, records: Mapping[bytes, bytes | None]) -> None:
        """Write small records without pages, all or nothing; None deletes one.

        Raises NoSpaceError, BusyError, PoisonedError, ClosedError. I/O: one index commit.
        """
        with self._telling_poison(), telling(self._log, self._notifier), self._gate:
            self._log.write_records(self._record_keys(records))

    def _record_keys(self, records: Mapping[bytes, bytes | None] | None) -> dict[bytes, bytes | None]:
        """The records under their reserved index keys; InvalidArgumentError if one is too large."""
        for key, value in (records or {}).items():
            if len(key) + len(value or b"") > MAX_RECORD_BYTES:
                msg = f"record {key[:32]!r} takes {len(key) + len(value or b'')} bytes, the limit is {MAX_RECORD_BYTES}"
                raise InvalidArgumentError(msg)
        return {self._records + key: value for key, value in (records or {}).items()}
