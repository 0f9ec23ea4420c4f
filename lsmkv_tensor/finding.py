"""The shortest lookup: pages that are all known to be stored, said by one function in which everything is at hand.

An engine asks for one page in less time than ten calls of Python take. So this looks into the set of known pages
(:mod:`lsmkv_tensor.knowing` says what that is worth, and when nothing may be said), and notes what the accounts are to have:
they count it later, when they are read or much waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from lsmkv.env.sync import current_thread_id
from lsmkv_tensor.retention.touches import ASK
from lsmkv_tensor.runtime import StoreGate
from lsmkv_tensor.runtime.callers import CALLERS
from lsmkv_tensor.runtime.quickasks import MOST_WAITING
from lsmkv_tensor.services import Services
from lsmkv_tensor.vlog.changes import DRAIN_KEYS
from lsmkv_tensor.vlog.log import ValueLog

__all__ = ["FoundAtOnce", "FoundOne", "finder", "finder_of_one"]

FoundAtOnce: TypeAlias = Callable[[Sequence[bytes]], bool]
FoundOne: TypeAlias = Callable[[bytes], bool]


def finder(services: Services, log: ValueLog, gate: StoreGate, space: bytes, tokens: int) -> FoundAtOnce:
    """``Namespace.found_at_once`` of a view, until its store is reopened. ``space``: its number, as it begins index keys.

    ``tokens``: that a page covers.
    """
    now, breaker, quick = services.clock.monotonic, services.breaker, services.quick
    known, touch, terms = log.keeper.known.of(space).issuperset, log.touch, log.terms

    def found_at_once(pages: Sequence[bytes]) -> bool:
        """See above."""
        began = now()
        if not known(pages) or breaker.open or not gate.lets_in or (terms.expiring and log.may_expire(space)):
            return False
        touch(ASK, pages, space)
        quick.note(len(pages) * tokens, now() - began)
        return True

    return found_at_once


def finder_of_one(services: Services, log: ValueLog, gate: StoreGate, space: bytes, tokens: int) -> FoundOne:
    """``Namespace.found_one`` of a view: as :func:`finder` for one page, with nothing called that is not C's."""
    now, breaker, settle, callers, own_id = (
        services.clock.monotonic,
        services.breaker,
        services.quick.settle,
        CALLERS,
        current_thread_id,
    )
    known, touches, terms = log.keeper.known.of(space), log.keeper.touches, log.terms
    touched, waiting = touches.queue.append, services.quick.waiting
    took = waiting.append

    def found_one(page: bytes) -> bool:
        """See above."""
        began = now()
        if page not in known or breaker.open or not gate.lets_in or (terms.expiring and log.may_expire(space)):
            return False
        if touches.waiting < DRAIN_KEYS:  # as log.touch does it
            own = own_id()
            touches.waiting += 1
            touched((callers.get(own, own) if callers else own, ASK, space, (page,), None))
        else:
            log.touch(ASK, (page,), space)
        took((tokens, now() - began))
        if len(waiting) >= MOST_WAITING:
            settle()
        return True

    return found_one
