"""A batch of puts whose keys have one width, as have its values: joined once, for the log, the memtable and the flush."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

__all__ = ["Alike", "alike_of"]


class Alike(NamedTuple):
    """Keys and values end to end, and the width of each."""

    keys: bytes
    values: bytes
    key_width: int
    """Above 0."""
    value_width: int

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values."""
        return len(self.keys) + len(self.values)

    @property
    def widths(self) -> tuple[int, int]:
        """Both widths."""
        return self[2:]


def alike_of(keys: Sequence[bytes], values: Sequence[bytes | None], widths: tuple[int, int]) -> Alike:
    """The batch with these widths, which the caller has made sure of. None among the values raises TypeError."""
    return Alike(b"".join(keys), b"".join(cast("Sequence[bytes]", values)), *widths)
