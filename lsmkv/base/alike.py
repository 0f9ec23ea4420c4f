"""A batch of puts whose keys have one width, as have its values: joined once, for the log, the memtable and the flush."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple, cast

__all__ = ["HEAD_BYTES", "Alike", "alike_of"]

_HEAD = Struct("<II")

HEAD_BYTES = _HEAD.size
"""Of the joined bytes, before the first key: both widths, as u32."""


class Alike(NamedTuple):
    """The batch as one string, the width of its keys (above 0), that of its values, and how many there are."""

    joined: bytes
    """Both widths, the keys end to end, the values end to end: what a log has of such a batch behind the frame's header."""
    entries: int
    key_width: int
    value_width: int

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values."""
        return len(self.joined) - HEAD_BYTES

    @property
    def widths(self) -> tuple[int, int]:
        """Both widths."""
        return self[2:]


def alike_of(keys: Sequence[bytes], values: Sequence[bytes | None], widths: tuple[int, int]) -> Alike:
    """The batch with these widths, which the caller has made sure of. None among the values raises TypeError."""
    return Alike(b"".join((_HEAD.pack(*widths), *keys, *cast("Sequence[bytes]", values))), len(keys), *widths)
