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
from lsmkv_tensor.runtime.quickasks import MOST_WAITING, View
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

    The first page that waits, and the first that finds no room, has more to do: it is timed, and what waited is counted.
    """
    now, breaker, quick, callers, own_id = services.clock.monotonic, services.breaker, services.quick, CALLERS, current_thread_id
    known, touches, terms, threads = log.keeper.known.of(space), log.keeper.touches, log.terms, quick.threads.get
    view = View(tokens, lambda thread, pages: touches.note_asks(thread, pages, space))

    def found_one(page: bytes) -> bool:
        """See above."""
        own = own_id()
        asked = threads(own)
        if not asked or asked.view is not view or len(asked) >= MOST_WAITING or (callers and own in callers):
            return and_more(page)
        if page not in known or breaker.open or not gate.lets_in or (terms.expiring and log.may_expire(space)):
            return False
        asked.append(page)
        return True

    def and_more(page: bytes) -> bool:
        """With all that is done now and then."""
        began = now()
        if page not in known or breaker.open or not gate.lets_in or (terms.expiring and log.may_expire(space)):
            return False
        caller = caller_id()
        quick.first(caller, view, page, now() - began, waits=caller == own_id())
        if touches.waiting >= DRAIN_KEYS:
            log.on_many_touches()
        return True

    return found_one
