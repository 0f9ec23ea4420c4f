"""The shortest lookup: pages that are all known to be stored, said by one function in which everything is at hand.

An engine asks for one page in less time than ten calls of Python take. So this looks into the set of known pages
(:mod:`lsmkv_tensor.knowing` says what that is worth, and when nothing may be said), and notes what the accounts are to have:
they count it later, when they are read or much waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from lsmkv_tensor.retention.touches import ASK
from lsmkv_tensor.runtime import StoreGate
from lsmkv_tensor.runtime.callers import caller_id
from lsmkv_tensor.runtime.calltimes import MOST_WAITING
from lsmkv_tensor.services import Services
from lsmkv_tensor.vlog.changes import DRAIN_KEYS
from lsmkv_tensor.vlog.log import ValueLog

__all__ = ["FoundAtOnce", "finder"]

FoundAtOnce: TypeAlias = Callable[[Sequence[bytes]], bool]


def finder(services: Services, log: ValueLog, gate: StoreGate, space: bytes, tokens: int) -> FoundAtOnce:
    """``Namespace.found_at_once`` of a view, until its store is reopened. ``space``: its number, as it begins index keys.

    ``tokens``: that a page covers.
    """
    now, breaker, fall, times = services.clock.monotonic, services.breaker, services.waterfall, services.times
    known, touches, terms = log.keeper.known.of(space).issuperset, log.keeper.touches, log.terms
    touched, wholes, took = touches.queue.append, fall.wholes.append, times.waiting.append

    def found_at_once(pages: Sequence[bytes]) -> bool:
        """See above."""
        began = now()
        if not known(pages) or breaker.open or not gate.lets_in or (terms.expiring and log.may_expire(space)):
            return False
        if touches.waiting < DRAIN_KEYS:
            touches.waiting += len(pages)
            touched((caller_id(), ASK, space, pages, None))  # as log.touch does it
        else:
            log.touch(ASK, pages, space)
        wholes(len(pages) * tokens)
        took(("ask", now() - began))
        if len(fall.wholes) >= MOST_WAITING or len(times.waiting) >= MOST_WAITING:  # either may have been counted by itself
            fall.settle_wholes()
            times.settle()
        return True

    return found_at_once
