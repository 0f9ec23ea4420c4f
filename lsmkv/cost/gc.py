"""What garbage collection of a value log costs: u is the live share of the segments it picks.

Reclaiming a segment of which the share u is live gains ``1 - u`` of its room and writes u of it again, so ``1/(1-u)`` bytes are
written per byte put. How small u can be depends on how full the log is: alpha, the live bytes over all bytes of segments.

Sources: the write cost is that of the log-structured file system (Rosenblum, Ousterhout, 1992); u under uniform overwrites is the
classic result for reclaiming the oldest segment (Menon, 1995; the same for flash by Desnoyers, 2012).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

from lsmkv.cost.checks import number

__all__ = ["JointBytes", "fill_for", "joint_bytes_per_put", "live_share", "space_bound", "write_amplification", "write_bound"]

STEPS = 200
"""Halvings of the interval that holds u: more than a float can tell apart."""


def live_share(alpha: float) -> float:
    """``u = e^(-(1-u)/alpha)``: the live share of the oldest segment when keys are overwritten uniformly at random.

    alpha (above 0, below 1) is the live share of the whole log. Between the writing of a segment and its turn, ``(1-u)/alpha``
    times the live bytes were overwritten, and a page survives that many overwrites of random pages with this probability. u = 1
    solves it always; the other solution is meant. Picking the emptiest segment does no better under uniform overwrites,
    except for chance; under skew it does, and this is an upper bound.

    >>> [round(live_share(alpha), 3) for alpha in (0.5, 0.8, 0.9)]
    [0.203, 0.629, 0.807]
    """
    full = number("alpha", alpha, above=True)
    if full >= 1:
        number("alpha", alpha, 0, 1 - 1e-12)
    low, high = 0.0, full  # at u = alpha the right side is smaller than u: the solution lies below
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if exp(-(1 - middle) / full) > middle else (low, middle)
    return (low + high) / 2


def fill_for(u: float) -> float:
    """``alpha = (1-u) / ln(1/u)``: how full the log is when the oldest segment has the live share u (above 0, below 1).

    >>> round(fill_for(live_share(0.8)), 6)
    0.8
    """
    share = number("u", u, 0, 1 - 1e-12, above=True)
    return (1 - share) / -log(share)


def write_amplification(u: float) -> float:
    """``1 / (1-u)``: bytes written to the log per byte put.

    >>> write_amplification(0.5)
    2.0
    """
    return 1 / (1 - number("u", u, 0, 1 - 1e-12))


def space_bound(threshold: float) -> float:
    """``1 / theta``: bytes of sealed segments per live byte, at most, if segments with a live share below theta are reclaimed.

    Every segment that stays is live by theta (above 0, at most 1), so the whole is. The active segment is apart.

    >>> space_bound(0.5)
    2.0
    """
    return 1 / number("threshold", threshold, 0, 1, above=True)


def write_bound(threshold: float) -> float:
    """``1 / (1-theta)``: bytes written per byte put, at most, if only segments with a live share below theta are reclaimed.

    With :func:`space_bound`: less space is more writing, theta = 1/2 costs two of each.

    >>> write_bound(0.5)
    2.0
    """
    return write_amplification(threshold)


@dataclass(frozen=True, slots=True)
class JointBytes:
    """Bytes moved, in the end, for one put of a page."""

    log_write: float
    """Into the value log, copies of survivors included."""
    gc_read: float
    """Out of it, for those copies."""
    index_write: float
    """Into tables of the index, for the put and each time its page moves."""

    @property
    def total(self) -> float:
        """All of them."""
        return self.log_write + self.gc_read + self.index_write


def joint_bytes_per_put(
    page_bytes: float, u: float, index_entry_bytes: float, index_copies: float, *, reads_whole_segments: bool = False
) -> JointBytes:
    """``V/(1-u) + GC reads + index``: bytes of log and index per put of a page of V bytes (design section 5).

    Collection reads the survivors, ``V u/(1-u)``, or whole segments, ``V/(1-u)``. The index writes an entry for the put and one
    for each move, ``1/(1-u)`` in all, each ``index_copies`` times (``Cost.update_copies``).

    >>> joint_bytes_per_put(2 << 20, 0.5, 100, 10).index_write / (2 << 20) < 0.001  # the index is nothing beside large pages
    True
    >>> joint_bytes_per_put(4096, 0.5, 100, 10)
    JointBytes(log_write=8192.0, gc_read=4096.0, index_write=2000.0)
    """
    page = number("page_bytes", page_bytes, above=True)
    written = write_amplification(u)
    entry = number("index_entry_bytes", index_entry_bytes) * number("index_copies", index_copies)
    return JointBytes(page * written, page * (written if reads_whole_segments else written - 1), entry * written)
