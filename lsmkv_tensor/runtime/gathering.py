"""Copying pages out of the caller's memory, at the speed of memory.

Whoever lets go of the interpreter for a copy waits for it afterwards: up to 5 ms, beside a thread that never waits. So short
copies keep it, and long ones are made as long as possible: spans that follow each other in memory are one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

import numpy as np

from lsmkv.base.columns import U8

__all__ = ["SHORT_BYTES", "gather"]

SHORT_BYTES = 256 << 10
"""A span that is copied without letting go of the interpreter: some 40 us."""

_address, _from_buffer = ctypes.addressof, ctypes.c_char.from_buffer


def gather(spans: Iterable[memoryview], into: U8) -> None:
    """Copy spans end to end."""
    bytes_into = memoryview(into)
    base: int = into.__array_interface__["data"][0]
    at = start = begin = stop = 0  # a run of long neighbours: bytes begin..stop of memory, to be copied to start
    for span in spans:
        n = len(span)
        if n > SHORT_BYTES and not span.readonly:
            here = _address(_from_buffer(span))
            if here != stop:
                _copy(base + start, begin, stop - begin)
                start, begin = at, here
            stop = here + n
        elif n > SHORT_BYTES:
            into[at : at + n] = np.frombuffer(span, np.uint8)
        elif n:
            bytes_into[at : at + n] = span.cast("B")
        at += n
        if n <= SHORT_BYTES or span.readonly:
            _copy(base + start, begin, stop - begin)
            begin = stop = 0
    _copy(base + start, begin, stop - begin)


def _copy(to: int, source: int, n: int) -> None:
    """Copy memory; the interpreter is let go meanwhile."""
    if n:
        ctypes.memmove(to, source, n)
