"""Lossy codecs: eight bits an element, scaled per channel. For tensors whose shape is known, and only by name.

A page is seen as ``[outer, tokens, inner]``: the axis of tokens, what lies before it (K and V, layers) and what lies behind
it (heads, head size). A *channel* is one (outer, inner) over all tokens of the page: keys differ far more between
channels than between tokens. Each channel has one scale, a bfloat16 not below its largest absolute value ``m`` over the
largest code, so that nothing saturates.

- ``int8``: codes are the nearest of -127..127. ``|error| <= m / 252`` for every element of the channel.
- ``fp8``: codes are float8_e4m3fn, nearest. ``|error| <= max(|x| / 16, m / 454,000)``: small elements keep their digits.

Both before the result is rounded to the page's own type (at most half of its last digit more), and for m below 1e-36 plus
1e-40. A page with a NaN or an infinity in it is stored losslessly instead, so these come back bit for bit. -0.0 may come back
as 0.0.

Payload, little endian::

    0 layout u8 = 1 | 1 element type u8 | 2 zero 2 | 4 outer u32 | 8 tokens u32 | 12 inner u32
    16 scales bfloat16 [outer, inner] | codes u8 [outer, tokens, inner]
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lsmkv_tensor.codec.base import FP8, INT8, U8, Codec, Encoded, gathered, scattered, worthwhile
from lsmkv_tensor.codec.float8 import E4M3_LARGEST, e4m3_codes, e4m3_values
from lsmkv_tensor.codec.floats import F32, FLOATS, from_float32, scale_up, scales, to_float32

__all__ = ["Grid", "Quantised", "decode_quantised", "grid_of"]

_LAYOUT = 1
_HEAD = struct.Struct("<BB2xIII")
_ITEM_BYTES = dict(FLOATS.values())
_AT_ONCE = 1 << 16
"""Elements worked on at a time: their float32 and temporaries stay in the processor's cache."""


class Grid(NamedTuple):
    """A page as [outer, tokens, inner]."""

    outer: int
    tokens: int
    inner: int

    @property
    def elements(self) -> int:
        """Elements of a page."""
        return self.outer * self.tokens * self.inner

    @property
    def payload_bytes(self) -> int:
        """Bytes of a page's payload."""
        return _HEAD.size + 2 * self.outer * self.inner + self.elements


def grid_of(shape: Sequence[int], page_tokens: int) -> Grid:
    """How a page of this shape is divided into channels.

    The axis of tokens is the rightmost one before the last whose size is ``page_tokens``; where there is none, all axes
    before the last are taken together.
    """
    before_last = range(len(shape) - 1)
    axis = max((i for i in before_last if shape[i] == page_tokens), default=None)
    if axis is None:
        return Grid(1, math.prod(shape[:-1]), shape[-1])
    return Grid(math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))


class _Code(NamedTuple):
    """What tells the two codecs apart."""

    largest: float
    """The largest code's value."""
    codes: Callable[[F32], U8]
    """Values within +-largest to codes."""
    values: Callable[[U8], F32]
    """Codes to values."""


def _int8_codes(values: F32) -> U8:
    """The nearest integers."""
    return np.rint(values).astype(np.int8).view(np.uint8)


def _int8_values(codes: U8) -> F32:
    """The integers as float32."""
    return codes.view(np.int8).astype(np.float32)


_CODES = {INT8: _Code(127.0, _int8_codes, _int8_values), FP8: _Code(E4M3_LARGEST, e4m3_codes, e4m3_values)}


class Quantised:
    """The codec ``int8`` or ``fp8`` for pages of one grid and element type. ``lossless`` takes the pages it cannot."""

    lossy = True

    def __init__(self, name: str, codec: int, grid: Grid, dtype: str, lossless: Codec) -> None:
        self.name = name
        self._codec = codec
        self._grid = grid
        self._kind = FLOATS[dtype][0]
        self._lossless = lossless

    def encode(self, spans: Sequence[memoryview]) -> Encoded | None:
        """The page in eight bits an element; losslessly if it has elements that are no numbers, or nothing is saved."""
        grid, code = self._grid, _CODES[self._codec]
        page = gathered(spans)
        if not worthwhile(grid.payload_bytes, len(page)):
            return self._lossless.encode(spans)
        payload = np.empty(grid.payload_bytes, np.uint8)
        _HEAD.pack_into(payload.data, 0, _LAYOUT, self._kind, *grid)
        stored, codes = _parts(payload, grid)
        item = _ITEM_BYTES[self._kind]
        with np.errstate(all="ignore"):
            for some in _slices(grid):
                values = to_float32(page[_bytes_of(some, grid, item)], self._kind).reshape(-1, grid.tokens, grid.inner)
                largest = np.abs(values).max(axis=1)
                if not np.isfinite(largest).all():
                    return self._lossless.encode(spans)
                stored[some] = scale_up(largest / np.float32(code.largest))
                scale = scales(stored[some])
                scale[scale == 0] = 1
                scaled = np.clip(values / scale[:, None, :], -code.largest, code.largest)
                codes[some] = code.codes(scaled)
        return Encoded(self._codec, payload.tobytes())


def decode_quantised(codec: int, payload: memoryview, spans: Sequence[memoryview]) -> bool:
    """Bring a page into ``spans`` of together its length; False if the payload is none of a page of that length."""
    if len(payload) < _HEAD.size:
        return False
    layout, kind, *sizes = _HEAD.unpack_from(payload)
    grid = Grid(*sizes)
    if layout != _LAYOUT or kind not in _ITEM_BYTES or not all(sizes) or len(payload) != grid.payload_bytes:
        return False
    item = _ITEM_BYTES[kind]
    if sum(map(len, spans)) != grid.elements * item:
        return False
    stored, codes = _parts(np.frombuffer(payload, np.uint8), grid)
    page = np.frombuffer(spans[0], np.uint8) if len(spans) == 1 else np.empty(grid.elements * item, np.uint8)
    with np.errstate(all="ignore"):
        for some in _slices(grid):
            values = _CODES[codec].values(codes[some]) * scales(stored[some])[:, None, :]
            from_float32(values.reshape(-1), kind, page[_bytes_of(some, grid, item)])
    if len(spans) != 1:
        scattered(page, spans)
    return True


def _parts(payload: U8, grid: Grid) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.uint16]], U8]:
    """The scales [outer, inner] and codes [outer, tokens, inner] of a payload, as views."""
    codes_at = _HEAD.size + 2 * grid.outer * grid.inner
    stored = payload[_HEAD.size : codes_at].view("<u2").reshape(grid.outer, grid.inner)
    return stored, payload[codes_at:].reshape(grid)


def _slices(grid: Grid) -> Iterator[slice]:
    """Ranges of the outer axis of about _AT_ONCE elements."""
    step = max(_AT_ONCE // (grid.tokens * grid.inner), 1)
    return (slice(at, min(at + step, grid.outer)) for at in range(0, grid.outer, step))


def _bytes_of(some: slice, grid: Grid, item: int) -> slice:
    """Where a range of the outer axis lies in the page."""
    row = grid.tokens * grid.inner * item
    return slice(some.start * row, some.stop * row)
