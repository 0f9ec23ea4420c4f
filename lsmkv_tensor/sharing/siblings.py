"""All siblings of one store: who they are, and asking them in turn.

Two passes. The first asks what each sibling showed at its last look, if that is young enough. Whatever is still missing then is
asked again of every sibling that has news, after a look at each: so nothing is told missing that was acknowledged before the
call. Who delivered last is asked first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from posixpath import join
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from lsmkv.arguments import PathArgument, checked_path
from lsmkv.env.clock import Clock, SystemClock
from lsmkv.env.fs import FileSystem
from lsmkv.env.posix import PosixFileSystem
from lsmkv.env.rng import Rng, seeded
from lsmkv.env.sync import Lock
from lsmkv.observe.readonly import ReadOnly
from lsmkv_tensor.errors import InvalidArgumentError, LsmError
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.runtime.callers import caller_id
from lsmkv_tensor.runtime.waterfall import Loss
from lsmkv_tensor.sharing.members import is_member, member_path, members
from lsmkv_tensor.sharing.options import Sharing
from lsmkv_tensor.sharing.sibling import Sibling
from lsmkv_tensor.sharing.stats import SharingStats
from lsmkv_tensor.sharing.touches import DIGEST_BYTES, TouchBook, TouchNote, TouchReader
from lsmkv_tensor.vlog.cached import Held

__all__ = ["Siblings", "open_siblings"]

TOUCHES = "TOUCHES"
"""File in a member's directory that says what it used of others (:mod:`lsmkv_tensor.sharing.touches`)."""


