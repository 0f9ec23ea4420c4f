"""Copying pages out of the caller's memory, at the speed of memory.

Whoever lets go of the interpreter for a copy waits for it afterwards: up to 5 ms, beside a thread that never waits. So short
copies keep it, and long ones are made as long as possible: spans that follow each other in memory are one, and so are pages whose
spans lie at equal distances, as in a pool of pages that were given out in order (:func:`gather_pages`): 8 MiB of them are one
copy, beside which the thread that writes finds the interpreter free.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np

from lsmkv.base.columns import I64, U8

__all__ = ["SHORT_BYTES", "gather", "gather_pages"]

SHORT_BYTES = 256 << 10
"""A span that is copied without letting go of the interpreter: some 40 us."""
FEW_SPANS = 8
"""Spans of a page up to which it is worth asking each for its address: 0.4 us a span."""

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


def gather_pages(pages: Sequence[Sequence[memoryview]], into: U8) -> None:
    """Copy pages of equal size (per page its spans) to places of equal size, of which they may leave the end as it is."""
    if not len(pages):
        return
    stride, size = len(into) // len(pages), sum(map(len, pages[0]))
    addresses = _addresses(pages) if len(into) > SHORT_BYTES else None
    for start, stop in [(0, len(pages))] if addresses is None else _even_runs(addresses):
        place = into[start * stride : stop * stride]
        if addresses is not None and stop - start > 1 and len(place) > SHORT_BYTES:
            _copy_even(addresses[start:stop], [len(span) for span in pages[start]], place)
        elif stride == size:
            gather(chain.from_iterable(pages[start:stop]), place)
        else:
            for at, page in enumerate(pages[start:stop]):
                gather(page, place[at * stride : at * stride + size])


def _addresses(pages: Sequence[Sequence[memoryview]]) -> I64 | None:
    """Where the spans lie [pages, spans]; None if they are many, or not alike, or may not be asked."""
    lengths = [len(span) for span in pages[0]]
    if len(lengths) > FEW_SPANS or 0 in lengths:
        return None
    found: list[list[int]] = []
    for page in pages:
        if [len(span) for span in page] != lengths or any(span.readonly for span in page):
            return None
        found.append([_address(_from_buffer(span)) for span in page])
    return np.array(found, np.int64)


def _even_runs(addresses: I64) -> Iterator[tuple[int, int]]:
    """Pages, from the first to before the last, each of which lies as far behind the one before it with every span."""
    steps = np.diff(addresses, axis=0)
    even = (steps == steps[:, :1]).all(axis=1) & (steps[:, 0] > 0)
    start, step = 0, None
    for at, (here, ok) in enumerate(zip(steps[:, 0].tolist(), even.tolist(), strict=True), 1):
        if ok and step in (None, here):
            step = here
        else:
            yield start, at
            start, step = at, None
    yield start, len(addresses)


def _copy_even(addresses: I64, lengths: Sequence[int], into: U8) -> None:
    """Copy pages that lie at equal distances: one copy if their spans do, too, else one for each span of a page."""
    n, stride, step = len(addresses), len(into) // len(addresses), int(addresses[1, 0] - addresses[0, 0])
    between = np.diff(addresses[0])
    if len(set(lengths)) == 1 and len(set(between.tolist())) <= 1 and (between > 0).all():
        shape = (n, len(lengths), lengths[0])
        source = _memory(int(addresses[0, 0]), shape, (step, int(between[0]) if len(between) else lengths[0], 1))
        np.copyto(np.ndarray(shape, np.uint8, into, 0, (stride, lengths[0], 1)), source)
        return
    at = 0
    for address, length in zip(addresses[0].tolist(), lengths, strict=True):
        source = _memory(address, (n, length), (step, 1))
        np.copyto(np.ndarray((n, length), np.uint8, into, at, (stride, 1)), source)
        at += length


def _memory(address: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> U8:
    """Memory as an array; the window covers what lies between, the array does not."""
    extent = 1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    window = (ctypes.c_ubyte * extent).from_address(address)
    return np.ndarray(shape, np.uint8, window, 0, strides)


def _copy(to: int, source: int, n: int) -> None:
    """Copy memory; the interpreter is let go meanwhile."""
    if n:
        ctypes.memmove(to, source, n)
