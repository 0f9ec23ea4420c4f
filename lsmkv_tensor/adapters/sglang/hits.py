"""How long a prefix can be restored when several pools must hold their part of it. Pure: flags in, page counts out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["PoolAsk", "PrefixHit", "restorable_prefix"]

ALL_PAGES = "all_pages"
TRAILING_PAGES = "trailing_pages"


class PoolAsk(NamedTuple):
    """A pool beside the KV pool: which of the chain's pages it holds, and which it must hold."""

    name: str
    held: NDArray[np.bool_]
    """[pages of the KV prefix]."""
    policy: str
    """"all_pages": every page of a prefix; "trailing_pages": the last ``window`` pages of it. Others never shorten a prefix, and
    get no verdict."""
    window: int = 1


class PrefixHit(NamedTuple):
    """What can be restored."""

    pages: int
    """The longest prefix."""
    boundaries: dict[str, int]
    """For each pool the longest prefix that it alone allows; only where that is not 0."""
    restorable: list[int]
    """All prefix lengths that every pool allows, ascending."""


def restorable_prefix(kv_pages: int, pools: Sequence[PoolAsk], kv: str = "kv") -> PrefixHit:
    """Which prefixes can be restored when the KV pool holds the first ``kv_pages`` pages without a gap.

    A length p is allowed by an "all_pages" pool that holds pages [0, p), by a "trailing_pages" pool that holds [p - window, p)
    (from 0 on for shorter prefixes).
    """
    allowed = np.ones(kv_pages, np.bool_)  # position p - 1: a prefix of p pages
    boundaries = {kv: kv_pages} if kv_pages else {}
    for pool in pools:
        if pool.policy not in (ALL_PAGES, TRAILING_PAGES):
            continue
        held = pool.held[:kv_pages]
        if pool.policy == ALL_PAGES:
            here = np.logical_and.accumulate(held)
        else:
            missing = np.concatenate([[0], np.cumsum(~held)])
            ends = np.arange(1, kv_pages + 1)
            here = missing[ends] == missing[np.maximum(ends - max(pool.window, 1), 0)]
        lengths = np.flatnonzero(here)
        if len(lengths):
            boundaries[pool.name] = int(lengths[-1]) + 1
        allowed &= here
    restorable = (np.flatnonzero(allowed) + 1).tolist()
    return PrefixHit(restorable[-1] if restorable else 0, boundaries, restorable)
