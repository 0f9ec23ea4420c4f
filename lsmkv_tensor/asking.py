"""Asking a namespace what is there: the index, the queue of puts, and the account of what was not found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.errors import ClosedError
from lsmkv_tensor.finding import FoundAtOnce, FoundOne
from lsmkv_tensor.getting import ReadAtOnce
from lsmkv_tensor.keys.given import PageKey, PageKeys, index_keys, page_keys
from lsmkv_tensor.knowing import Knowing
from lsmkv_tensor.retention.touches import ASK, STORE
from lsmkv_tensor.runtime import StoreGate
from lsmkv_tensor.runtime.waterfall import Cause, Defer, at_once
from lsmkv_tensor.services import Services
from lsmkv_tensor.sharing.shared import Everywhere, leading
from lsmkv_tensor.vlog.log import ValueLog
from lsmkv_tensor.vlog.reader import PageReader

__all__ = ["Asking", "tokens_of"]

T = TypeVar("T")
U = TypeVar("U")


def tokens_of(fields: Mapping[str, object]) -> int:
    """Tokens that a page of a namespace covers, as its fields say; 1 where they do not: then pages are counted."""
    tokens = fields.get("page_tokens")
    return tokens if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens > 0 else 1


class Asking:
    """The part of :class:`lsmkv_tensor.namespaces.Namespace` that asks. Its attributes are the namespace's own."""

    services: Services
    _gate: StoreGate
    _log: ValueLog
    _reader: PageReader
    _source: PageReader | Everywhere
    _everywhere: Everywhere | None
    _prefix: bytes
    _tokens: int
    _knowing: Knowing
    found_at_once: FoundAtOnce
    """Whether these page keys (28 bytes, one at least) are all known to be stored; then this was :meth:`contains_prefix` of them.

    False says nothing, and is nowhere accounted for. The sequence is kept. I/O: none.
    """
    found_one: FoundOne
    """As :attr:`found_at_once`, of one page. I/O: none."""
    read_at_once: ReadAtOnce
    """Read one page (28-byte key) into memory that is asked for while the disk reads; then this was :meth:`get_into` of it.

    Called with the key, the memory (:data:`~lsmkv_tensor.vlog.single.Memory`: spans of together a page's length), and the moment
    by which it is back, on the clock of :meth:`Services.until`; None: whenever. What it says if the page did not come, None, says
    nothing, and is nowhere accounted for. I/O: a read.
    """

    def contains(self, keys: Sequence[PageKey], *, queued: bool = True) -> NDArray[np.bool_]:
        """Which pages are stored, here or at a sibling, or accepted and waiting to be written (not those if ``queued`` is False).

        None is if that is not known within the store's ``io_timeout_s``.

        I/O: index blocks, most often cached; a look at siblings on a miss. None where :meth:`known` says True.
        """
        if self.known(keys):
            return np.ones(len(keys), np.bool_)
        index_keys = self.index_keys(keys)

        def known() -> NDArray[np.bool_]:
            """The answer, or that it is late."""
            found = self._in_time(lambda: self._there(index_keys, queued=queued))
            return np.zeros(len(keys), np.bool_) if found is None else found

        return self._shielded("ask", known, lambda: np.zeros(len(keys), np.bool_))

    def known(self, keys: Sequence[PageKey]) -> bool:
        """Whether all of these pages are known to be stored, without asking a disk; False: :meth:`contains` knows. I/O: none."""
        return len(self._knowing.leading(keys)) == len(keys) > 0

    def contains_own(self, keys: Sequence[PageKey]) -> NDArray[np.bool_]:
        """Which pages are stored here, whatever waits and whatever siblings hold. I/O: index blocks, most often cached."""
        index_keys = self.index_keys(keys)
        return self._shielded("ask", lambda: self._log.contains(index_keys), lambda: np.zeros(len(keys), np.bool_))

    def to_store(self, keys: Sequence[PageKey], *, queued: bool = True, touch: bool = False) -> NDArray[np.bool_]:
        """Which pages a put would take: those that are not here (nor waiting, if ``queued``), and not at a sibling.

        ``Sharing.store_held``: also those at a sibling. ClosedError if the namespace was dropped. With ``queued``
        none if that is not known within the store's ``io_timeout_s``, or puts are declined. ``touch``: the others are used by
        this, as their caller will leave them out of the put. I/O: as :meth:`contains`.
        """
        index_keys = self.index_keys(keys)
        self._log.refuse_dropped(index_keys[:1], ())
        kind = STORE if touch else None
        if queued:
            there = self._there_for_queue(index_keys, touch=kind)
        else:
            there = self._shielded("ask", lambda: self._there(index_keys, queued=False, putting=True, touch=kind), lambda: None)
        if there is None:
            return np.full(len(keys), not queued)
        if touch:
            self._log.touch(STORE, [key for key, stored in zip(index_keys, there.tolist(), strict=True) if stored])
        return ~there

    def contains_prefix(self, keys: Sequence[PageKey], deadline_s: float | None = None, *, prefetch: bool = False) -> int:
        """How many pages from the first on are stored without a gap; 0 if that is not known by the deadline.

        ``deadline_s``: as for :meth:`get_into`. ``prefetch``: have the kernel begin to read these pages, and do not wait for it.

        I/O: as :meth:`contains`, up to the first gap; with ``prefetch`` a look-up of the pages and one hint a stretch of them.
        """
        if deadline_s is None and not prefetch:
            one = len(keys) == 1 and keys.__class__ is not str  # a key of one letter is no sequence either
            if one and (name := self._knowing.name(keys[0])) is not None and self.found_one(name):
                return 1
            began = self.services.clock.monotonic()
            first = self._knowing.leading(keys)
            if len(first) == len(keys) > 0:
                self.asked(first, began)
                return len(keys)
        else:
            first = ()
        until = self.services.until(deadline_s)
        attempts, fall = self.services.attempts, self.services.waterfall

        def ask() -> int:
            """What is asked, on whichever thread."""
            found = self._asked_prefix(keys, len(first))
            if prefetch and found:
                self._source.prefetch(self.index_keys(keys[:found]))
            return found

        def known() -> int | Cause:
            """The prefix, or that it is late."""
            if until is None:
                return ask()
            found = attempts.one(ask, until)
            return "late" if found is None else found

        found = self._shielded("ask", known, self.services.refusal)
        if isinstance(found, str):
            fall.refused("ask", len(keys), found, self._tokens)
            return 0
        fall.prefix(
            len(keys),
            found,
            self._tokens,
            lambda a, b: self.index_keys(keys[a:b]),
            partial(self._still_there, until),
            self._defer,
        )
        return found

    def asked(self, pages: Sequence[bytes], began_s: float) -> None:
        """These pages were asked for and are here (28-byte keys, in prefix order): whoever keeps account of that is told.

        ``began_s``: the store's monotonic time at which the call began. The sequence is kept. I/O: none.
        """
        self._log.touch(ASK, pages, self._prefix)
        self.services.waterfall.whole(len(pages), self._tokens)
        self.services.times.note("ask", self.services.clock.monotonic() - began_s)

    # helpers

    def _shielded(self, kind: Literal["ask", "read", "write"], call: Callable[[], T], otherwise: Callable[[], U]) -> T | U:
        """A call inside the gate (a put passes it itself), or what is said when the disk fails or is left alone."""

        def inside() -> T:
            """The call."""
            with self._gate:
                return call()

        if self._gate.is_shut:
            raise ClosedError(self._gate.what)
        return self.services.shielded(kind, self._log.counters, call if kind == "write" else inside, otherwise)

    def _in_time(self, ask: Callable[[], T]) -> T | None:
        """What is asked, here or with the store's ``io_timeout_s`` on a thread that may be left; None if it is late."""
        until = self.services.until(None)
        return ask() if until is None else self.services.attempts.one(ask, until)

    @property
    def _defer(self) -> Defer:
        """What keeps losses that a sibling's next look will tell of."""
        return at_once if self._everywhere is None else self._everywhere.defer

    def _still_there(self, until: float | None, index_keys: list[bytes]) -> Iterable[bool | None]:
        """Which of the pages behind a missing one are there; None: that is not known by the deadline."""

        def ask() -> list[bool]:
            """Which are."""
            found: list[bool] = self._there(index_keys).tolist()
            return found

        def in_time() -> list[bool] | None:
            """Which are, if that is known in time."""
            return ask() if until is None else self.services.attempts.one(ask, until)

        found = self._shielded("ask", in_time, lambda: [False] * len(index_keys))
        return [None] * len(index_keys) if found is None else found

    def _there_for_queue(self, index_keys: list[bytes], *, touch: int | None = None) -> NDArray[np.bool_] | None:
        """Which pages a put into the queue need not take; None: it is declined, as the disk is left alone, fails or hangs."""
        there = None
        if not self.services.breaker.declines:
            look = partial(self._there, index_keys, putting=True, touch=touch)
            there = self._shielded("ask", lambda: self._in_time(look), lambda: None)
        if there is None:
            self._declined(index_keys)
        return there

    def _declined(self, index_keys: list[bytes]) -> list[bool]:
        """Note that these pages were offered and not taken; what a put says of them."""
        flags = [False] * len(index_keys)
        self.services.note_put(index_keys, flags)
        return flags

    def _there(
        self, index_keys: list[bytes], *, queued: bool = True, putting: bool = False, touch: int | None = None
    ) -> NDArray[np.bool_]:
        """Which pages are in the queue, in the index, or at a sibling; asked in this order, none that moves on is missed.

        ``putting``: which of them need not be stored; what a power cut may have torn is read first. ``touch``: the kind of call
        that siblings are told of.
        """
        waiting = self.services.puts.holds(index_keys) if queued and self.services.puts is not None else None
        losses = self._knowing.losses
        stored = self._log.contains(index_keys)
        if not putting and stored.any():
            self._knowing.learn([key[4:] for key, flag in zip(index_keys, stored.tolist(), strict=True) if flag], losses)
        if putting and self._log.space.untried and stored.any():
            self._reader.proven([key for key, flag in zip(index_keys, stored.tolist(), strict=True) if flag])
            stored = self._log.contains(index_keys)
        there = stored if waiting is None else stored | np.array(waiting, np.bool_)
        if self._everywhere is None:
            return there
        return self._everywhere.add_siblings(index_keys, there, putting=putting, touch=touch)

    def _asked_prefix(self, keys: Sequence[PageKey], known: int) -> int:
        """As :meth:`_stored_prefix`; retention hears of it."""
        known = self._stored_prefix(keys, known)
        self._log.touch(ASK, page_keys(keys[:known]), self._prefix)
        if self._log.gatekeeper is not None and not self._log.gatekeeper.open:
            self._log.gatekeeper.sighted(self._prefix, page_keys(keys[known:]))
        return known

    def _stored_prefix(self, keys: Sequence[PageKey], known: int) -> int:
        """How many pages from the first on are here, or at a sibling, without a gap; the first ``known`` are known to be here."""
        puts = self.services.puts
        if (puts is None or puts.holds(()) is None) and not self._log.may_expire(self._prefix):
            losses, before = self._knowing.losses, known
            known += self._log.db.count_leading(PageKeys(keys[known:]), prefix=self._prefix)
            if known > before:
                self._knowing.learn(keys[before:known], losses)
            if self._everywhere is None or known == len(keys):
                return known
        return leading(lambda part: self._there(self.index_keys(keys[part]), touch=ASK), len(keys), known)

    def index_keys(self, keys: Sequence[PageKey]) -> list[bytes]:
        """Namespace number and 28-byte page key, as the index has them."""
        return index_keys(self._prefix, keys)
