"""Reading packs into a store: item by item, each checked, in bounded memory.

What is damaged is left out and reported, what is sound goes in: a pack is worth having in part. Pages that are there already
are not written again, so an import cut short is repeated, and packs that overlap cost nothing twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple

from lsmkv.env.fs import File, FileSystem
from lsmkv.env.posix import PosixFileSystem
from lsmkv_tensor.codec import RAW, is_known
from lsmkv_tensor.errors import CorruptionError, InvalidArgumentError, io_failed
from lsmkv_tensor.format import ANCHORED
from lsmkv_tensor.keys.trails import is_trail
from lsmkv_tensor.namespaces import Namespace
from lsmkv_tensor.packs.layout import (
    END,
    HEAD_BYTES,
    ITEM_BYTES,
    ITEM_MAGIC,
    PAGE,
    Item,
    PackHeader,
    header_bytes,
    payload_sum,
    unpack_header,
    unpack_item,
    unpack_record,
)
from lsmkv_tensor.pages import PageStore
from lsmkv_tensor.passage import StoredPage

__all__ = ["ImportReport", "import_pack"]

BATCH_BYTES = 8 << 20
"""Bytes of pages put at a time."""
BATCH_ITEMS = 256
MAX_RECORD_BYTES = (64 << 10) + 4
MAX_PROBLEMS = 100
"""Told in words; all are counted."""
SEARCH_BYTES = 1 << 20


@dataclass(slots=True)
class ImportReport:
    """What an import did."""

    path: str
    names: tuple[str, ...]
    """Names of the namespace in the pack; the first is registered with it."""
    digest: bytes = b""
    pages: int = 0
    """Pages newly stored."""
    present: int = 0
    """Pages that were there already."""
    ended: int = 0
    """Pages whose time was over (``ttl_s`` where they were stored); they were left out."""
    declined: int = 0
    """Sound pages that the store had no room for, or could not write."""
    damaged: int = 0
    """Items that are damaged, or that this version cannot read; they were left out."""
    records: int = 0
    bytes: int = 0
    """Bytes of the pages newly stored, in their stored form."""
    complete: bool = False
    """The end was found, and every item before it."""
    problems: list[str] = field(default_factory=list)
    """What is wrong with the pack, the first hundred."""

    @property
    def ok(self) -> bool:
        """Whether everything in the pack that has not ended is in the store now."""
        return self.complete and not self.damaged and not self.declined

    def problem(self, offset: int, what: str) -> None:
        """Note damage."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(f"{self.path} at {offset}: {what}")


class _Part(NamedTuple):
    """What is put together."""

    pages: dict[bytes, StoredPage]
    records: dict[bytes, bytes | None]


def import_pack(
    pages: PageStore,
    path: str,
    *,
    fs: FileSystem | None = None,
    only: bytes | None = None,
    ttl_s: float | None = None,
    lock: AbstractContextManager[object] | None = None,
    progress: Callable[[int], None] | None = None,
) -> ImportReport:
    """Put the pages of the pack at ``path`` into a store, durably, under the namespace they come from.

    ``only``: the digest of the one namespace that is wanted. ``ttl_s``: seconds that the pages exist; None: they end when they
    would have where they come from, and those that have ended are left out. ``lock``: held around each batch. ``progress`` is
    called with the bytes of the pack read since its last call. Damaged items are left out, counted and told in the report.

    Raises CorruptionError (no pack, or a damaged header: nothing is imported), FormatTooNewError, NamespaceMismatchError (its
    name belongs to another namespace here), InvalidArgumentError (another namespace than ``only``; pages larger than this
    store takes), IOFailedError, PoisonedError, ClosedError.

    I/O: reads the pack once; writes pages as :meth:`Namespace.put_many`; one sync.
    """
    fs = fs if fs is not None else PosixFileSystem()
    try:
        file = fs.open(path)
    except OSError as error:
        op = "opening a pack"
        raise io_failed(op, path, error) from error
    try:
        header, start = _header(file, path)
        namespace = _namespace(pages, header, path, only, ttl_s)
        report = ImportReport(path, header.names, header.digest)
        reader = _Reader(file, header.digest, namespace, report, start, progress or (lambda _: None))
        for part in reader.parts():
            with lock or nullcontext():
                _put(namespace, part, report)
        pages.sync()
    except OSError as error:
        op = "reading a pack"
        raise io_failed(op, path, error) from error
    finally:
        file.close()
    return report


def _header(file: File, path: str) -> tuple[PackHeader, int]:
    """The header and where the items begin."""
    head = file.pread(HEAD_BYTES, 0)
    size = header_bytes(head, path)
    raw = head + file.pread(size - HEAD_BYTES, HEAD_BYTES)
    if len(raw) < size:
        raise CorruptionError(path, len(raw), "the header of the pack is cut short")
    return unpack_header(raw, path), size


