"""What a codec is, and the numbers that stand for codecs on disk.

The number is recorded per page, in its frame and in its index value, so a namespace may change its codec at any time: every
page is read with the codec that wrote it. Encoded payloads describe themselves: nothing but their own bytes and the length
of a page is needed to read them. Numbers and layouts are never used again for something else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["FP8", "INT8", "RAW", "SHUFFLE_ZSTD", "U8", "Codec", "Encoded", "gathered", "scattered", "worthwhile"]

RAW = 0
"""The payload is the page."""
SHUFFLE_ZSTD = 1
INT8 = 2
FP8 = 3

U8: TypeAlias = NDArray[np.uint8]

_BLOCK = 4096
"""Bytes; payloads take whole blocks on disk (vlog/layout.py), so saving less than one saves nothing."""


class Encoded(NamedTuple):
    """A page in its stored form."""

    codec: int
    """The number of the codec that reads it: not always that of the codec asked (int8 stores a page with NaN losslessly)."""
    payload: bytes


class Codec(Protocol):
    """Writes pages of one namespace. Safe to use from several threads."""

    @property
    def name(self) -> str:
        """What it is asked for by."""
        ...

    @property
    def lossy(self) -> bool:
        """Whether what is read may differ from what was stored; then it is part of the namespace's identity."""
        ...

    def encode(self, spans: Sequence[memoryview]) -> Encoded | None:
        """The stored form of a page whose bytes are ``spans`` in order; None: as it is, since nothing would be saved."""
        ...


def gathered(spans: Sequence[memoryview]) -> U8:
    """The bytes of the spans in one piece; no copy is made of a single one."""
    parts = [np.frombuffer(span, np.uint8) for span in spans if len(span)]
    return parts[0] if len(parts) == 1 else np.concatenate([*parts, np.empty(0, np.uint8)])


def scattered(page: U8, spans: Sequence[memoryview]) -> None:
    """Copy a page into spans of together its length."""
    at = 0
    for span in spans:
        if len(span):
            np.frombuffer(span, np.uint8)[:] = page[at : at + len(span)]
            at += len(span)
    assert at == len(page)


def worthwhile(encoded: int, raw: int) -> bool:
    """Whether a payload of so many bytes takes fewer blocks than the page itself."""
    return (encoded + _BLOCK - 1) // _BLOCK < (raw + _BLOCK - 1) // _BLOCK
