"""What a key of LMCache's multi-process server means here: which namespace, which page in it, and what is noted beside the page.

LMCache's key is ``(chunk hash, model, kv_rank, object group, cache salt)``. Model, rank and group go into the namespace, with the
shapes and dtypes of the object: the same tokens in another dtype are another cache, never garbage. The salt (one for each user,
perhaps) goes into the page's key: a namespace for each would be too many. ::

    page key   without a salt: the hash itself, cut to 28 bytes; with one: SHA-256 of salt, length of the salt and hash
    record     format 1 | length of the hash 1 | hash | salt as UTF-8           beside each page, under the page's key

The record is what LMCache is told of again after a restart, and when the page is evicted: the index keeps 28 bytes of a hash,
LMCache needs all of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from lsmkv_tensor.keys.flat import KEY_BYTES, flat_key

__all__ = ["BYTES", "Identity", "Layout", "PageId", "desc_layout", "object_layout", "page_key", "read_record", "record_of"]

Key: TypeAlias = Any
"""LMCache's ``ObjectKey``."""
PageId: TypeAlias = tuple[int, bytes]
"""Number of a namespace, and 28-byte key of a page in it."""

RECORD_FORMAT = 1


class Identity(NamedTuple):
    """What tells the pages of one rank and object group of a model from others."""

    model: str
    kv_rank: int
    group: int

    @classmethod
    def of(cls, key: Key) -> Identity:
        """That of a key."""
        return cls(key.model_name, key.kv_rank, key.object_group_id)


class Layout(NamedTuple):
    """What an object's bytes are: the tensors in it, one after the other."""

    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]

    @property
    def opaque(self) -> bool:
        """Whether they are bytes that somebody serialised: such an object is asked for by another layout."""
        return self.dtypes == BYTES and len(self.shapes[0]) == 1


BYTES = ("uint8",)


def object_layout(item: Any) -> Layout:  # noqa: ANN401  # LMCache's MemoryObj
    """The layout of an object."""
    return _layout(item.get_shapes(), item.get_dtypes())


def desc_layout(desc: Any) -> Layout:  # noqa: ANN401  # LMCache's MemoryLayoutDesc
    """The layout that LMCache describes."""
    return _layout(desc.shapes, desc.dtypes)


def namespace_fields(identity: Identity, layout: Layout, revision: str | None) -> dict[str, object]:
    """What gives a page's bytes their meaning."""
    return {
        "engine": "lmcache",
        "model": identity.model,
        "revision": revision,
        "kv_rank": identity.kv_rank,
        "object_group": identity.group,
        "shapes": [list(shape) for shape in layout.shapes],
        "dtypes": list(layout.dtypes),
        "dtype": layout.dtypes[0],
    }


def read_fields(fields: Mapping[str, Any], revision: str | None) -> tuple[Identity, Layout] | None:
    """What a namespace holds, if it is one of these."""
    if fields.get("engine") != "lmcache" or fields.get("revision") != revision or "object_group" not in fields:
        return None
    shapes = tuple(tuple(map(int, shape)) for shape in fields["shapes"])
    return Identity(fields["model"], fields["kv_rank"], fields["object_group"]), Layout(shapes, tuple(fields["dtypes"]))


def page_key(chunk_hash: bytes, salt: str) -> bytes:
    """The 28-byte key of a page."""
    if not salt:
        return flat_key(chunk_hash)
    text = salt.encode()
    return hashlib.sha256(len(text).to_bytes(2, "little") + text + chunk_hash).digest()[:KEY_BYTES]


def record_of(chunk_hash: bytes, salt: str) -> bytes:
    """What is noted beside a page."""
    return bytes((RECORD_FORMAT, len(chunk_hash))) + chunk_hash + salt.encode()


def read_record(record: bytes) -> tuple[bytes, str] | None:
    """Hash and salt; None for a record that is none of these."""
    if len(record) < 2 or record[0] != RECORD_FORMAT or len(record) < 2 + record[1]:
        return None
    return record[2 : 2 + record[1]], record[2 + record[1] :].decode("utf-8", "replace")


def _layout(shapes: Any, dtypes: Any) -> Layout:  # noqa: ANN401  # torch's
    """As plain tuples."""
    return Layout(
        tuple(tuple(int(n) for n in shape) for shape in shapes), tuple(str(dtype).removeprefix("torch.") for dtype in dtypes)
    )
