"""Writing packs: pages go as they are stored, encoded or not, each verified as it is read.

Memory stays bounded (a few MiB, or one page), whatever a pack holds. It is written under a temporary name, synced, then
renamed: what has its final name is whole, whenever the power fails or somebody presses Ctrl-C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from posixpath import dirname
from typing import NamedTuple, Protocol

from lsmkv.env.fs import File, FileSystem, write_all
from lsmkv.env.posix import PosixFileSystem
from lsmkv_tensor.errors import InvalidArgumentError, io_failed
from lsmkv_tensor.format import ANCHORED
from lsmkv_tensor.keys.chain import KeyChain
from lsmkv_tensor.keys.tokens import Tokens, token_ids
from lsmkv_tensor.keys.trails import put_records
from lsmkv_tensor.namespaces import Namespace
from lsmkv_tensor.packs.layout import END, PAGE, RECORD, Item, PackHeader, pack_header, pack_item, pack_record, payload_sum
from lsmkv_tensor.passage import StoredPage
from lsmkv_tensor.registry import NamespaceInfo, canonical
from lsmkv_tensor.vlog.layout import NO_PARENT

__all__ = ["ExportReport", "LivePages", "PackSource", "export_pack", "prefix_keys"]

BATCH_BYTES = 8 << 20
"""Bytes of pages read at a time."""
BATCH_PAGES = 256
RECORD_BATCH = 1024


class PackSource(Protocol):
    """Where the pages of one namespace are read from."""

    @property
    def info(self) -> NamespaceInfo:
        """The namespace."""
        ...

    def keys(self) -> Iterator[bytes]:
        """The 28-byte keys of its pages, ascending."""
        ...

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """Its small records."""
        ...

    def read(self, keys: Sequence[bytes]) -> list[StoredPage | None]:
        """Pages in their stored form, verified; None: absent or unreadable."""
        ...


class LivePages:
    """The pages of an open store's namespace; those waiting to be written are written first."""

    def __init__(self, namespace: Namespace) -> None:
        namespace.services.settle()
        self._namespace = namespace

    @property
    def info(self) -> NamespaceInfo:
        """The namespace."""
        return self._namespace.info

    def keys(self) -> Iterator[bytes]:
        """Its pages, as of the call."""
        return self._namespace.keys()

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """Its records, as of the call."""
        return self._namespace.records()

    def read(self, keys: Sequence[bytes]) -> list[StoredPage | None]:
        """See :class:`PackSource`."""
        return self._namespace.stored(keys)


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What a pack holds."""

    path: str
    pages: int
    missing: int
    """Pages asked for that are not there (any more), or cannot be read."""
    records: int
    payload_bytes: int
    """Bytes of the pages in their stored form."""
    bytes: int
    """Bytes of the pack."""


class _Wanted(NamedTuple):
    """What goes into a pack."""

    records: Iterable[tuple[bytes, bytes]]
    keys: Iterator[bytes]


def prefix_keys(info: NamespaceInfo, tokens: Tokens) -> list[bytes]:
    """The keys of a prompt's whole pages in a tensor store's namespace.

    InvalidArgumentError for tokens that are none, and for a namespace whose keys are an engine's own.
    """
    page_tokens = info.fields.get("page_tokens")
    if info.fields.get("keys") != ANCHORED or not isinstance(page_tokens, int):
        msg = f"namespace {info.names or info.number} has keys of an engine's own: give page keys, not tokens"
        raise InvalidArgumentError(msg)
    return list(KeyChain(info.digest, page_tokens).keys(token_ids(tokens)))


def export_pack(
    source: PackSource,
    path: str,
    *,
    prefixes: Iterable[Tokens] | None = None,
    keys: Iterable[bytes] | None = None,
    fs: FileSystem | None = None,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> ExportReport:
    """Write pages of a namespace to the new file ``path``.

    ``prefixes``: prompts; of each the longest stored prefix goes, with the trails that :meth:`TensorStore.drop` needs.
    ``keys``: 28-byte page keys. Neither: everything, records too. ``progress`` is called with the pages done since its last
    call. Pages that vanish meanwhile, or cannot be read, are left out and counted.

    Raises InvalidArgumentError (``path`` exists; both kinds of choice; a namespace without prefixes), NoSpaceError,
    IOFailedError, ClosedError; nothing is left behind.

    I/O: reads the pages, writes and syncs one file, syncs its directory.
    """
    fs = fs if fs is not None else PosixFileSystem()
    if prefixes is not None and keys is not None:
        msg = "prefixes and keys: choose one of them"
        raise InvalidArgumentError(msg)
    if fs.exists(path) and not overwrite:
        msg = f"{path} exists already: choose another name, or say overwrite (--force)"
        raise InvalidArgumentError(msg)
    wanted = _wanted(source, prefixes, keys)
    temporary = path + ".tmp"
    try:
        if fs.exists(temporary):
            fs.unlink(temporary)
        file = fs.open(temporary, "create")
        try:
            report = _Writer(file, source, path).write(wanted, progress or (lambda _: None))
            file.sync()
        finally:
            file.close()
        fs.rename(temporary, path)
        fs.sync_dir(dirname(path) or ".")
    except BaseException as error:
        with suppress(OSError):
            fs.unlink(temporary)
        if isinstance(error, OSError):
            op = "writing a pack"
            raise io_failed(op, path, error) from error
        raise
    return report


def _wanted(source: PackSource, prefixes: Iterable[Tokens] | None, keys: Iterable[bytes] | None) -> _Wanted:
    """Everything, or these keys, or what is stored of these prompts without a gap."""
    if keys is not None:
        return _Wanted((), iter(list(keys)))
    if prefixes is None:
        return _Wanted(source.records(), source.keys())
    chosen: dict[bytes, None] = {}
    trails: dict[bytes, bytes] = {}
    for tokens in prefixes:
        of_prompt = prefix_keys(source.info, tokens)
        there = _stored_prefix(source, of_prompt, chosen)
        chosen |= dict.fromkeys(of_prompt[:there])
        if there:
            put = put_records(of_prompt[:there], range(there), follows=False)
            trails |= {last: way for last, way in put if way is not None}
    return _Wanted(trails.items(), iter(chosen))


def _stored_prefix(source: PackSource, keys: Sequence[bytes], known: dict[bytes, None]) -> int:
    """How many pages from the first on are there."""
    step = max(BATCH_BYTES // source.info.page_bytes, 1)
    at = 0
    while at < len(keys):
        if keys[at] in known:
            at += 1
            continue
        there = [page is not None for page in source.read(keys[at : at + step])]
        if False in there:
            return at + there.index(False)
        at += len(there)
    return at


class _Writer:
    """Writes one pack from front to back."""

    def __init__(self, file: File, source: PackSource, path: str) -> None:
        self._file = file
        self._source = source
        self._path = path
        info = source.info
        self._header = PackHeader(canonical(info.fields, info.page_bytes), info.names)
        self._digest = self._header.digest
        self._at = 0
        self._sequence = 0

    def write(self, wanted: _Wanted, told: Callable[[int], None]) -> ExportReport:
        """Everything wanted. OSError."""
        assert self._digest == self._source.info.digest
        self._append([pack_header(self._header)])
        records = iter(wanted.records)
        record_count = 0
        while part := list(islice(records, RECORD_BATCH)):
            self._append([piece for key, value in part for piece in self._record(key, value)])
            record_count += len(part)
        asked = pages = payload_bytes = 0
        step = min(max(BATCH_BYTES // self._source.info.page_bytes, 1), BATCH_PAGES)
        while some := list(islice(wanted.keys, step)):
            found = [page for page in self._source.read(some) if page is not None]
            self._append([piece for page in found for piece in self._page(page)])
            asked += len(some)
            pages += len(found)
            payload_bytes += sum(len(page.payload) for page in found)
            told(len(some))
        self._append([pack_item(Item(END, 0, self._sequence, NO_PARENT, NO_PARENT, 0, 0), self._digest)])
        return ExportReport(self._path, pages, asked - pages, record_count, payload_bytes, self._at)

    def _page(self, page: StoredPage) -> list[bytes | memoryview]:
        """A page's item and payload."""
        check = payload_sum(self._digest, page.key, page.payload)
        item = Item(PAGE, len(page.payload), self._sequence, page.key, page.parent, page.codec, check, page.end)
        self._sequence += 1
        return [pack_item(item, self._digest), page.payload]

    def _record(self, key: bytes, value: bytes) -> list[bytes | memoryview]:
        """A record's item and payload."""
        payload = pack_record(key, value)
        check = payload_sum(self._digest, NO_PARENT, payload)
        item = Item(RECORD, len(payload), self._sequence, NO_PARENT, NO_PARENT, 0, check)
        self._sequence += 1
        return [pack_item(item, self._digest), payload]

    def _append(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Write at the end."""
        self._at += write_all(self._file, pieces, self._at)
