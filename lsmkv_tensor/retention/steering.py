"""The controller of a page store: it watches what is used and offered, decides what to admit, and says so.

It is told of pages in the order in which the eviction policy is, in the background, and of those that admission refused.
A sample of them goes through miniatures of the store (:mod:`.shadows`), one for each admission. After so many bytes it looks:
what decides is :func:`.steering_decide.decide`. On the path of a call nothing is done for it but what second sight costs
(:mod:`.admission`), since a change to that must know who was seen before; with "advise" not even that.

Not safe for several threads: used under the commit lock. I/O: a line of the journal for each decision and outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple, Protocol

from lsmkv.controller.journal import last_number, read_journal
from lsmkv.env.fs import FileSystem
from lsmkv_tensor.retention.admission import Adaptive, AdmitAll, SecondSight
from lsmkv_tensor.retention.names import AdmissionMaker, EvictionMaker, load_admission
from lsmkv_tensor.retention.protocol import Admission, Eviction, Prints, Sizes
from lsmkv_tensor.retention.shadows import Miniatures, sample_bits
from lsmkv_tensor.retention.steering_decide import Books, Decision, decide
from lsmkv_tensor.retention.steering_moves import MUCH, RUNGS, MoveBooks, Moved, decide_moves, moves_cost
from lsmkv_tensor.retention.steering_settings import StoreController, StoreControllerStats, Tried

__all__ = ["OUTCOME_WINDOWS", "Done", "Journal", "Steered", "Steering", "decided", "steerable", "steered_admission"]

OUTCOME_WINDOWS = 20
"""Windows after a decision when its outcome is told."""
FORGET = 0.5 ** (1 / 8)
"""Weight of the past with each window, in what is told of the last ones."""
STARTS = {"all": "all", "second": "second", "adaptive": "all"}
"""Admission policies that it steers, and the setting it begins with."""


class Done(NamedTuple):
    """What a store has done, in bytes; totals."""

    delivered_bytes: int
    written_bytes: int
    """Given to the disk: pages, headers, moved pages."""
    moved_bytes: int


class Journal(Protocol):
    """Where decisions go: :class:`lsmkv.base.events.EventLog` is one."""

    failures: int

    def note(self, kind: str, fields: Callable[[], Mapping[str, object]]) -> None:
        """Append a line."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class Steered(Adaptive):
    """All or second sight, as the controller says; second sight in any case where the write budget is scarce."""

    def __init__(self, capacity_bytes: int, write_bytes_per_day: float | None = None, *, second: bool = False) -> None:
        super().__init__(capacity_bytes, write_bytes_per_day)
        self.second = second

    @property
    def choosy(self) -> bool:
        """Whether it stores at second sight only."""
        return self._budget.scarce or self.second


def decided(fs: FileSystem, directory: str) -> int:
    """The number of the last decision in the journal of a directory; 0: none, or it cannot be read. I/O: reads it."""
    try:
        return last_number(read_journal(fs, directory))
    except OSError:
        return 0


def steerable(admission: str) -> bool:
    """Whether the controller knows what to do with this admission policy."""
    return admission.strip().lower() in STARTS


def steered_admission(admission: str, controller: StoreController | None) -> AdmissionMaker:
    """What makes the admission policy of that name, for a store with this controller. InvalidArgumentError: as load_admission."""
    made = load_admission(admission)
    if controller is None or controller.mode != "on" or not steerable(admission):
        return made
    return partial(Steered, second=STARTS[admission.strip().lower()] == "second")


class _Open:
    """A decision whose outcome is being counted."""

    __slots__ = ("asked", "decision", "done", "number", "tried", "windows")

    def __init__(self, number: int, decision: Decision, done: Done) -> None:
        self.number, self.decision, self.done = number, decision, done
        self.windows, self.asked = 0, 0.0
        self.tried: dict[str, Tried] = {}


