"""Putting pages into the queue: they are copied, can be found and read at once, and a worker writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.errors import InvalidArgumentError
from lsmkv_tensor.keys.given import PageKey
from lsmkv_tensor.retention.terms import checked_ttl
from lsmkv_tensor.retention.touches import STORE
from lsmkv_tensor.runtime import StoreGate
from lsmkv_tensor.runtime.callers import caller_id, working_for
from lsmkv_tensor.runtime.putpieces import Piece, Verdict
from lsmkv_tensor.runtime.putqueue import PIECE_BYTES
from lsmkv_tensor.services import Services
from lsmkv_tensor.spans import PageBuffers, page_views
from lsmkv_tensor.vlog.log import ValueLog

__all__ = ["Offered", "Offering", "PagesTold", "waiting_pages"]

UNASKED_BYTES = PIECE_BYTES
"""Bytes of a call that are copied without asking first what is there, where asking needs a thread (``io_timeout_s``): beside a
busy writer that takes longer (2 ms) than the copy. The writer asks."""

PagesTold: TypeAlias = Callable[[Sequence[bytes], Sequence[Verdict]], None]
"""Told what became of accepted pages, by 28-byte page key: they are there (True), lost (False), or admission did not want them
(None)."""


class Offered(NamedTuple):
    """What became of pages that were offered."""

    flags: list[bool]
    """Per page: it is there, or was accepted."""
    new: set[int]
    """Positions of the pages that were accepted by this call."""


class _Group(NamedTuple):
    """What pages that are written together have in common."""

    end: int | None
    """The minute at which they end."""
    caller: int
    """Whose request they belong to, for retention."""


class _Pages(NamedTuple):
    """Pages of one call that wait, as their writer needs them."""

    above: list[bytes]
    notes: list[bytes | None]
    end: int | None


def waiting_pages(above: list[bytes], notes: Sequence[bytes | None] | None, end: int | None) -> _Pages:
    """What the writer of these pages needs; ``above``: their parents, ``end``: the minute at which they end."""
    return _Pages(above, list(notes) if notes is not None else [None] * len(above), end)


class Offering:
    """The part of :class:`lsmkv_tensor.namespaces.Namespace` about the queue. Its attributes are the namespace's own."""

    services: Services
    page_bytes: int
    _gate: StoreGate
    _log: ValueLog
    _ttl_s: float | None
    _parents: Callable[[Sequence[PageKey | None] | None, int], list[bytes]]
    index_keys: Callable[[Sequence[PageKey]], list[bytes]]
    _end: Callable[[float | None], int | None]
    _declined: Callable[[list[bytes]], list[bool]]
    _there_for_queue: Callable[..., NDArray[np.bool_] | None]
    _shielded: Callable[..., Any]
    _put: Callable[..., list[bool]]

    @property
    def queue_bytes(self) -> int:
        """Bytes of pages that may wait to be written (``StoreOptions.put_queue_bytes``); 0: there is no queue."""
        return self.services.options.put_queue_bytes

    def waiting(self, keys: Sequence[PageKey]) -> list[bool]:
        """Which pages were accepted by the queue and wait to be written. I/O: none."""
        puts = self.services.puts
        found = None if puts is None else puts.holds(self.index_keys(keys))
        return [False] * len(keys) if found is None else found

    def waiting_note(self, key: PageKey) -> bytes | None:
        """The note that a page which waits to be written was offered with; afterwards it is a record. I/O: none."""
        puts = self.services.puts
        found = None if puts is None else puts.found(self.index_keys([key])[0])
        return found[0].notes[found[1]] if found is not None and isinstance(found[0], _Pages) else None

    def offer(
        self,
        keys: Sequence[PageKey],
        buffers: PageBuffers,
        parents: Sequence[PageKey | None] | None = None,
        *,
        notes: Sequence[bytes | None] | None = None,
        told: PagesTold | None = None,
        wait_s: float = 0.0,
        ttl_s: float | None = None,
        ask_first: bool = True,
    ) -> Offered:
        """As :meth:`Namespace.put_many` with ``wait=False``, for callers that keep accounts, and for those that may wait.

        ``notes``: per page a small record under the page's own 28-byte key, written with the page (see
        :meth:`Namespace.records`). ``told``: called by the thread that writes, for the pages that this call accepted, some at a
        time, when it is known what became of them; it must not wait for the queue. ``wait_s``: seconds to wait for room in the
        queue, piece by piece, before the rest is declined. ``ask_first``: False copies a small call without asking what is there,
        as put_many does: the writer finds out, and until then such a page counts as accepted.

        Raises InvalidArgumentError (counts or sizes that do not fit, a store without a queue; nothing is stored), ClosedError.

        I/O: index blocks, most often cached. The worker's: as put_many.
        """
        if self.services.queue_for(wait=False) is None:  # pragma: no cover  # it raises
            return Offered([], set())
        if notes is not None and len(notes) != len(keys):
            msg = f"{len(notes)} notes for {len(keys)} keys"
            raise InvalidArgumentError(msg)
        views = page_views(buffers, len(keys), self.page_bytes)
        end = self._end(checked_ttl(ttl_s) or self._ttl_s)
        pages = waiting_pages(self._parents(parents, len(keys)), notes, end)
        return self._offer(self.index_keys(keys), views, pages, told, wait_s, asks=ask_first)

    def _offer(
        self,
        index_keys: list[bytes],
        views: list[list[memoryview]],
        pages: _Pages,
        told: PagesTold | None = None,
        wait_s: float = 0.0,
        *,
        asks: bool = False,
    ) -> Offered:
        """Put pages that are not there into the queue."""
        services = self.services
        if services.breaker.declines:
            return Offered(self._declined(index_keys), set())
        with self._gate:
            self._log.refuse_dropped(index_keys[:1], ())
            if not asks and len(index_keys) * self.page_bytes <= UNASKED_BYTES and services.options.io_timeout_s is not None:
                assert services.puts is not None
                waits = services.puts.holds(index_keys) or [False] * len(index_keys)
                known: NDArray[np.bool_] | None = np.array(waits, np.bool_)  # of the others the writer finds out
            else:
                known = self._there_for_queue(index_keys, touch=STORE) if index_keys else np.empty(0, np.bool_)
            if known is None:  # nobody knows what would have to be written
                return Offered([False] * len(index_keys), set())
            there: list[bool] = known.tolist()
            self._log.touch(STORE, [key for key, stored in zip(index_keys, there, strict=True) if stored])
        verdicts = dict(zip(index_keys, there, strict=True))
        first: dict[bytes, int] = {}
        for i, key in enumerate(index_keys):
            if not verdicts[key]:
                first.setdefault(key, i)
        self._log.counters.present_pages += len(index_keys) - len(first)
        new = list(first)
        accepted = self._accepted(new, list(first.values()), views, pages, told, wait_s) if new else 0
        verdicts.update(dict.fromkeys(new[:accepted], True))
        return Offered([verdicts[key] for key in index_keys], {first[key] for key in new[:accepted]})

    def _accepted(
        self,
        keys: list[bytes],
        at: list[int],
        views: list[list[memoryview]],
        pages: _Pages,
        told: PagesTold | None,
        wait_s: float,
    ) -> int:
        """How many of the first of these are accepted, by position in the call; room is waited for outside the gate."""
        services, until = self.services, self.services.attempts.until(wait_s)
        own = _Pages([pages.above[i] for i in at], [pages.notes[i] for i in at], pages.end)
        mine = [views[i] for i in at]
        tell = None if told is None else partial(_by_page_key, told)
        accepted = 0
        while True:
            rest = _Pages(own.above[accepted:], own.notes[accepted:], own.end)
            with self._gate:
                accepted += services.offer(
                    keys[accepted:], self.page_bytes, mine[accepted:], self._write_pieces,
                    what=rest, group=_Group(pages.end, caller_id()), told=tell, ended=partial(self._ended, pages.end),
                )  # fmt: skip
            left = services.attempts.remaining(until) if wait_s else 0.0
            if accepted == len(keys) or not left or not services.await_some_room(self.page_bytes, len(keys) - accepted, left):
                return accepted

    def _ended(self, end: int | None) -> bool:
        """Whether pages that end at this minute have."""
        return end is not None and self._log.minute() >= end

    def _write_pieces(self, pieces: Sequence[Piece]) -> list[Verdict]:
        """Write pages that waited, unless they have ended; what became of each."""
        group = pieces[0].group
        assert isinstance(group, _Group)
        own = [key for piece in pieces for key in piece.keys]
        if self._ended(group.end):
            return [False] * len(own)
        spans = [[page] for piece in pieces for page in piece.pages]
        above = [piece.what.above[i] for piece in pieces for i in piece.at]
        notes = (piece.what.notes[i] for piece in pieces for i in piece.at)
        records: Mapping[bytes, bytes] = {key[4:]: note for key, note in zip(own, notes, strict=True) if note is not None}
        unwanted: set[int] = set()
        with working_for(group.caller):
            flags: list[bool] = self._shielded(
                "write", lambda: self._put(own, spans, above, records or None, group.end, unwanted), lambda: [False] * len(own)
            )
        return [None if i in unwanted else flag for i, flag in enumerate(flags)]


def _by_page_key(told: PagesTold, keys: Sequence[bytes], verdicts: Sequence[Verdict]) -> None:
    """Tell by page key what is known by index key."""
    told([key[4:] for key in keys], verdicts)
