"""Page keys as callers give them: 28 bytes, or anything that is brought to 28 bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, overload

from lsmkv.arguments import same_width
from lsmkv_tensor.keys.flat import DIGEST_BYTES, KEY_BYTES, flat_key

__all__ = ["PageKey", "PageKeys", "page_keys"]

PageKey: TypeAlias = bytes | str


class PageKeys(Sequence[bytes]):
    """Page keys that are brought to 28 bytes when they are asked for: a probe looks at no more than it needs."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Sequence[PageKey]) -> None:
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
    """The keys as 28-byte page keys."""
    if same_width(keys, KEY_BYTES):
        return keys  # type: ignore[return-value]  # they are bytes
    if keys and type(keys[0]) is bytes and (width := len(keys[0])) in DIGEST_BYTES and same_width(keys, width):
        return [key[:KEY_BYTES] for key in keys]  # type: ignore[misc]  # as above
    return [flat_key(key) for key in keys]