class Steering:
    """The controller of one store."""

    def __init__(
        self,
        settings: StoreController,
        admission: str,
        capacity_bytes: int,
        eviction: EvictionMaker | Callable[[int], Eviction],
        journal: Journal | None = None,
        number: int = 0,
    ) -> None:
        """``admission``: the policy's name. ``number``: of the last decision in the journal."""
        self.settings = settings
        self._admission = admission
        self._capacity = capacity_bytes
        self._make_eviction = eviction
        self._done: Callable[[], Done] = lambda: Done(0, 0, 0)
        self._journal = journal
        self._number = number
        self._miniatures: Miniatures | None = None
        self._books = Books(STARTS.get(admission.strip().lower(), "all"))
        self._policy: Steered | None = None
        self._unseen = self._unseen_pages = self._saved = 0
        self._seen_bytes = self._seen_pages = 0.0
        self._page_bytes = 4096.0
        self._moved = Moved()
        self._moves = MoveBooks()
        self._moved_lately = self._saved_lately = 0.0
        self._seen = Done(0, 0, 0)
        self._bound_moves: Callable[[float, float, float], None] = lambda *_: None
        self._windows = self._decisions = 0
        self._asked = 0.0
        self._tried: dict[str, Tried] = {}
        self._open: list[_Open] = []
        self.active = settings.mode != "off" and steerable(admission)
        self.failed = ""
        """Why it was stopped; empty: it was not."""

    def serve(
        self,
        policy: Admission,
        done: Callable[[], Done],
        bound_moves: Callable[[float, float, float], None] | None = None,
    ) -> None:
        """Steer this admission policy from now on; ``done`` says what the store has done. Again when it was opened again.

        ``bound_moves`` is told what reclaiming may do (:class:`.steering_moves.Rung`); None: nothing is reclaimed.
        """
        self._done, self._seen = done, done()
        if bound_moves is not None and self.active and self.settings.mode == "on":
            self._bound_moves = bound_moves
            bound_moves(*RUNGS[self._moves.setting])
        self._policy = policy if isinstance(policy, Steered) and self.settings.mode == "on" else None
        if self._policy is not None:
            self._policy.second = self._books.setting == "second"

    def rebase(self) -> None:
        """The store's counters are other ones now: what they gain is counted from here, outcomes under way are given up."""
        self._seen = self._done()
        self._open.clear()

    def note(self, prints: Prints, sizes: Sizes, *, there: bool = True) -> None:
        """These distinct pages were used, leaf to root. A policy that fails stops the controller, no more.

        ``there``: the store had them; else they were offered, and stored or refused.
        """
        if not self.active or not len(prints):
            return
        try:
            self._note(prints, sizes, there)
        except Exception as error:  # noqa: BLE001 - puts and reads matter more than a controller that a policy confuses
            self._stop(error)

    def _stop(self, error: Exception) -> None:
        """Steer nothing any more."""
        self.active, self.failed = False, f"it failed and was stopped: {error!r}"

    def _note(self, prints: Prints, sizes: Sizes, there: bool) -> None:
        """:meth:`note`, of some pages."""
        if self._miniatures is None:
            self._page_bytes = float(sizes.mean())
            self._miniatures = self._made(self._page_bytes)
        self._miniatures.use(prints, sizes)
        sampled, their_sizes = self._miniatures.sample(prints, sizes)
        if there:
            self._saved += self._moved.used(sampled, their_sizes.tolist())
        else:  # one that was moved before was evicted in between
            self._moved.gone(sampled)
        self._unseen += int(sizes.sum())
        self._unseen_pages += len(sizes)
        if self._unseen >= self.settings.window * self._capacity:
            self._measure_pages()
            self._look(self._miniatures)
            self._fit(self._miniatures)

    def _measure_pages(self) -> None:
        """A window has passed: how large a page was lately, on average."""
        bytes_now, pages_now = self._unseen, self._unseen_pages
        self._unseen = self._unseen_pages = 0
        self._seen_bytes = self._seen_bytes * FORGET + bytes_now
        self._seen_pages = self._seen_pages * FORGET + pages_now
        self._page_bytes = self._seen_bytes / self._seen_pages

    def _fit(self, miniatures: Miniatures) -> None:
        """Begin with others if these sample far too many pages or too few: the first pages seen need not be like the others.

        A factor of two does no harm, and beginning anew loses what they know.
        """
        if abs(sample_bits(self._capacity, round(self._page_bytes)) - miniatures.bits) > 1:
            self._miniatures = self._made(self._page_bytes)

    def note_moved(self, prints: Prints, sizes: Sizes) -> None:
        """Reclaiming moved these pages."""
        if self.active and self._miniatures is not None:
            try:
                self._moved.moved(self._miniatures.sample(prints, sizes)[0])
            except Exception as error:  # noqa: BLE001 - as in note
                self._stop(error)

    def close(self) -> None:
        """Let go of the journal."""
        if self._journal is not None:
            self._journal.close()

    def _made(self, page_bytes: float) -> Miniatures:
        """Miniatures of both settings."""
        return Miniatures(self._capacity, round(page_bytes), self._make_eviction, {"all": AdmitAll, "second": SecondSight})

    def _look(self, miniatures: Miniatures) -> None:
        """A window has passed."""
        asked, tried = miniatures.take()
        self._windows += 1
        self._asked = self._asked * FORGET + asked
        self._tried = {name: self._tried.get(name, Tried()).plus(one, FORGET) for name, one in tried.items()}
        self._count_outcomes(asked, tried)
        self._look_at_moves(asked, miniatures.sampled)
        if not miniatures.turned_over:
            return
        settings = self.settings
        self._books, decision = decide(self._books, asked, tried, settings.hit_worth, settings.patience * self._capacity)
        if decision is None:
            return
        if self._policy is not None:
            self._policy.second = decision.after == "second"
        self._decided(decision)
        if settings.mode == "on":
            self._open.append(_Open(self._number, decision, self._done()))

    def _look_at_moves(self, asked: float, sampled: float) -> None:
        """A window has passed in which reclaiming moved pages."""
        done, before = self._done(), self._seen
        self._seen = done
        moved = max(done.moved_bytes - before.moved_bytes, 0)
        stored = max(done.written_bytes - before.written_bytes - moved, 0)
        saved, self._saved = self._saved / sampled, 0
        self._moved_lately = self._moved_lately * FORGET + moved
        self._saved_lately = self._saved_lately * FORGET + saved
        cost = moves_cost(stored, moved, self._page_bytes)
        settings = self.settings
        self._moves, decision = decide_moves(
            self._moves, cost, saved, asked, settings.hit_worth, settings.patience * self._capacity
        )
        if decision is not None:
            if settings.mode == "on":
                self._bound_moves(*RUNGS[decision.after])
            self._decided(decision)

    def _decided(self, decision: Decision) -> None:
        """Number a decision and put it on record."""
        self._decisions += 1
        self._number += 1
        self._write(decision.what, lambda: self._told(decision))

    def _told(self, decision: Decision) -> dict[str, object]:
        """The line that is written when it is made."""
        return {
            "decision": self._number,
            "mode": self.settings.mode,
            "from": decision.before,
            "to": decision.after,
            "hit_worth": self.settings.hit_worth,
            "ahead_bytes": round(decision.ahead_bytes),
            "saves_bytes_per_byte": round(decision.saves, 4),
        }

    def _count_outcomes(self, asked: float, tried: Mapping[str, Tried]) -> None:
        """Add a window to the decisions on record, and tell the outcome of those that are old enough."""
        for one in self._open:
            one.windows += 1
            one.asked += asked
            one.tried = {name: one.tried.get(name, Tried()).plus(found) for name, found in tried.items()}
        due = [one for one in self._open if one.windows >= OUTCOME_WINDOWS]
        self._open = [one for one in self._open if one.windows < OUTCOME_WINDOWS]
        for one in due:
            self._write("outcome", partial(self._outcome, one, self._done()))

    def _outcome(self, one: _Open, done: Done) -> dict[str, object]:
        """The line that is written later: what was counted, and what is estimated that the setting before would have done."""
        before = one.tried.get(one.decision.before, Tried())
        after = one.tried.get(one.decision.after, Tried())
        return {
            "decision": one.number,
            "asked_bytes": round(one.asked),
            "delivered_bytes": done.delivered_bytes - one.done.delivered_bytes,
            "written_bytes": done.written_bytes - one.done.written_bytes,
            "gained_bytes": round(after.value(self.settings.hit_worth) - before.value(self.settings.hit_worth)),
        }

    def _write(self, kind: str, fields: Callable[[], Mapping[str, object]]) -> None:
        """A line of the journal."""
        if self._journal is not None:
            self._journal.note(kind, fields)

    def stats(self) -> StoreControllerStats:
        """What it does."""
        settings, setting = self.settings, self._books.setting
        idle = self.failed
        if settings.mode == "off":
            idle = 'the mode is "off"'
        elif not self.active and not self.failed:
            idle = f"it knows all, second and adaptive, not the admission policy {self._admission!r}"
        elif not self.failed and (self._miniatures is None or not self._miniatures.turned_over):
            idle = "the store has not been full yet: no setting has shown what it costs"
        return StoreControllerStats(
            mode=settings.mode,
            idle=idle,
            windows=self._windows,
            decisions=self._decisions,
            admission=setting if settings.mode == "on" and self.active else self._admission,
            advised_admission=setting,
            sampled=self._miniatures.sampled if self._miniatures is not None else 1.0,
            asked_bytes=self._asked,
            tried=dict(self._tried),
            ahead_bytes=self._books.ahead_bytes,
            moves=self._moves.setting if settings.mode == "on" else MUCH,
            advised_moves=self._moves.setting,
            moved_bytes=self._moved_lately,
            saved_bytes=self._saved_lately,
            journal_failures=self._journal.failures if self._journal is not None else 0,
        )