class Siblings:
    """The stores under ``root`` but ``member``, followed. Any thread may call anything."""

    def __init__(self, root: str, member: str | None, fs: FileSystem, clock: Clock, rng: Rng, sharing: Sharing) -> None:
        """If ``root`` is itself a store, it is the only one followed. I/O: as :meth:`look`."""
        self.root = root
        self.member = member
        self.sharing = sharing
        self._fs = ReadOnly(fs)
        self._clock = clock
        self._rng = rng
        self._lock = Lock()
        self._listing = Lock()
        self._hearing = Lock()
        self._followed: tuple[Sibling, ...] = ()
        self._listed_s = self._heard_s = float("-inf")
        self._readers: dict[str, TouchReader] = {}
        self._book = TouchBook(fs, join(root, member, TOUCHES)) if member is not None else None
        self._prefixes: dict[bytes, bytes] = {}
        self._listings = 0
        self._hits = self._misses = self._held = self._lag = self._heard = 0
        self.on_settled: Callable[[Sequence[Loss], bool], None] = _nobody
        """Told of losses that :meth:`defer` took: whether a sibling had these pages."""
        self.look()

    @property
    def name(self) -> str:
        """The name of our own store's directory."""
        assert self.member is not None
        return self.member

    # asking

    def contains(self, text: bytes, keys: Sequence[bytes], *, putting: bool = False) -> NDArray[np.bool_]:
        """Which of these 28-byte page keys a sibling holds in the namespace of this canonical text.

        ``putting``: asked in order to store what is missing: nothing is lost by what is told missing.

        I/O: a look at siblings whose turn it is, at all if a page is missing; index blocks.
        """
        there = np.zeros(len(keys), np.bool_)

        def ask(sibling: Sibling, waiting: Sequence[int]) -> list[bool]:
            """Which of the waiting it holds."""
            found: list[bool] = sibling.contains(text, [keys[i] for i in waiting]).tolist()
            there[np.asarray(waiting)] |= found
            return found

        self._in_turn(text, keys, ask, lost=not putting)
        if putting:
            with self._lock:
                self._held += int(there.sum())
        return there

    def get_into(
        self, text: bytes, keys: Sequence[bytes], targets: Sequence[Sequence[memoryview]], page_bytes: int
    ) -> list[bool]:
        """Fill each target with the page of its key; False: no sibling delivered it (contents then undefined).

        I/O: as :meth:`contains`; one read per stretch of neighbouring pages.
        """
        delivered = [False] * len(keys)

        def ask(sibling: Sibling, waiting: Sequence[int]) -> list[bool]:
            """Which of the waiting it delivered."""
            found = sibling.get_into(text, [keys[i] for i in waiting], [targets[i] for i in waiting], page_bytes)
            for i, here in zip(waiting, found, strict=True):
                delivered[i] = here
            return found

        self._in_turn(text, keys, ask, lost=True)
        with self._lock:
            hits = sum(delivered)
            self._hits += hits
            self._misses += len(keys) - hits
        return delivered

    def fetch(self, text: bytes, keys: Sequence[bytes], page_bytes: int) -> list[Held]:
        """As :meth:`Sibling.fetch`, from whoever has each page. I/O: as :meth:`get_into`."""
        found: list[Held] = []

        def ask(sibling: Sibling, waiting: Sequence[int]) -> list[bool]:
            """Which of the waiting it has."""
            here = [False] * len(waiting)
            for held in sibling.fetch(text, [keys[i] for i in waiting], page_bytes):
                for want in held.piece:
                    here[want.position] = True
                found.append(held._replace(piece=[w._replace(position=waiting[w.position]) for w in held.piece]))
            return here

        self._in_turn(text, keys, ask, lost=False)
        return found

    def took(self, pages: int) -> None:
        """So many pages that were fetched were taken."""
        with self._lock:
            self._hits += pages

    def prefetch(self, text: bytes, keys: Sequence[bytes]) -> None:
        """Have the kernel read ahead those of the pages that siblings hold. I/O: one index lookup a sibling; hints."""
        for sibling in self._followed:
            sibling.prefetch(text, keys)

    def keys(self, text: bytes) -> set[bytes]:
        """The page keys that siblings hold in a namespace. I/O: a look at each, a scan of these index entries."""
        self.look()
        return {key for sibling in self._followed for key in sibling.keys(text)}

    def namespaces(self) -> set[bytes]:
        """The canonical texts of all their namespaces. I/O: a look at each, a short scan."""
        self.look()
        return {text for sibling in self._followed for text in sibling.namespaces()}

    # what is used

    def note_space(self, digest: bytes, prefix: bytes) -> None:
        """A namespace of our own store, by which the notes of siblings are understood."""
        self._prefixes[digest[:DIGEST_BYTES]] = prefix

    def touch(self, kind: int, digest: bytes, keys: Sequence[bytes]) -> None:
        """Tell siblings that this call used these pages of theirs, in prefix order. I/O: two small writes."""
        if self._book is not None and keys:
            self._book.note(TouchNote(kind, caller_id(), digest, list(keys)))

    def hear(self, touch: Callable[[int, list[bytes], bytes, int], None]) -> None:
        """Call ``touch(kind, page keys, prefix, thread)`` for what siblings used of ours since the last time.

        At most once in ``Sharing.refresh_s``. I/O: three small reads a sibling.
        """
        now = self._clock.monotonic()
        if now - self._heard_s < self.sharing.refresh_s or not self._hearing.acquire(blocking=False):
            return
        try:
            self._heard_s = now
            for sibling in self._followed:
                reader = self._readers.setdefault(sibling.name, TouchReader(self._fs, join(sibling.path, TOUCHES)))
                for note in reader.news():
                    prefix = self._prefixes.get(note.digest)
                    if prefix is not None and note.keys:
                        self._heard += len(note.keys)
                        touch(note.kind, note.keys, prefix, _thread_of(sibling.name, note.thread))
        finally:
            self._hearing.release()

    # asking in turn

    def _in_turn(
        self, text: bytes, keys: Sequence[bytes], ask: Callable[[Sibling, Sequence[int]], list[bool]], *, lost: bool
    ) -> None:
        """Ask siblings until everything is found, in the two passes of the module docstring."""
        waiting: Sequence[int] = range(len(keys))
        asked: dict[Sibling, tuple[int, int]] = {}
        seen: set[Sibling] = set()
        sharing = self.sharing
        self._discover(sharing.discover_s)
        for age_s in (sharing.refresh_s, sharing.miss_refresh_s):
            for sibling in self._followed:
                if not waiting:
                    return
                if sibling.look(age_s):
                    seen.add(sibling)
                shown = sibling.shown  # before asking: what comes later is asked again
                if sibling not in asked or asked[sibling] != shown:
                    found = ask(sibling, waiting)
                    waiting = [i for i, here in zip(waiting, found, strict=True) if not here]
                    if any(found):
                        self._first_next_time(sibling)
                asked[sibling] = shown
            if waiting:
                self._discover(min(sharing.refresh_s, sharing.discover_s))
        if lost and waiting:
            for sibling in asked.keys() - seen:
                sibling.missed.note(text, [keys[i] for i in waiting])

    def _first_next_time(self, sibling: Sibling) -> None:
        """Ask it first from now on."""
        if self._followed[0] is not sibling:
            with self._lock:
                if sibling in self._followed:
                    self._followed = (sibling, *(s for s in self._followed if s is not sibling))

    def defer(self, text: bytes, keys: Sequence[bytes], losses: Sequence[Loss]) -> list[bool]:
        """Keep losses of pages until it is known whether a sibling had them; False: that is known now. I/O: none."""
        behind = [sibling for sibling in self._followed if sibling.missed.waits]
        if not behind:
            return [False] * len(keys)
        return [any(s.missed.defer(text, key, [loss]) for s in behind) for key, loss in zip(keys, losses, strict=True)]

    def _settle(self, text: bytes, key: bytes, losses: Sequence[Loss], lagged: bool) -> None:
        """A sibling had this page, or not: then another one may."""
        if losses and (lagged or not any(s.missed.defer(text, key, losses) for s in self._followed if s.missed.waits)):
            self.on_settled(losses, lagged)

    # who they are

    def look(self) -> None:
        """See who is there now, and what each acknowledged before this call. I/O: lists the root; a look at each sibling."""
        self._discover(0.0)
        for sibling in self._followed:
            sibling.look(0.0)

    def _discover(self, max_age_s: float) -> None:
        """See who is there, unless that was done less than ``max_age_s`` ago or another thread is at it."""
        now = self._clock.monotonic()
        if now - self._listed_s < max_age_s or not self._listing.acquire(blocking=False):
            return
        try:
            self._list()
            self._listed_s = now
        finally:
            self._listing.release()

    def _list(self) -> None:
        """List the root; begin with who is new, let go of who is gone or was replaced."""
        try:
            names = self._names()
        except LsmError:  # who was there is still asked
            return
        self._listings += 1
        kept = [s for s in self._followed if s.name in names and not s.is_another()]
        for sibling in kept:
            sibling.forget_unused()
        new = [Sibling(n, self._path(n), self._fs, self._clock, self._rng, self.sharing) for n in names - {s.name for s in kept}]
        for sibling in new:
            sibling.settle = self._settle
        with self._lock:
            gone = [s for s in self._followed if s not in kept]
            self._lag += sum(s.lag_misses for s in gone)
            in_order = [s for s in self._followed if s in kept]
            self._followed = (*in_order, *sorted(new, key=lambda sibling: sibling.name))
        for sibling in gone:
            for text, missed in sibling.missed.take():
                for key, losses in missed.items():
                    self._settle(text, key, losses, lagged=False)

    def _names(self) -> set[str]:
        """Names of those to follow; "" for the root itself."""
        if self.member is None and is_member(self._fs, self.root):
            return {""}
        return {name for name in members(self._fs, self.root) if name != self.member and self.sharing.follows(name)}

    def _path(self, name: str) -> str:
        """Directory of a sibling."""
        return join(self.root, name) if name else self.root

    def stats(self) -> SharingStats:
        """Who is followed and what that brought. I/O: a scan of each sibling's segment records."""
        followed = self._followed
        siblings = tuple(sorted((s.stats() for s in followed), key=lambda s: s.name))
        with self._lock:
            return SharingStats(
                root=self.root,
                member=self.member,
                siblings=siblings,
                hits=self._hits,
                misses=self._misses,
                held_pages=self._held,
                heard_pages=self._heard,
                lag_misses=self._lag + sum(s.lag_misses for s in followed),
                listings=self._listings,
            )

    # the end

    def close(self) -> None:
        """Let go of everything; nobody may be asking. I/O: none."""
        with self._lock:
            followed, self._followed = self._followed, ()
        for sibling in followed:
            sibling.close()
        if self._book is not None:
            self._book.close()

    def forked(self) -> None:
        """In a forked child: let go of the copies of the descriptors, whatever locks the parent's threads held."""
        self._lock, self._listing, self._hearing = Lock(), Lock(), Lock()
        if self._book is not None:
            self._book.forked()
        followed, self._followed = self._followed, ()
        for sibling in followed:
            sibling.forked()


def _nobody(losses: Sequence[Loss], lagged: bool) -> None:
    """Nobody keeps an account."""
    del losses, lagged


def _thread_of(name: str, thread: int) -> int:
    """A number for a thread of a sibling's: negative, as none of ours is."""
    return -1 - (crc32(name.encode()) << 64 | thread)


def open_siblings(root: PathArgument, member: str | None, options: StoreOptions, sharing: Sharing | None) -> Siblings | None:
    """The siblings of the member that is about to be opened; None if the store is not a member.

    InvalidArgumentError. I/O: as :meth:`Siblings.look`.
    """
    if member is None:
        if sharing is not None:
            msg = "sharing = ... needs member=, the name of this process's own directory under path"
            raise InvalidArgumentError(msg)
        return None
    path = checked_path(root)
    fs = options.fs if options.fs is not None else PosixFileSystem()
    clock = options.clock if options.clock is not None else SystemClock()
    rng = options.rng if options.rng is not None else seeded()
    member_path(fs, path, member)  # refuses what is no name, and a root that is a store itself
    return Siblings(path, member, fs, clock, rng, sharing if sharing is not None else Sharing())
