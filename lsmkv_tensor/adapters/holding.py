"""The page store of one engine process: a directory of its own if that can be had, the pages of others until then.

An engine starts whatever the disk looks like. Each process has a directory, its *member*, under one root. Another process may
hold it (the old one of a rolling restart has not left yet; a replica was given the same path), its format may be newer than this
code, it may be damaged. Then, as ``on_conflict`` says:

``wait``    for ``wait_s`` seconds; after that *follow*, and take the directory once it can be had (tried at puts, once a second)
``follow``  read what the members under the root hold, and store nothing; the same, without waiting first
``fresh``   take a directory beside it: ``MEMBER.2``, ``MEMBER.3``, ...; each has the whole capacity for itself

What is wrong with the caller's own settings is an error all the same: nobody wants to learn of a misspelt option from a hit rate.

Opening may take as long as the disk likes. The engine's start waits START_S for it, its puts not at all: a thread goes on, and
whoever asks meanwhile is told that nothing is held.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from lsmkv.env.clock import Clock, SystemClock
from lsmkv.env.sync import Lock, start_thread
from lsmkv_tensor.adapters.advice import told
from lsmkv_tensor.adapters.intime import InTime
from lsmkv_tensor.adapters.jobs import Jobs
from lsmkv_tensor.errors import InvalidArgumentError, LockedError, LsmError
from lsmkv_tensor.followed import FollowedNamespace, PageFollower
from lsmkv_tensor.namespaces import Namespace, PageKey
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.pages import PageStore
from lsmkv_tensor.retention.names import load_eviction
from lsmkv_tensor.retention.steering import steered_admission
from lsmkv_tensor.runtime.putqueue import Finished
from lsmkv_tensor.sharing import Sharing

__all__ = ["CONFLICTS", "Conflict", "Holding", "State", "View"]

Conflict: TypeAlias = Literal["wait", "follow", "fresh"]
State: TypeAlias = Literal["own", "following", "off", "closed"]

CONFLICTS = get_args(Conflict)
RETRY_S = 1.0
"""Seconds between two attempts of a follower to have its directory."""
LOOK_S = 0.05
"""Seconds between two attempts while the engine waits for its start."""
START_S = 30.0
"""Seconds that the engine's start waits for a disk that answers nothing, beyond ``wait_s``."""
MOST_FRESH = 64
"""Directories that are tried beside one that cannot be had."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class View:
    """A namespace as this process has it now: ``reader`` finds everybody's pages, ``writer`` is None where nothing is stored."""

    reader: Namespace | FollowedNamespace | None
    writer: Namespace | None

    def knows(self, keys: Sequence[PageKey]) -> bool:
        """Whether all of these pages are known to be there, without asking a disk. I/O: none."""
        return self.reader is not None and self.reader.known(keys)


@dataclass(slots=True)
class _Asked:
    """A namespace that was asked for, and the view of now."""

    fields: Mapping[str, object]
    page_bytes: int
    codec: str
    view: View


