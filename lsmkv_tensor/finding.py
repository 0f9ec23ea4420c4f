"""The shortest lookup: pages that are all known to be stored, said by one function in which everything is at hand.

An engine asks for one page in less time than ten calls of Python take. So this looks into the set of known pages
(:mod:`lsmkv_tensor.knowing` says what that is worth, and when nothing may be said). What the accounts are to have of a page that
was asked for alone is only noted: they count it later, when they are read or much waits (:mod:`lsmkv_tensor.runtime.quickasks`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from lsmkv.env.sync import current_thread_id
from lsmkv_tensor.retention.touches import ASK
from lsmkv_tensor.runtime import StoreGate
from lsmkv_tensor.runtime.callers import CALLERS, caller_id
from lsmkv_tensor.runtime.quickasks import AS_BEFORE, MOST_WAITING
from lsmkv_tensor.services import Services
from lsmkv_tensor.vlog.changes import DRAIN_KEYS
from lsmkv_tensor.vlog.log import ValueLog

__all__ = ["FoundAtOnce", "FoundOne", "finder", "finder_of_one"]

FoundAtOnce: TypeAlias = Callable[[Sequence[bytes]], bool]
FoundOne: TypeAlias = Callable[[bytes], bool]

ONE_TIMED = 16
"""Of so many lookups of one page one is timed: two looks at the clock are a seventh of it."""


def finder(services: Services, log: ValueLog, gate: StoreGate, space: bytes, tokens: int) -> FoundAtOnce:
    """``Namespace.found_at_once`` of a view, until its store is reopened. ``space``: its number, as it begins index keys.

    ``tokens``: that a page covers.
    """
    now, breaker, whole, took = services.clock.monotonic, services.breaker, services.waterfall.whole, services.times.note
    known, touch, terms = log.keeper.known.of(space).issuperset, log.touch, log.terms

    def found_at_once(pages: Sequence[bytes]) -> bool:
        """See above."""
        began = now()
        if not known(pages) or breaker.open or not gate.lets_in or (terms.expiring and log.may_expire(space)):
            return False
        touch(ASK, pages, space)
        whole(len(pages), tokens)
        took("ask", now() - began)
        return True

    return found_at_once


def finder_of_one(services: Services, log: ValueLog, gate: StoreGate, space: bytes, tokens: int) -> FoundOne:
    """``Namespace.found_one`` of a view: as :func:`finder` for one page, with nothing called that is not C's.

    One call in ONE_TIMED has more to do: it is timed, and looks how much waits.
    """
    now, breaker, quick = services.clock.monotonic, services.breaker, services.quick
    known, touches, terms = log.keeper.known.of(space), log.keeper.touches, log.terms
    notes, waiting, callers, own_id = touches.queue, quick.of(tokens), CALLERS, current_thread_id
    touched, took = notes.append, waiting.append

    def found_one(page: bytes) -> bool:
        """See above."""
        if not len(notes) % ONE_TIMED:
            return and_more(page)
        if page not in known or breaker.open or not gate.lets_in or (terms.expiring and log.may_expire(space)):
            return False
        own = own_id()
        touched((callers.get(own, own) if callers else own, ASK, space, page, None))
        took(AS_BEFORE)
        return True

    def and_more(page: bytes) -> bool:
        """With all that is done now and then."""
        began = now()
        if page not in known or breaker.open or not gate.lets_in or (terms.expiring and log.may_expire(space)):
            return False
        if len(notes) < DRAIN_KEYS:
            touched((caller_id(), ASK, space, page, None))
        else:  # so much waits that somebody is to be woken, or this is not noted
            touches.waiting = max(touches.waiting, len(notes))
            log.touch(ASK, (page,), space)
        took(now() - began)
        if len(waiting) >= MOST_WAITING:
            quick.settle()
        return True

    return found_one
