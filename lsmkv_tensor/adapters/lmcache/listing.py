"""What is here, a page of keys at a time.

A cursor is ``SHELF:KEY``, number and page key (hexadecimal) of the last that was told. Scans of an index begin with a prefix, so
records are taken up by the first byte of their key: a page of the listing reads at most a 256th of a namespace twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from lsmkv_tensor.adapters.lmcache.identity import read_record
from lsmkv_tensor.adapters.lmcache.shelves import Shelf

__all__ = ["listed"]


def listed(
    shelves: Sequence[Shelf], page_size: int, cursor: str | None, make_key: Callable[..., Any]
) -> tuple[list[tuple[Any, int]], str | None]:
    """At most so many keys with the bytes of their objects, and the cursor of the next page; None behind the last.

    ValueError for a page size below 1 and a cursor that is none. I/O: scans of records, one look-up a key.
    """
    if isinstance(page_size, bool) or not isinstance(page_size, int) or page_size < 1:
        msg = f"page_size = {page_size!r}: must be an integer of at least 1"
        raise ValueError(msg)
    after = _read_cursor(cursor)
    entries: list[tuple[Any, int]] = []
    last: str | None = None
    for shelf in sorted(shelves, key=lambda shelf: shelf.number):
        if shelf.number < after[0]:
            continue
        for key, chunk_hash, salt in _from(shelf, after[1] if shelf.number == after[0] else b""):
            if len(entries) == page_size:
                return entries, last
            whose = shelf.identity
            found = make_key(
                chunk_hash=chunk_hash, model_name=whose.model, kv_rank=whose.kv_rank, object_group_id=whose.group, cache_salt=salt
            )
            entries.append((found, shelf.page_bytes))
            last = f"{shelf.number}:{key.hex()}"
    return entries, None


def _read_cursor(cursor: str | None) -> tuple[int, bytes]:
    """Shelf and key after which to go on."""
    if cursor is None:
        return 0, b""
    number, _, key = str(cursor).partition(":")
    try:
        found = int(number), bytes.fromhex(key)
    except ValueError:
        found = -1, b""
    if found[0] < 0 or len(found[1]) != 28:
        msg = f"cursor = {cursor!r}: is none that list_l2_keys gave"
        raise ValueError(msg)
    return found


def _from(shelf: Shelf, after: bytes) -> Iterator[tuple[bytes, bytes, str]]:
    """Page key, hash and salt of what is here behind this page key, ascending."""
    writer = shelf.writer
    if writer is None:
        return
    for first in range(after[0] if after else 0, 256):
        records = iter(writer.records(bytes((first,))))
        while part := [(key, record) for key, record in islice(records, 512) if key > after]:
            for (key, record), here in zip(part, writer.contains_own([key for key, _ in part]), strict=True):
                read = read_record(record)
                if here and read is not None:
                    yield key, *read