def _namespace(pages: PageStore, header: PackHeader, path: str, only: bytes | None, ttl_s: float | None) -> Namespace:
    """The namespace of the pack in the store, registered if it is new."""
    told = " ".join(map(repr, header.names)) or header.digest.hex()
    if only is not None and header.digest != only:
        msg = f"{path} holds pages of another namespace ({told}): its model, format, codec or salt differ"
        raise InvalidArgumentError(msg)
    document = json.loads(header.text)
    name = header.names[0] if header.names else None
    namespace = pages.namespace(document["fields"], document["page_bytes"], name=name, ttl_s=ttl_s)
    if namespace.digest != header.digest:
        raise CorruptionError(path, 24, "the fields of the pack's namespace are not in their canonical form")
    return namespace


class _Reader:
    """Reads the items of one pack, in parts."""

    def __init__(
        self, file: File, digest: bytes, namespace: Namespace, report: ImportReport, start: int, told: Callable[[int], None]
    ) -> None:
        self._file = file
        self._digest = digest
        self._page_bytes = namespace.page_bytes
        self._trails = namespace.info.fields.get("keys") == ANCHORED
        self._report = report
        self._at = start
        self._told = told

    def parts(self) -> Iterator[_Part]:
        """Sound pages and records, a few MiB at a time, until the end or what is left of it. OSError."""
        part, size, began = _Part({}, {}), 0, self._at
        for item, payload in self._items():
            if item.kind == PAGE:
                self._page(part, item, payload)
            else:
                self._record(part, payload)
            size += ITEM_BYTES + item.length
            if size >= BATCH_BYTES or len(part.pages) + len(part.records) >= BATCH_ITEMS:
                yield part
                self._told(self._at - began)
                part, size, began = _Part({}, {}), 0, self._at
        if part.pages or part.records:
            yield part
        self._told(self._at - began)

    def _items(self) -> Iterator[tuple[Item, bytes]]:
        """Every item whose bytes are sound."""
        report = self._report
        expected = 0
        while True:
            here = self._at
            item = unpack_item(self._file.pread(ITEM_BYTES, here), self._digest)
            if item is None:
                if not self._find_next():
                    report.problem(here, "cut short or damaged: no further item follows")
                    return
                report.problem(here, f"{self._at - here} bytes belong to no item")
                continue
            if item.sequence != expected:
                lost = max(item.sequence - expected, 1)
                report.damaged += lost
                report.problem(here, f"item {item.sequence} follows item {expected - 1}")
            expected = item.sequence + 1
            self._at += ITEM_BYTES
            if item.kind == END:
                report.complete = True
                return
            if item.length > max(self._page_bytes, MAX_RECORD_BYTES):
                self._refuse(here, f"an item of {item.length} bytes")
                continue
            payload = self._file.pread(item.length, self._at)
            if len(payload) < item.length or payload_sum(self._digest, item.key, payload) != item.payload_sum:
                self._refuse(here, f"item {item.sequence} fails its checksum")
                self._at += len(payload)
                continue
            self._at += item.length
            yield item, payload

    def _find_next(self) -> bool:
        """Go to the next sound item behind this place; False if there is none."""
        at = self._at + 1
        while True:
            chunk = self._file.pread(SEARCH_BYTES, at)
            found = chunk.find(ITEM_MAGIC)
            while found >= 0:
                if unpack_item(self._file.pread(ITEM_BYTES, at + found), self._digest) is not None:
                    self._at = at + found
                    return True
                found = chunk.find(ITEM_MAGIC, found + 1)
            if len(chunk) < SEARCH_BYTES:
                return False
            at += len(chunk) - len(ITEM_MAGIC)

    def _page(self, part: _Part, item: Item, payload: bytes) -> None:
        """Take a page, unless no reader of this version could deliver it."""
        fits = len(payload) == self._page_bytes if item.codec == RAW else is_known(item.codec)
        if not fits or len(payload) > self._page_bytes:
            self._refuse(self._at, f"page {item.key.hex()} of {len(payload)} bytes, codec {item.codec}, cannot be read here")
            return
        part.pages[item.key] = StoredPage(item.key, item.parent, item.codec, memoryview(payload), item.end)

    def _record(self, part: _Part, payload: bytes) -> None:
        """Take a record, unless it cannot be one of this namespace."""
        record = unpack_record(payload) if len(payload) <= MAX_RECORD_BYTES else None
        if record is None or (self._trails and not is_trail(record)):
            self._refuse(self._at, "a record that is none of this namespace")
            return
        part.records[record[0]] = record[1]

    def _refuse(self, offset: int, what: str) -> None:
        """Count and tell damage."""
        self._report.damaged += 1
        self._report.problem(offset, what)


def _put(namespace: Namespace, part: _Part, report: ImportReport) -> None:
    """Store a part."""
    stored = [page for page in part.pages.values() if not namespace.over(page)]
    report.ended += len(part.pages) - len(stored)
    there = namespace.contains([page.key for page in stored]).tolist()
    flags = namespace.put_stored(stored, records=part.records)
    report.records += len(part.records)
    for page, before, after in zip(stored, there, flags, strict=True):
        if before and after:
            report.present += 1
        elif after:
            report.pages += 1
            report.bytes += len(page.payload)
        else:
            report.declined += 1
