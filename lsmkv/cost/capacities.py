"""How many levels a tree has."""

from __future__ import annotations

from lsmkv.cost.checks import number

__all__ = ["levels"]

TOLERANCE = 1e-9
"""Relative: a tree that fills its levels to the last entry does not get one more because of a rounding error."""


def levels(entries: float, entry_bytes: float, buffer_bytes: float, size_ratio: float) -> int:
    """Levels (>= 1, the buffer not counted) of a tree of ``entries`` entries of ``entry_bytes`` each.

    ``L = ceil(log_T(N E / M_buffer * (T-1)/T))``, the papers' count: the last level has the share ``(T-1)/T`` of all data and
    may hold ``T^L`` buffers. (lsmkv's own levels hold ``(T-1) T^(i-1)`` buffers, ``T^L - 1`` together, so that a tree that is
    just filling up may have one level more: :func:`lsmkv.cost.predict` looks at the real tree.) The ceiling is tolerant of
    rounding (relative 1e-9), and a tree that would fit the buffer has one level. Units: entries, bytes, bytes, 1.

    Raises InvalidArgumentError unless all are finite and positive and ``size_ratio`` is at least 2.

    Source: design section 5; Monkey (SIGMOD 2017) and Dostoevsky (SIGMOD 2018) count alike.

    >>> levels(entries=10_000_000, entry_bytes=100, buffer_bytes=10_000_000, size_ratio=4)
    4
    >>> levels(entries=5**4 * 5 / 4, entry_bytes=1, buffer_bytes=1, size_ratio=5)  # full to the last entry
    4
    """
    total = number("entries", entries, above=True) * number("entry_bytes", entry_bytes, above=True)
    buffers = total / number("buffer_bytes", buffer_bytes, above=True)
    ratio = number("size_ratio", size_ratio, 2.0)
    last = buffers * (ratio - 1) / ratio / (1 + TOLERANCE)
    count, holds = 1, ratio
    while holds < last:
        count, holds = count + 1, holds * ratio
    return count
