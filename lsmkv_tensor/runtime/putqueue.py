"""Pages that were accepted and wait to be written: a bounded queue between a server and its disk.

``offer`` never waits for the disk: it takes what there is room for, in order, and declines the rest. What it takes is copied, so
the caller's memory is free again, and can be read from here until it is in the index: a page is in the queue, then in both, then
in the index alone, and whoever asks the queue first and the index second never sees it missing.

The pages of a call wait in pieces of at most PIECE_BYTES, each handed over once it is copied: the disk begins while the rest
is copied, and room comes back piece by piece. Pieces run one after the other, in the order they came; neighbours that the same
sink writes go together, so that single pages reach the disk in large writes, too. ``drain`` waits for those accepted before it.

A page whose write fails or finds no space is lost like one that a store without a queue would have declined, and counted there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from lsmkv.env.sync import Condition, current_thread_id, ends_the_process
from lsmkv_tensor.errors import ClosedError
from lsmkv_tensor.runtime.putmemory import PutMemory
from lsmkv_tensor.runtime.putpieces import Call, Fill, Piece, Sink, Told, Verdict, never

__all__ = ["PIECE_BYTES", "Finished", "PutQueue"]

PIECE_BYTES = 8 << 20
"""Bytes of pages that are copied, and handed over, at a time."""
TOGETHER_BYTES = 32 << 20
"""Bytes of pages that are written at a time, if the disk has fallen so far behind: what a write takes beside its bytes (0.7 ms,
more beside threads that copy) counts for less. At most a quarter of the queue: room has to come back."""
BEGIN_BYTES = 2 << 20
"""Bytes that a worker with nothing to do begins with; a quarter of the queue if that is less."""
LINGER_S = 0.02
"""Seconds that less than that waits for more to go with it: a write for each of many single pages would take the interpreter
from those who put them (64 KiB one by one in LMCache's server: 0.48 ms a page, 0.83 with 2 ms)."""
ENDING_S = 0.5
"""Real seconds that a write under way is given when the time for it is over."""


class Finished(NamedTuple):
    """How a queue ended."""

    dropped_pages: int
    """Accepted, and not written because the time was over."""
    ended: bool
    """Whether no write is under way: else the disk hangs, closing would wait for it, and so might who is told what was dropped:
    nobody is."""


class PutQueue:
    """The queue of one store. Any thread may call anything; ``step`` belongs to one worker."""

    def __init__(self, limit_bytes: int, limit_pages: int, *, manual: bool) -> None:
        self._limit_bytes = limit_bytes
        self._limit_pages = limit_pages
        self._together = max(min(TOGETHER_BYTES, limit_bytes // 4), PIECE_BYTES)
        self._begin = min(BEGIN_BYTES, limit_bytes // 4)
        self._manual = manual
        self._changed = Condition()
        self._pieces: deque[Piece] = deque()
        self._pending: dict[bytes, tuple[Piece, memoryview]] = {}
        self._tickets = 0
        self._finished = 0
        self._dropped = 0
        self._unbegun = 0
        self._lingers = False
        self._shut = False
        self._worker: int | None = None
        self.memory = PutMemory(limit_bytes, ready=not manual)
        self.wake: Callable[[float], None] = lambda _: None
        """Called when there is work, to be begun so many seconds from now."""
        self.bytes = 0
        """Bytes of pages accepted and not yet written."""
        self.pages = 0
        self.accepted_pages = 0
        self.declined_pages = 0
        """Pages for which there was no room."""
        self.failed_jobs = 0
        """Writes that raised."""
        self.last_error: BaseException | None = None

    def offer(
        self,
        keys: Sequence[bytes],
        size: int,
        fill: Fill,
        sink: Sink,
        *,
        what: Any = None,  # noqa: ANN401  # the sink's own
        group: Hashable = None,
        told: Told | None = None,
        ended: Callable[[], bool] = never,
    ) -> int:
        """Accept the first pages of a call, as many as there is room for; how many.

        ``size``: bytes of each. ``fill`` brings some of them into the queue's memory. ``sink`` will store them, together with
        neighbours of the same ``sink`` and ``group``; it finds ``what`` in each piece. ``told``: see Told. ``ended`` says whether
        they have ended: from then on they are not here any more.
        """
        with self._changed:
            room = min(len(keys), (self._limit_bytes - self.bytes) // size, self._limit_pages - self.pages)
            n = 0 if self._shut else max(room, 0)
            self.declined_pages += len(keys) - n
            if not n:
                return 0
            self.bytes += n * size
            self.pages += n
        call = Call(keys, size, sink, what, group, told, ended)
        step, accepted = max((PIECE_BYTES if self._pieces else BEGIN_BYTES) // size, 1), 0
        try:
            while accepted < n and self._accept(call, range(accepted, min(accepted + step, n)), fill):
                accepted = min(accepted + step, n)
                self._have_written()
                step = max(PIECE_BYTES // size, 1)
        finally:
            if accepted < n:  # it was shut meanwhile, or there is no memory
                with self._changed:
                    self.bytes -= (n - accepted) * size
                    self.pages -= n - accepted
                    self.declined_pages += n - accepted
                    self._changed.notify_all()
        return accepted

    def _accept(self, call: Call, at: range, fill: Fill) -> bool:
        """Copy a piece, to be written; False if nothing is accepted any more, or there is no memory."""
        loan = self.memory.take(len(at), call.size)
        if loan is None:
            return False
        piece = Piece(call, at, loan)
        try:
            done = at.start
            for array, pages in loan.runs:
                fill(done, done + pages, array)
                done += pages
            with self._changed:
                if not self._shut:
                    self._tickets += 1
                    piece.ticket = self._tickets
                    self._pieces.append(piece)
                    self._pending.update(zip(piece.keys, ((piece, page) for page in piece.pages), strict=True))
                    self.accepted_pages += len(at)
                    self._unbegun += piece.nbytes
        finally:
            if not piece.ticket:
                self.memory.give(loan)
        return bool(piece.ticket)

    def _have_written(self) -> None:
        """Wake the worker for what waits: at once, or a little later."""
        if self._unbegun >= self._begin or 4 * self.pages >= self._limit_pages:
            self.wake(0.0)
        elif not self._lingers:
            self._lingers = True
            try:
                self.wake(LINGER_S)
            except BaseException:  # an interrupted caller: the next one wakes it
                self._lingers = False
                raise

    @property
    def full(self) -> bool:
        """Whether less than a sixteenth is free."""
        return (
            16 * (self._limit_bytes - self.bytes) < self._limit_bytes or 16 * (self._limit_pages - self.pages) < self._limit_pages
        )

    def holds(self, keys: Sequence[bytes]) -> list[bool] | None:
        """Which pages are here; None if none is at all."""
        if not self._pending:
            return None
        with self._changed:
            return [(there := self._pending.get(key)) is not None and not there[0].ended() for key in keys]

    def found(self, key: bytes) -> tuple[Any, int] | None:
        """What its sink finds of a page that is here: the call's ``what``, and the page's position in the call."""
        with self._changed:
            there = self._pending.get(key)
            return None if there is None else (there[0].what, there[0].at[there[0].keys.index(key)])

    @contextmanager
    def holding(self, keys: Sequence[bytes]) -> Iterator[dict[int, memoryview]]:
        """The pages that are here, by position in ``keys``, for as long as the block lasts."""
        found: dict[int, memoryview] = {}
        pieces: list[Piece] = []
        if self._pending:
            with self._changed:
                for i, key in enumerate(keys):
                    there = self._pending.get(key)
                    if there is not None and not there[0].ended():
                        piece, found[i] = there
                        piece.users += 1
                        pieces.append(piece)
        try:
            yield found
        finally:
            for piece in pieces:
                self._let_go(piece)

    def step(self) -> bool:
        """Write the oldest piece, and what can go with it; whether there may be more."""
        self._lingers = False
        with self._changed:
            pieces = self._next()
            if not pieces:
                return False
            self._unbegun -= sum(piece.nbytes for piece in pieces)
            before, self._worker = self._worker, current_thread_id()
        verdicts: Sequence[Verdict] = ()
        try:
            verdicts = pieces[0].sink(pieces)
        except Exception as error:  # noqa: BLE001 - nobody waits for this call: it is counted, and told where the owner looks
            self.failed_jobs += 1
            self.last_error = error
        finally:
            try:
                self._end(pieces, verdicts)
            finally:
                with self._changed:
                    self._finished = max(self._finished, pieces[-1].ticket)
                    self._worker = before
                    self._changed.notify_all()
        return bool(self._pieces)

    def drain(self, given_up: Callable[[], bool] = never) -> bool:
        """Wait until everything accepted so far is written; False if it is not, as ``given_up`` says that it cannot be now.

        From inside a write (a callback): all but that. ``given_up`` is asked at first, after every write, and after :meth:`stir`.
        ClosedError if :meth:`finish` drops pages meanwhile.
        """
        with self._changed:
            last, dropped = self._tickets, self._dropped
            if self._worker == current_thread_id():
                last = self._pieces[-1].ticket if self._pieces else 0
                inline = True
            else:
                inline = self._manual
        while inline and self._pieces and self._pieces[0].ticket <= last:
            if given_up():
                return False
            self.step()
        if inline:
            return True
        self.wake(0.0)
        with self._changed:
            while self._finished < last or (self._shut and self._worker is not None):  # what is dropped overtakes a write
                if given_up():
                    return False
                self._changed.wait()
            if self._dropped > dropped:
                what = "the queue of puts (pages that waited in it were dropped)"
                raise ClosedError(what)
        return True

    def await_room(self, nbytes: int, pages: int, seconds: float, given_up: Callable[[], bool] = never) -> bool:
        """Wait until there is room for so many pages of so many bytes in all, or that long; whether there is room.

        More than the queue ever holds: until it is empty. ``given_up`` as for :meth:`drain`.
        """

        def room() -> bool:
            """Whether they would be accepted now."""
            if not self.pages:
                return True
            return self.bytes + nbytes <= self._limit_bytes and self.pages + pages <= self._limit_pages

        while self._manual and not room() and not given_up() and self.step():
            pass
        if not room():
            self.wake(0.0)  # what waits for more to go with it would keep the room
        with self._changed:
            if not self._manual:
                self._changed.wait_for(lambda: room() or self._shut or given_up(), seconds)
            return room() and not self._shut

    def stir(self) -> None:
        """Have those who wait ask whether to give up."""
        with self._changed:
            self._changed.notify_all()

    def shut(self) -> None:
        """Accept nothing more; what was accepted is still written."""
        with self._changed:
            self._shut = True
            self._changed.notify_all()

    def finish(self, seconds: float) -> Finished:
        """Accept nothing more, write what was accepted for so many real seconds, and drop the rest; see Finished."""
        self.shut()
        self.wake(0.0)
        if self._manual:
            self.drain()
            return Finished(0, ended=True)
        with self._changed:
            self._changed.wait_for(lambda: not self._pending, seconds)
            dropped = list(self._pieces)
            self._pieces.clear()
            self._unbegun = 0
            ended = self._changed.wait_for(lambda: self._worker is None, ENDING_S)
        if dropped:
            try:
                self._end(dropped, (), tell=ended)
            finally:
                with self._changed:
                    self._finished = max(self._finished, dropped[-1].ticket)
                    self._dropped += len(dropped)
                    self._changed.notify_all()
        return Finished(sum(len(piece.keys) for piece in dropped), ended)

    def close(self) -> None:
        """Nothing waits any more."""
        self.memory.close()

    def forked(self) -> None:
        """In a forked child: the pages are the parent's to write. Takes no lock."""
        self._changed = Condition()
        self._shut = True
        self._pieces = deque()
        self._pending = {}
        self._finished = self._tickets
        self._worker = None
        self.memory.forked()

    # helpers

    def _next(self) -> list[Piece]:
        """The oldest piece and those behind it that can be written together with it (lock held)."""
        if not self._pieces:
            return []
        found = [self._pieces.popleft()]
        first, nbytes = found[0], found[0].nbytes
        most = PIECE_BYTES if self._shut else self._together  # the end may be near, and whoever hurries waits for one write
        while self._pieces:
            piece = self._pieces[0]
            nbytes += piece.nbytes
            if nbytes > most or piece.sink != first.sink or piece.group != first.group:
                break
            found.append(self._pieces.popleft())
        return found

    def _end(self, pieces: Sequence[Piece], verdicts: Sequence[Verdict], *, tell: bool = True) -> None:
        """These are here no more, and whoever asked for it is told what became of them; without verdicts: they are not there."""
        with self._changed:
            for piece in pieces:
                for key in piece.keys:
                    if self._pending.get(key, (None,))[0] is piece:
                        del self._pending[key]
                self.bytes -= piece.nbytes
                self.pages -= len(piece.pages)
                piece.done = True
            unused = [piece for piece in pieces if not piece.users]
            self._changed.notify_all()
        for piece in unused:
            self.memory.give(piece.loan)
        at = 0
        for piece in pieces:
            own = verdicts[at : at + len(piece.keys)] or [False] * len(piece.keys)
            at += len(piece.keys)
            if piece.told is not None and tell:
                try:
                    piece.told(piece.keys, own)
                except BaseException as error:  # as for writes; and no callback ends the worker
                    if ends_the_process(error):
                        raise
                    self.failed_jobs += 1
                    self.last_error = error

    def _let_go(self, piece: Piece) -> None:
        """A reader is done with one page."""
        with self._changed:
            piece.users -= 1
            last = piece.done and not piece.users
        if last:
            self.memory.give(piece.loan)
