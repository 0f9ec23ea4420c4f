"""The element types that lossy codecs take, as float32 and back, in NumPy: it has no bfloat16 and no float8 of its own.

Rounding is to nearest, ties to even, as the hardware does it. Callers keep values finite.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.codec.base import U8

__all__ = ["F32", "FLOATS", "LARGEST", "from_float32", "scale_up", "scales", "to_float32"]

F32: TypeAlias = NDArray[np.float32]

FLOATS = {"bfloat16": (1, 2), "float16": (2, 2), "float32": (3, 4)}
"""Name -> (number on disk, bytes)."""

LARGEST = {1: np.uint32(0x7F7F0000).view(np.float32), 2: np.float32(65504), 3: np.finfo(np.float32).max}
"""The largest finite value of each, by number."""


def to_float32(raw: U8, kind: int) -> F32:
    """The elements of ``raw`` (bytes of whole elements) as float32; exact."""
    if kind == 1:
        return (raw.view("<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)
    return raw.view("<f2").astype(np.float32) if kind == 2 else raw.view("<f4")


def from_float32(values: F32, kind: int, out: U8) -> None:
    """Round finite values to the type and write their bytes to ``out``; beyond the largest they become the largest."""
    limit = LARGEST[kind]
    values = np.clip(values, -limit, limit)
    if kind == 1:
        bits = values.view(np.uint32)
        out.view("<u2")[:] = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    elif kind == 2:
        out.view("<f2")[:] = values
    else:
        out.view("<f4")[:] = values


def scale_up(wanted: F32) -> NDArray[np.uint16]:
    """The upper 16 bits of the smallest bfloat16 values not below these (finite, not negative): scales at half the bytes."""
    return ((wanted.view(np.uint32) + np.uint32(0xFFFF)) >> np.uint32(16)).astype("<u2")


def scales(stored: NDArray[np.uint16]) -> F32:
    """What :func:`scale_up` stored."""
    return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
