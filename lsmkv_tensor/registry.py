"""Namespaces: who may share pages with whom.

A namespace is identified by the SHA-256 of the canonical JSON of everything that gives its pages their meaning: its fields
(model, revision, dtype, layout, pool, parallel rank ...) and the bytes of a page. The store gives each a 4-byte number, which
begins its keys. The full digest decides, never a part of it. A name is a label that stays with the first fields it was used
for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from lsmkv import DB, WriteBatch
from lsmkv.env.sync import Lock
from lsmkv_tensor.errors import BusyError, CorruptionError, InvalidArgumentError, NamespaceMismatchError, NoSpaceError
from lsmkv_tensor.vlog.liveness import Change
from lsmkv_tensor.vlog.log import ValueLog
from lsmkv_tensor.vlog.ranges import RANGE_PAGES, NamespaceSize, Told, drop_pages, drop_records, measure
from lsmkv_tensor.vlog.reserved import HIGHEST, NAMES, NAMESPACES, RECORDS, number_key, number_of

__all__ = ["Described", "NamespaceInfo", "Registry", "canonical"]


MAX_FIELDS_BYTES = 64 << 10
"""Bytes of a namespace's canonical JSON."""
MAX_NAME_BYTES = 1 << 10


class NamespaceInfo(NamedTuple):
    """A registered namespace."""

    number: int
    digest: bytes
    """SHA-256 of its canonical form."""
    fields: dict[str, Any]
    page_bytes: int
    names: tuple[str, ...]
    size: NamespaceSize | None = None
    """What it holds, where that was asked for."""

    @classmethod
    def of(cls, number: int, text: bytes, names: Iterable[str] = ()) -> NamespaceInfo:
        """What the canonical text of a namespace says. Pure."""
        document = json.loads(text)
        return cls(number, hashlib.sha256(text).digest(), document["fields"], document["page_bytes"], tuple(sorted(names)))


class Described:
    """What a view of a namespace says of it."""

    info: NamespaceInfo

    @property
    def digest(self) -> bytes:
        """SHA-256 of its canonical fields, 32 bytes: its identity."""
        return self.info.digest

    @property
    def page_bytes(self) -> int:
        """Bytes of one page."""
        return self.info.page_bytes


def canonical(fields: Mapping[str, object], page_bytes: int) -> bytes:
    """The one JSON text of these fields: sorted keys, no spaces, UTF-8.

    InvalidArgumentError if they are not JSON, or if the text is longer than MAX_FIELDS_BYTES.
    """
    if isinstance(page_bytes, bool) or not isinstance(page_bytes, int) or page_bytes < 1:
        msg = f"page_bytes = {page_bytes!r}: must be a positive integer"
        raise InvalidArgumentError(msg)
    if not isinstance(fields, Mapping):
        msg = f"namespace fields must be a mapping of names to JSON values, not {type(fields).__name__}"
        raise InvalidArgumentError(msg)
    _check_keys(fields)
    document = {"fields": dict(fields), "page_bytes": page_bytes}
    try:
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        encoded = text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        msg = f"namespace fields must be JSON values: {error}"
        raise InvalidArgumentError(msg) from error
    if len(encoded) > MAX_FIELDS_BYTES:
        msg = f"namespace fields take {len(encoded)} bytes as JSON, the limit is {MAX_FIELDS_BYTES}: put a digest in their place"
        raise InvalidArgumentError(msg)
    return encoded


