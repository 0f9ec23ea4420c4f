"""Bytes of a pack.

A header, then items one behind the other, nothing aligned, little endian::

    header (64 bytes, then the texts)               item (96 bytes, then its payload)
     0  magic "LSMKVPAK"           8                 0  magic "LKPP" page, "LKPR" record, "LKPE" end   4
     8  format version u32         4                 4  length of the payload u32                      4
    12  bytes of the fields u32    4                 8  sequence u64: 0, 1, 2 ...                      8
    16  bytes of the names u32     4                16  page key                                      28
    20  zero                       4                44  parent's key, or zeros                        28
    24  digest of the namespace   32                72  codec u8, end u24, zero 4                      8
    56  check u64                  8                80  check of the payload u64                       8
    64  fields: canonical JSON, names: JSON array   88  check of these 96 bytes u64                    8

The digest is the SHA-256 of the fields, the namespace's identity. The header's check is xxh3-64 of header and texts with the
check taken as zero. An item's check is seeded by the digest, its payload's by digest and page key: an item of another pack, or
a page under another key, never passes. A record's payload is ``key length u32 | key | value``. The end has the number of
items before it as its sequence; a pack without an end was cut short. A page's end is the minute, counted from the start of
2020, from which on it does not exist; 0: never, as in all packs of version 1. This module packs and unpacks; it does no I/O.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from typing import NamedTuple

from xxhash import xxh3_64, xxh3_64_intdigest

from lsmkv_tensor.errors import CorruptionError, FormatTooNewError

__all__ = [
    "END",
    "HEAD_BYTES",
    "ITEM_BYTES",
    "ITEM_MAGIC",
    "PACK_VERSION",
    "PAGE",
    "RECORD",
    "Item",
    "PackHeader",
    "header_bytes",
    "pack_header",
    "pack_item",
    "pack_record",
    "payload_sum",
    "unpack_header",
    "unpack_item",
    "unpack_record",
]

PACK_VERSION = 2
HEAD_BYTES = 64
ITEM_BYTES = 96

PAGE = b"LKPP"
RECORD = b"LKPR"
END = b"LKPE"
ITEM_MAGIC = b"LKP"
"""How every item begins."""

MAX_TEXT_BYTES = 1 << 20
"""Bytes of fields and names together; a registry takes 64 KiB of fields."""

_MAGIC = b"LSMKVPAK"
_HEAD = struct.Struct("<8sIIII32sQ")
_HEAD_CHECK_AT = 56
_ITEM = struct.Struct("<4sIQ28s28sI4xQQ")
_ITEM_CHECK_AT = 88
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


class PackHeader(NamedTuple):
    """Whose pages a pack holds."""

    text: bytes
    """Canonical JSON of the namespace's fields and page_bytes."""
    names: tuple[str, ...]

    @property
    def digest(self) -> bytes:
        """The namespace's identity."""
        return hashlib.sha256(self.text).digest()


class Item(NamedTuple):
    """The fixed part of an item."""

    kind: bytes
    length: int
    sequence: int
    key: bytes
    parent: bytes
    codec: int
    payload_sum: int
    end: int = 0
    """The minute from which on the page does not exist; 0: never."""


def pack_header(header: PackHeader) -> bytes:
    """The header and its texts."""
    names = json.dumps(list(header.names)).encode()
    head = _HEAD.pack(_MAGIC, PACK_VERSION, len(header.text), len(names), 0, header.digest, 0)
    check = xxh3_64_intdigest(head + header.text + names)
    return head[:_HEAD_CHECK_AT] + _U64.pack(check) + header.text + names


def header_bytes(head: bytes, path: str) -> int:
    """Bytes of a header with its texts, from its first 64. CorruptionError, FormatTooNewError."""
    if len(head) < HEAD_BYTES or head[:8] != _MAGIC:
        raise CorruptionError(path, 0, "not a pack of pages, or its header is damaged")
    _, version, text, names, *_ = _HEAD.unpack_from(head)
    if version > PACK_VERSION:
        raise FormatTooNewError(path, version, PACK_VERSION)
    if text + names > MAX_TEXT_BYTES:
        raise CorruptionError(path, 12, "the header of the pack is damaged")
    return int(HEAD_BYTES + text + names)


def unpack_header(raw: bytes, path: str) -> PackHeader:
    """Parse a whole header. CorruptionError if a byte of it is wrong."""
    _, _, text_bytes, names_bytes, _, digest, check = _HEAD.unpack_from(raw)
    text = raw[HEAD_BYTES : HEAD_BYTES + text_bytes]
    names = raw[HEAD_BYTES + text_bytes :]
    zeroed = raw[:_HEAD_CHECK_AT] + bytes(8) + raw[HEAD_BYTES:]
    if len(names) != names_bytes or xxh3_64_intdigest(zeroed) != check:
        raise CorruptionError(path, 0, "the header of the pack fails its checksum")
    header = PackHeader(text, tuple(json.loads(names)))
    if header.digest != digest:
        raise CorruptionError(path, 24, "the pack is not of the namespace it says")
    return header


def pack_item(item: Item, digest: bytes) -> bytes:
    """The fixed part."""
    kind, length, sequence, key, parent, codec, check, end = item
    raw = _ITEM.pack(kind, length, sequence, key, parent, codec | end << 8, check, 0)
    return raw[:_ITEM_CHECK_AT] + _U64.pack(xxh3_64_intdigest(raw, _seed(digest)))


def unpack_item(raw: bytes, digest: bytes) -> Item | None:
    """The fixed part of an item, None if these 96 bytes are none of this pack's namespace."""
    if len(raw) != ITEM_BYTES or raw[:4] not in (PAGE, RECORD, END):
        return None
    kind, length, sequence, key, parent, form, payload_check, check = _ITEM.unpack(raw)
    if xxh3_64_intdigest(raw[:_ITEM_CHECK_AT] + bytes(8), _seed(digest)) != check:
        return None
    return Item(kind, length, sequence, key, parent, form & 0xFF, payload_check, form >> 8)


def payload_sum(digest: bytes, key: bytes, payload: bytes | memoryview) -> int:
    """The check of an item's payload."""
    return xxh3_64_intdigest(payload, _seed(digest + key))


def pack_record(key: bytes, value: bytes) -> bytes:
    """The payload of a record."""
    return _U32.pack(len(key)) + key + value


def unpack_record(payload: bytes) -> tuple[bytes, bytes] | None:
    """Key and value of a record, None if it is none."""
    if len(payload) < _U32.size:
        return None
    (length,) = _U32.unpack_from(payload)
    body = payload[_U32.size :]
    return (body[:length], body[length:]) if length <= len(body) else None


def _seed(data: bytes | Sequence[int]) -> int:
    """What binds bytes to their namespace and key."""
    return xxh3_64(bytes(data)).intdigest()
