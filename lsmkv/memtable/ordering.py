r"""Sorting many keys at once: the order of a flush.

Keys of one width are compared as NumPy ``S`` strings (for equal widths that is plain byte order). Other keys sort on 16 bytes
behind their common prefix, and ties are then resolved on the full keys, because ``S`` calls ``ab`` and ``ab\0`` equal.
NumPy sorts without holding the interpreter, so other threads go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["sorted_order"]

_PREFIX_BYTES = 16
_SMALL = 64
"""Below this, sorting in the interpreter is faster than setting up arrays."""


def sorted_order(keys: Sequence[bytes]) -> list[int]:
    """Indices that put ``keys`` in ascending order; equal keys keep their order."""
    n = len(keys)
    if n <= _SMALL:
        return sorted(range(n), key=keys.__getitem__)
    widths = set(map(len, keys))
    if len(widths) == 1 and (width := widths.pop()):
        fixed: list[int] = _argsort(np.frombuffer(b"".join(keys), f"S{width}")).tolist()
        return fixed
    skip = _shared_bytes(min(keys), max(keys))
    heads = np.array([key[skip : skip + _PREFIX_BYTES] for key in keys], f"S{_PREFIX_BYTES}")
    order = _argsort(heads)
    ranked = heads[order]
    tied = np.concatenate(([False], ranked[1:] == ranked[:-1], [False]))
    out: list[int] = order.tolist()
    edges = np.flatnonzero(tied[1:] != tied[:-1]).tolist()
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        out[first : last + 1] = sorted(out[first : last + 1], key=keys.__getitem__)
    return out


def _shared_bytes(a: bytes, b: bytes) -> int:
    """Length of the common prefix."""
    n = min(len(a), len(b))
    differ = np.frombuffer(a, np.uint8, n) != np.frombuffer(b, np.uint8, n)
    return int(differ.argmax()) if differ.any() else n


def _argsort(strings: NDArray[np.bytes_]) -> NDArray[np.int64]:
    """Stable order of ``S`` strings."""
    return np.argsort(strings, kind="stable")