def _check_keys(value: object) -> None:
    """Only string keys: JSON would silently turn others into strings that collide."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                msg = f"namespace field name {key!r} must be a string"
                raise InvalidArgumentError(msg)
            _check_keys(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_keys(inner)


class Registry:
    """The namespaces of one store, kept in its index."""

    def __init__(self, log: ValueLog, path: str) -> None:
        self._log = log
        self._lock = Lock()
        self._texts: dict[int, bytes] = {}
        self._by_digest: dict[bytes, int] = {}
        self._names: dict[str, int] = {}
        self._highest = 0
        self._load(log.db, path)

    def _load(self, db: DB, path: str) -> None:
        """Read all namespaces and names."""
        for key, text in db.scan(prefix=NAMESPACES):
            number = number_of(NAMESPACES, key)
            self._texts[number] = text
            self._by_digest[hashlib.sha256(text).digest()] = number
        for key, value in db.scan(prefix=NAMES):
            number = int.from_bytes(value, "big")
            if number not in self._texts:
                raise CorruptionError(path, -1, f"namespace name {key[len(NAMES) :]!r} without a namespace")
            self._names[key[len(NAMES) :].decode()] = number

        self._highest = max(self._texts, default=0)
        if (highest := db.get(HIGHEST)) is not None:
            self._highest = max(self._highest, int.from_bytes(highest, "big"))

    def register(self, fields: Mapping[str, object], page_bytes: int, name: str | None) -> NamespaceInfo:
        """The namespace with these fields, made durable if it is new.

        InvalidArgumentError; NoSpaceError if the index has no room; NamespaceMismatchError if ``name`` belongs to other fields;
        BusyError while it is being dropped.

        I/O: one index commit and a sync of the log for a new namespace or name.
        """
        text = canonical(fields, page_bytes)
        if name is not None and (not isinstance(name, str) or not name):
            msg = f"namespace name {name!r}: must be a non-empty string"
            raise InvalidArgumentError(msg)
        if name is not None and len(name.encode()) > MAX_NAME_BYTES:
            msg = f"namespace name {name[:40]!r}... takes {len(name.encode())} bytes, the limit is {MAX_NAME_BYTES}"
            raise InvalidArgumentError(msg)
        digest = hashlib.sha256(text).digest()
        with self._lock:
            number = self._by_digest.get(digest)
            if number in self._log.dropped:
                being = f"namespace {number} with these fields is being dropped: open it again when that is done"
                raise BusyError(being)
            if name is not None and name in self._names and self._names[name] != number:
                raise NamespaceMismatchError(name, _differences(self._texts[self._names[name]], text))
            records: dict[bytes, bytes | None] = {}
            if number is None:
                number = self._highest + 1
                records[number_key(NAMESPACES, number)] = text
            if name is not None and name not in self._names:
                records[NAMES + name.encode()] = number.to_bytes(4, "big")
            if records:
                self._log.write_records(records, sync=True)
            self._highest = max(self._highest, number)
            self._texts[number] = text
            self._by_digest[digest] = number
            if name is not None:
                self._names[name] = number
            return self._info(number)

    def listed(self, *, sizes: bool = False) -> list[NamespaceInfo]:
        """All namespaces, by number; with what they hold if ``sizes``. I/O: with sizes a scan of the index."""
        with self._lock:
            found = [self._info(number) for number in sorted(self._texts)]
        return [info._replace(size=self._size(info.number)) for info in found] if sizes else found

    def find(self, which: str | int) -> NamespaceInfo:
        """The namespace of this name, digest in hexadecimal, or number. InvalidArgumentError, naming those that there are."""
        with self._lock:
            for number in sorted(self._texts):
                info = self._info(number)
                if which in info.names or which in (str(number), info.digest.hex()) or (type(which) is int and which == number):
                    return info
            known = ", ".join(sorted(self._names)) or "none with a name"
        msg = f"there is no namespace {which!r} (by name, number or digest); there are: {known}"
        raise InvalidArgumentError(msg)

    def note_opened(self, number: int, quota_bytes: int | None) -> None:
        """A namespace is used from now on, with this quota. A record that finds no room is no error. I/O: one commit an hour."""
        with self._lock:
            record = self._log.terms.opened(number, quota_bytes)
        if record:
            with suppress(NoSpaceError, BusyError):
                self._log.write_records(dict(record))

    def retire(self, which: str | int) -> None:
        """Nobody uses a namespace any more. InvalidArgumentError; others as ``write_records``. I/O: one commit."""
        number = self.find(which).number
        with self._lock:
            record = self._log.terms.retired(number)
        self._log.write_records(dict(record))

    def drop(self, which: str | int, told: Told, *, at_once: int = RANGE_PAGES) -> int:
        """Forget a namespace: its pages, its records, then its names and fields; how many pages. Durable on return.

        Its number is never given again, so that whoever still holds a view of it reads nothing of anybody else's. Cut short,
        by a crash or an error, the namespace is still there with the pages not yet forgotten: drop it again.

        ``at_once``: pages forgotten in one commit. InvalidArgumentError; BusyError if another thread drops it; others as
        :func:`drop_pages`.

        I/O: as drop_pages, one more commit and a sync of the log.
        """
        number = self.find(which).number
        with self._log.lock:
            if number in self._log.dropped:
                being = f"namespace {which!r} is being dropped already"
                raise BusyError(being)
            self._log.dropped.add(number)
        try:
            pages = drop_pages(self._log, number, told, at_once)
            with self._lock:
                self._forget(number)
        except BaseException:
            with self._log.lock:
                self._log.dropped.discard(number)
            raise
        return pages

    def _forget(self, number: int) -> None:
        """Remove the records of a namespace without pages."""
        names = [name for name, at in self._names.items() if at == number]
        batch = WriteBatch()
        with self._log.lock:
            drop_records(self._log, number, batch)
            batch.delete(number_key(NAMESPACES, number))
            batch.delete(self._log.terms.forget(number))
            for name in names:
                batch.delete(NAMES + name.encode())
            batch.put(HIGHEST, self._highest.to_bytes(4, "big"))
            self._log.liveness.commit(batch, Change())
            self._log.db.sync()
        text = self._texts.pop(number)
        del self._by_digest[hashlib.sha256(text).digest()]
        for name in names:
            del self._names[name]

    def _size(self, number: int) -> NamespaceSize:
        """What a namespace holds. I/O: a scan of its index entries."""
        db = self._log.db
        records = sum(1 for _ in db.scan(prefix=number_key(RECORDS, number)))
        return measure((value for _, value in db.scan(prefix=number.to_bytes(4, "big"))), records)

    def _info(self, number: int) -> NamespaceInfo:
        """What is registered under a number."""
        return NamespaceInfo.of(number, self._texts[number], (name for name, at in self._names.items() if at == number))


def _differences(stored: bytes, asked: bytes) -> dict[str, tuple[object, object]]:
    """Each differing field with its stored and asked value ("absent" where one has it not)."""
    old, new = json.loads(stored), json.loads(asked)
    before = {**old["fields"], "page_bytes": old["page_bytes"]}
    after = {**new["fields"], "page_bytes": new["page_bytes"]}
    return {
        field: (before.get(field, "absent"), after.get(field, "absent"))
        for field in sorted({*before, *after})
        if field not in before or field not in after or before[field] != after[field]
    }
