"""Page keys as callers give them: 28 bytes, or anything that is brought to 28 bytes.

A bytearray is the key of the bytes it holds during the call, everywhere where bytes are one. One key is no sequence of keys:
Python would take a str for a sequence of its characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, overload

from lsmkv.arguments import all_bytes, same_width
from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.keys.flat import DIGEST_BYTES, KEY_BYTES, flat_key

__all__ = ["PageKey", "PageKeys", "index_keys", "page_keys"]

PageKey: TypeAlias = bytes | bytearray | str


class PageKeys(Sequence[bytes]):
    """Page keys that are brought to 28 bytes when they are asked for: a probe looks at no more than it needs.

    InvalidArgumentError for one key instead of several.
    """

    __slots__ = ("_keys",)

    def __init__(self, keys: Sequence[PageKey]) -> None:
        _check_several(keys)
        self._keys = keys

    def __len__(self) -> int:
        """How many."""
        return len(self._keys)

    @overload
    def __getitem__(self, at: int) -> bytes: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[bytes]: ...

    def __getitem__(self, at: int | slice) -> bytes | Sequence[bytes]:
        """One or some of them."""
        return page_keys(self._keys[at]) if isinstance(at, slice) else flat_key(self._keys[at])


def page_keys(keys: Sequence[PageKey]) -> Sequence[bytes]:
    """The keys as 28-byte page keys. InvalidArgumentError for one key instead of several, and for what is no key."""
    _check_several(keys)
    if not _digests(keys) or not all_bytes(keys):
        return [flat_key(key) for key in keys]
    if len(keys[0]) == KEY_BYTES:
        return keys  # type: ignore[return-value]  # they are bytes
    return [key[:KEY_BYTES] for key in keys]  # type: ignore[misc]  # as above


def index_keys(prefix: bytes, keys: Sequence[PageKey]) -> list[bytes]:
    """``prefix`` and the page key of each. Errors as :func:`page_keys`."""
    _check_several(keys)
    if not _digests(keys):
        return [prefix + flat_key(key) for key in keys]
    if len(keys[0]) == KEY_BYTES:
        return [prefix + key for key in keys]  # type: ignore[operator]  # bytes, or bytearrays: together bytes
    return [prefix + key[:KEY_BYTES] for key in keys]  # type: ignore[operator]  # as above


def _digests(keys: Sequence[PageKey]) -> bool:
    """Whether all are bytes, or bytearrays, of one and the same length of a digest, and there are any."""
    if not keys or not isinstance(keys[0], bytes | bytearray):
        return False
    return len(keys[0]) in DIGEST_BYTES and same_width(keys, len(keys[0]))


def _check_several(keys: Sequence[PageKey]) -> None:
    """InvalidArgumentError if this is one key."""
    if isinstance(keys, str | bytes | bytearray):
        msg = f"keys = {keys[:40]!r}: must be a list of page keys, not one {type(keys).__name__}"
        raise InvalidArgumentError(msg)