class Holding:
    """Has the store, and tries to have it. Any thread may call anything."""

    def __init__(
        self,
        root: str,
        member: str,
        options: StoreOptions,
        *,
        sharing: Sharing | None = None,
        on_conflict: Conflict = "wait",
        wait_s: float = 5.0,
    ) -> None:
        """Open; after at most ``wait_s`` + START_S seconds it is in one of its states. InvalidArgumentError for wrong settings.

        I/O: as ``PageStore.open``.
        """
        if on_conflict not in CONFLICTS:
            msg = f"on_conflict = {on_conflict!r}: must be one of {', '.join(CONFLICTS)}"
            raise InvalidArgumentError(msg)
        load_eviction(options.eviction)(options.capacity_bytes)  # a wrong name is told now, also if the store cannot be had yet
        steered_admission(options.admission, options.controller)(options.capacity_bytes, options.write_bytes_per_day)
        self.root = root
        self.member = member
        self.state: State = "off"
        self.reason: str | None = None
        """Why it has no directory of its own; None: it has."""
        self.barred = False
        """Whether that is something else than another process that has it."""
        self.store: PageStore | PageFollower | None = None
        self._options = options
        self._sharing = sharing
        self._conflict = on_conflict
        self._clock: Clock = options.clock if options.clock is not None else SystemClock()
        self._lock = Lock()
        self._views: dict[tuple[str, int], _Asked] = {}
        self._unmade = False
        self._tried = self._clock.monotonic()
        self._claiming = False
        self._manual = options.scheduler is not None and options.scheduler.manual
        self._in_time = InTime(self._clock)
        self._begin(wait_s if on_conflict == "wait" else 0.0)

    def view(self, fields: Mapping[str, object], page_bytes: int, *, codec: str = "raw") -> Callable[[], View]:
        """A namespace, registered if it is new: call the result for the view of now.

        InvalidArgumentError (fields, size or codec that do not fit the store). I/O: as ``PageStore.namespace``.
        """
        key = (repr(sorted(fields.items())), page_bytes)
        with self._lock:
            asked = self._views.get(key)
            if asked is None:
                asked = self._views[key] = _Asked(fields, page_bytes, codec, self._open_view(fields, page_bytes, codec))
        return lambda: asked.view

    def claim(self) -> bool:
        """Whether it has a directory to write to; a follower tries to have it, once a second.

        So are namespaces that a failing or full disk did not let be made. Both on a thread of their own (under a manual scheduler
        here): a call that stores waits for neither. I/O: none here.
        """
        own = self.state == "own"
        done = not self._unmade if own else self.state == "closed" or self._conflict == "fresh"
        if done or self._clock.monotonic() - self._tried < RETRY_S:
            return own
        with self._lock:
            if self._claiming:
                return own
            self._claiming, self._tried = True, self._clock.monotonic()
        if self._manual:
            self._claim()
        else:
            try:
                start_thread("lsmkv-claim", self._claim)
            except RuntimeError:  # the machine has no more threads: another time
                self._claiming = False
        return self.state == "own"

    def forget(self) -> int:
        """Drop every page of this process's namespaces; how many. Those of others stay. I/O: as ``PageStore.drop_namespace``."""
        with self._lock:
            if not isinstance(self.store, PageStore):
                return 0
            numbers = {asked.view.writer.number for asked in self._views.values() if asked.view.writer is not None}
            try:
                return sum(map(self.store.drop_namespace, numbers))
            finally:  # those that were dropped before one could not be
                self._reopen_views()

    def close(self) -> None:
        """Write what was accepted and let go of everything. A second call does nothing. I/O: as ``PageStore.close``."""
        with self._lock:
            store, self.store, self.state = self.store, None, "closed"
            self._reopen_views()
        if store is not None:
            store.close()

    def end(self, jobs: Jobs[Any], within_s: float | None) -> int:
        """:meth:`close` after the jobs that use it and its queue of puts, which have ``within_s`` real seconds.

        Returns how many pages were dropped that waited then. If the disk hangs the store is left as a crash would leave it, as
        closing would wait for it. I/O: theirs, and as :meth:`close`.
        """
        clock, finished = SystemClock(), list[Finished]()
        began = clock.monotonic()

        def finish(seconds: float) -> None:
            """Have the queue written, or dropped."""
            store = self.store
            if isinstance(store, PageStore) and not finished:
                finished.append(store.finish_puts(seconds))

        stopped = jobs.stop(within_s, lambda: finish(0.0))
        if within_s is not None:
            finish(max(within_s - (clock.monotonic() - began), 0.0))
        dropped = stopped.dropped_pages + sum(found.dropped_pages for found in finished)
        if dropped:
            _log.warning("lsmkv: %d pages waited to be moved when the engine ended, and were dropped", dropped)
        if stopped.ended and all(found.ended for found in finished):
            self.close()
        else:
            _log.warning("lsmkv: the disk does not answer, %s/%s is left as it is", self.root, self.member)
        return dropped

    # helpers

    def _begin(self, wait_s: float) -> None:
        """Start; if that takes too long, be off until a thread has done it."""
        if self._manual:
            self._start(wait_s)
            return
        limit = wait_s + START_S

        def start() -> None:
            """What the thread does; it tells of an error that comes too late for the caller."""
            try:
                self._start(wait_s)
            except InvalidArgumentError as error:
                self.reason = str(error)
                raise
            finally:
                self._claiming = False

        self._claiming = True
        if self._in_time.call(start, limit) is None:
            self.reason = self.reason or f"opening it takes longer than {limit:g} s"
            _log.warning("lsmkv: %s/%s: the cache is off until it is open: %s", self.root, self.member, self.reason)

    def _claim(self) -> None:
        """Try to have the directory, or the namespaces that could not be made."""
        try:
            if self.state == "own":
                with self._lock:
                    self._reopen_views()
            elif (found := self._take(self.member)) is not None and self._hold(found):
                _log.info("lsmkv: %s/%s is held by this process from now on", self.root, self.member)
        except InvalidArgumentError as error:  # the directory was made with settings that these do not fit
            if self.reason != str(error):  # tried every second, told once
                _log.warning("lsmkv: %s/%s cannot be taken: %s", self.root, self.member, error)
            self.reason = str(error)
        finally:
            self._claiming = False

    def _start(self, wait_s: float) -> None:
        """Have the directory, wait for it, or be content without."""
        until = self._clock.monotonic() + wait_s
        while (found := self._take(self.member)) is None and self._clock.monotonic() < until:
            self._clock.sleep(LOOK_S)
        why, fresh = self.reason, 2
        while found is None and self._conflict == "fresh" and fresh <= MOST_FRESH:
            name = f"{self.member}.{fresh}"
            found, fresh = self._take(name), fresh + 1
            if found is not None:
                _log.warning("lsmkv: %s/%s is taken instead of %s: %s", self.root, name, self.member, why)
                self.member = name
        if found is not None:
            self._hold(found)
            return
        until_then = "nothing" if self._conflict == "fresh" else "until it can be (tried once a second) nothing"
        _log.warning("lsmkv: %s/%s cannot be had, %s is stored: %s", self.root, self.member, until_then, self.reason)
        try:
            self._hold(PageFollower.open(self.root, options=self._options, sharing=self._sharing))
        except (LsmError, OSError) as error:
            self.reason = f"{self.reason}; nor can it be followed: {error}"
            _log.warning("lsmkv: the cache is off: %s", self.reason)

    def _take(self, member: str) -> PageStore | None:
        """The store of this member, or None and the reason."""
        try:
            return PageStore.open(self.root, options=self._options, member=member, sharing=self._sharing)
        except InvalidArgumentError:
            raise
        except (LsmError, OSError) as error:
            self.reason, self.barred = told(error, f"{self.root}/{member}"), not isinstance(error, LockedError)
        return None

    def _hold(self, store: PageStore | PageFollower) -> bool:
        """This is the store from now on, unless this was closed meanwhile; whether it is."""
        with self._lock:
            if self.state == "closed":
                before: PageStore | PageFollower | None = store
            else:
                before, self.store = self.store, store
                self.state = "own" if isinstance(store, PageStore) else "following"
                if self.state == "own":
                    self.reason, self.barred = None, False
                self._reopen_views()
        if before is not None:
            before.close()
        return before is not store

    def _reopen_views(self) -> None:
        """Every view as the store is now (lock held)."""
        self._unmade = False
        for asked in self._views.values():
            try:
                asked.view = self._open_view(asked.fields, asked.page_bytes, asked.codec)
            except InvalidArgumentError as error:  # the directory that was taken holds no such pages: too late to refuse them
                _log.warning("lsmkv: pages of %d bytes are not kept from now on: %s", asked.page_bytes, error)
                asked.view = View(None, None)

    def _open_view(self, fields: Mapping[str, object], page_bytes: int, codec: str) -> View:
        """One view as the store is now (lock held): an empty one, for a while, if the disk does not let it be made."""
        try:
            if isinstance(self.store, PageStore):
                writer = self.store.namespace(fields, page_bytes, codec=codec)
                return View(writer, writer)
            return View(None if self.store is None else self.store.namespace(fields, page_bytes), None)
        except InvalidArgumentError:
            raise
        except (LsmError, OSError) as error:
            self._unmade = True
            _log.warning("lsmkv: pages of %d bytes are not kept for now: %s", page_bytes, error)
            return View(None, None)
