"""float8_e4m3fn in NumPy: 1 bit sign, 4 exponent (bias 7), 3 mantissa; no infinities, largest 448, smallest 2**-9."""

from __future__ import annotations

import numpy as np

from lsmkv_tensor.codec.base import U8
from lsmkv_tensor.codec.floats import F32

__all__ = ["E4M3_LARGEST", "e4m3_codes", "e4m3_values"]

E4M3_LARGEST = 448.0

_SMALLEST_NORMAL = np.float32(2.0**-6)
_STEP_BELOW = np.float32(2.0**9)
"""Below the smallest normal value codes count steps of 2**-9."""
_REBIAS = np.uint32((127 - 7) << 3)


def e4m3_codes(values: F32) -> U8:
    """The nearest codes, ties to even, of values within +-448."""
    bits = values.view(np.uint32)
    magnitude = bits & np.uint32(0x7FFFFFFF)
    rounded = (magnitude + np.uint32(0x7FFFF) + ((magnitude >> np.uint32(20)) & np.uint32(1))) >> np.uint32(20)
    steps = np.rint(np.minimum(np.abs(values), _SMALLEST_NORMAL) * _STEP_BELOW).astype(np.uint32)
    codes = np.where(np.abs(values) < _SMALLEST_NORMAL, steps, rounded - _REBIAS)
    signed: U8 = (codes | ((bits >> np.uint32(24)) & np.uint32(0x80))).astype(np.uint8)
    return signed


def e4m3_values(codes: U8) -> F32:
    """What the codes stand for."""
    values: F32 = _VALUES.take(codes)
    return values


def _table() -> F32:
    """The value of every code; the two NaNs (0x7f, 0xff), which no encoder writes, as NaN."""
    code = np.arange(256, dtype=np.uint32)
    exponent, mantissa = ((code >> 3) & 15).astype(np.int32), (code & 7).astype(np.float32)
    value = np.where(exponent == 0, np.ldexp(mantissa, -9), np.ldexp(1 + mantissa / 8, exponent - 7)).astype(np.float32)
    value[(code & 0x7F) == 0x7F] = np.nan
    return np.where(code & 0x80, -value, value).astype(np.float32)


_VALUES = _table()
