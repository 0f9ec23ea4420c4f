"""Reading pages into the caller's memory: one index lookup for all, few scattered reads, every page checked.

Pages that lie end to end are read as they lie (:mod:`lsmkv_tensor.vlog.straight`); others are sorted by place and read in pieces
(:mod:`lsmkv_tensor.vlog.pieces`). Either way they go straight into the caller's spans, the kernel is told of all pieces before
the first is read, and those of a large call are shared with a few threads of the store.
A page that fails its check is read again, into memory of our own: the caller's may be written to by somebody else meanwhile.
If that is sound it is copied from there. If not, and the index still names this place, it is corruption: the page is dropped
and is a miss; if the place changed meanwhile (moved, replaced) the new place is tried. A read error costs the pages it
concerns, not the call. Encoded pages are read into memory of our own and decoded from there; one that is sound and cannot be
decoded is corruption, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from operator import itemgetter
from typing import TypeAlias

from lsmkv.env.sync import Lock
from lsmkv_tensor.codec import RAW, decode, is_known
from lsmkv_tensor.runtime.crew import Crew
from lsmkv_tensor.runtime.diskbreakers import DiskBreakers
from lsmkv_tensor.vlog.atonce import AtOnce, Found
from lsmkv_tensor.vlog.cached import Fetcher
from lsmkv_tensor.vlog.direct import Readable
from lsmkv_tensor.vlog.disks import DISK_SHIFT
from lsmkv_tensor.vlog.files import SegmentFiles
from lsmkv_tensor.vlog.layout import Place
from lsmkv_tensor.vlog.log import ValueLog
from lsmkv_tensor.vlog.pieces import HINT_BYTES, Trouble, Verdict, Want, advise, cut, read_piece
from lsmkv_tensor.vlog.queues import ReadQueues
from lsmkv_tensor.vlog.straight import lines_of, parts_of, read_part
from lsmkv_tensor.vlog.when import NO_DEADLINE, When

__all__ = ["PageReader", "read_pages"]

PARALLEL_BYTES = 4 << 20
"""Bytes a call must ask for before other threads help. Measured on two cores, 32 warm pages, with one thread and with two: 64 KiB
594 and 594 us, 256 KiB 2,028 and 1,339, 1 MiB 6,482 and 3,723. Larger parts gain less: their pages have left the processor's
cache when they are checked."""

AHEAD_BYTES = 64 << 20
"""Bytes read ahead by one hint, at most."""

Targets: TypeAlias = Sequence[Sequence[memoryview]]
"""The memory of each page, in spans."""

ATTEMPTS = 4
"""Looks at a page whose place keeps changing before it is called a miss."""


class PageReader:
    """Delivers pages of one store. Any number of threads."""

    def __init__(
        self,
        log: ValueLog,
        files: SegmentFiles,
        crew: Crew,
        queues: ReadQueues,
        breakers: DiskBreakers | None = None,
    ) -> None:
        """``breakers``: of several disks; None: there is one, and its failures are the store's."""
        self._breakers = breakers
        self._log = log
        self._files = files
        self._crew = crew
        self._fetcher = Fetcher(lambda keys: log.valid(self._values(keys)), files, crew, self._left_alone)
        self._at_once = AtOnce(log, files, crew, self._left_alone, queues)
        self._count_lock = Lock()
        self.single = self._at_once.single.read
        """Reads one page in few steps (:mod:`lsmkv_tensor.vlog.single`), without counting."""

    def get_into(self, keys: Sequence[bytes], targets: Targets, copied: list[int] | None = None) -> list[bool]:
        """Fill each target with the page of its key; False: absent or unreadable (contents then undefined).

        ``targets[i]`` are writable spans of together exactly the page's length, the same for all. ``copied`` gains the positions
        of those that came through memory of the store's own.

        I/O: one batched index lookup; one read per piece of neighbouring pages.
        """
        delivered = self.read(keys, targets, copied)
        self.count(delivered, sum(map(len, targets[0])) if targets else 0)
        return delivered

    def at_once(self, keys: Sequence[bytes], targets: Targets, when: When) -> Found:
        """What the caller's own thread finds by a deadline (:mod:`lsmkv_tensor.vlog.atonce`)."""
        return self._at_once.by(keys, targets, when)

    def fetcher(self, _: int) -> Fetcher | None:
        """What brings pages, of whatever size, in time without a copy; None where that cannot be. I/O: none."""
        return self._fetcher if self._files.may_tell_cached else None

    knows_all = True
    """A page that its index does not know is nowhere."""

    def read(self, keys: Sequence[bytes], targets: Targets, copied: list[int] | None = None) -> list[bool]:
        """As :meth:`get_into`, without counting hits and misses."""
        db = self._log.db
        if not self._at_once.able:
            return self._deliver(keys, db.get_many(keys), targets)
        values = self._log.keeper.known.values(keys, partial(db.get_many, keys))
        assert values is not None
        verdicts, past = self._at_once.read(keys, values, targets, NO_DEADLINE)
        if copied is not None:
            copied += past
        delivered = [bool(verdict) for verdict in verdicts]
        if None in verdicts:
            left = [i for i, verdict in enumerate(verdicts) if verdict is None]
            rest = self.deliver([keys[i] for i in left], [targets[i] for i in left])
            for i, flag in zip(left, rest, strict=True):
                delivered[i] = flag
        return delivered

    def deliver(self, keys: Sequence[bytes], targets: Targets) -> list[bool]:
        """As :meth:`read`, of pages that were not to be had at once; what is delivered here may come too late for its caller."""
        return self._deliver(keys, self._values(keys), targets)

    def _values(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """What the index says now, which is remembered: what was may have been wrong."""
        values = self._log.keeper.known.asked(keys, partial(self._log.db.get_many, keys))
        assert values is not None
        return values

    def _deliver(self, keys: Sequence[bytes], values: Sequence[bytes | None], targets: Targets) -> list[bool]:
        """Pages with these index values, as the kernel reads files."""
        delivered = [False] * len(keys)
        positions = self._straight(keys, values, targets, delivered)
        places = self._log.valid([values[i] for i in positions]) if positions else []
        gone_at: dict[int, Place] = {}
        errors = alone = 0
        for _ in range(ATTEMPTS):
            if not positions:
                break
            again: list[int] = []
            for want, first in self._fetch(positions, places, keys, targets, delivered):
                i = want.position
                verdict = self._second_look(want, targets[i]) if first == "bad" else first
                delivered[i] = verdict == "ok"
                if verdict == "error":
                    errors += 1
                elif verdict == "alone":
                    alone += 1
                elif verdict == "gone":
                    if gone_at.get(i) == want.place:
                        self._log.forget_gone(want.key, want.place)
                    gone_at[i] = want.place
                    again.append(i)
                elif verdict == "bad" and not self._log.drop_corrupt(want.key, want.place):
                    again.append(i)
            positions = again
            places = self._log.current_places([keys[i] for i in positions])
        if errors or alone:
            with self._count_lock:
                self._log.counters.read_errors += errors
                self._log.counters.alone += alone
                self._log.counters.read_failures += errors if self._breakers is None else 0
        return delivered

    def prefetch(self, keys: Sequence[bytes]) -> None:
        """Have the kernel read these pages ahead, and wait for nothing. I/O: one index lookup; one hint a stretch of pages."""
        wants = [
            Want(i, key, place, ()) for i, (key, place) in enumerate(zip(keys, self._log.places(keys), strict=True)) if place
        ]
        wants.sort(key=itemgetter(2))
        for members in _by_segment(wants):
            if self._log.space.acquire(members[0].place):
                with suppress(OSError):
                    file = self._files.reader(members[0].place.segment)
                    for piece in cut(members, AHEAD_BYTES):
                        first, last = piece[0].place, piece[-1].place
                        file.advise("willneed", first.offset, last.offset + last.length - first.offset)
                self._log.space.release(members[0].place.segment)

    def count(self, delivered: Sequence[bool], page_bytes: int) -> None:
        """Add one call's pages to the counters."""
        hits = sum(delivered)
        counters = self._log.counters
        with self._count_lock:
            counters.hits += hits
            counters.misses += len(delivered) - hits
            counters.read_bytes += hits * page_bytes

    def proven(self, keys: Sequence[bytes]) -> None:
        """Read those of these pages whose bytes may have been torn before the store was opened, each once; drop what is torn.

        The index names a page as soon as it is written, not when that is synced. Who was told that a page is there, and syncs,
        must not find it torn. I/O: as :meth:`get_into`, only of pages in the segments that were being filled then.
        """
        space = self._log.space
        places = self._log.current_places(list(keys))
        doubtful = [
            (key, place)
            for key, place in zip(keys, places, strict=True)
            if place is not None and space.untried.get(place.segment) == place.generation and key not in space.tried
        ]
        for (key, place), found in zip(doubtful, self.payloads([key for key, _ in doubtful]), strict=True):
            if found is not None:
                space.tried.add(key)
            else:
                self._log.drop_corrupt(key, place)

    def payloads(self, keys: Sequence[bytes]) -> list[tuple[Place, memoryview] | None]:
        """Pages in their stored form, checked, in memory of their own; None: absent or unreadable (nothing is dropped).

        I/O: as :meth:`get_into`.
        """
        found: list[tuple[Place, memoryview] | None] = [None] * len(keys)
        todo = list(range(len(keys)))
        for _ in range(ATTEMPTS):
            places = self._log.current_places([keys[i] for i in todo])
            own = [(i, p, memoryview(bytearray(p.length))) for i, p in zip(todo, places, strict=True) if p is not None]
            todo = []
            for i, place, memory in own:
                found[i] = (place, memory)
            for want, verdict in self._read([Want(i, keys[i], p, [memory]) for i, p, memory in own]):
                found[want.position] = None
                if verdict not in ("error", "alone"):
                    todo.append(want.position)
            if not todo:
                break
        return found

    def _left_alone(self, disk: int) -> bool:
        """Whether a disk, by number, is left alone now."""
        return self._breakers is not None and self._breakers.alone(disk)

    def _straight(
        self, keys: Sequence[bytes], values: Sequence[bytes | None], targets: Targets, delivered: list[bool]
    ) -> list[int]:
        """Read what lies in lines, marking what arrived; the positions of what is there and has to be looked at by itself."""
        here = [i for i, value in enumerate(values) if value is not None]
        whole = len(here) == len(keys)
        found = lines_of(values if whole else [values[i] for i in here])  # type: ignore[arg-type, misc]  # none is None
        if found is None:
            return here
        if not whole:
            keys, targets = [keys[i] for i in here], [targets[i] for i in here]
        bad: list[int] = []
        held: list[int] = []
        parts: list[Callable[[], list[int]]] = []
        breakers = self._breakers
        try:
            for line in found.lines:
                place = line.place
                alone = breakers is not None and breakers.alone(place.segment >> DISK_SHIFT)
                if alone or not self._log.space.acquire(place):
                    bad += range(line.start, line.stop)
                    continue
                held.append(place.segment)
                cuts = parts_of(line, len(targets[line.start]))
                try:
                    file = self._files.reader(place.segment)
                except OSError:
                    bad += range(line.start, line.stop)
                    continue
                nbytes = (line.stop - line.start) * place.length
                if nbytes <= HINT_BYTES:
                    self._bring(file, place, nbytes, hint=len(cuts) > 1 or len(found.lines) > 1)
                parts += [partial(read_part, file, cut, keys, targets, found) for cut in cuts]
            shared = len(parts) > 1 and len(keys) * found.page_bytes >= PARALLEL_BYTES
            for some in self._crew.run(parts) if shared else [part() for part in parts]:
                bad += some
        finally:
            for number in held:
                self._log.space.release(number)
        if breakers is not None and not bad:
            breakers.note({line.place.segment >> DISK_SHIFT for line in found.lines}, {})
        for i in here:
            delivered[i] = True
        left = [here[i] for i in bad]
        for i in left:
            delivered[i] = False
        return left

    def _bring(self, file: Readable, place: Place, nbytes: int, *, hint: bool) -> None:
        """Have so many bytes from a place on in the page cache, or the kernel told of them; reading them tells of errors.

        What is sent to the null device in one call comes in large pieces of memory, which are read in half the time whenever they
        are read again. Measured, 2 MiB: brought so in 1.7 ms, read from there in 0.25; read at once or after a hint 2.4 and 0.46.
        """
        files = self._files
        with suppress(OSError):
            cached = files.cached_reader(place.segment) if files.may_tell_cached else None
            if cached is not None:
                cached.fetch(place.offset, nbytes)
            elif hint:
                file.advise("willneed", place.offset, nbytes)

    def _fetch(
        self,
        positions: Sequence[int],
        places: Sequence[Place | None],
        keys: Sequence[bytes],
        targets: Targets,
        delivered: list[bool],
    ) -> list[Trouble]:
        """Read the pages at these positions and places, marking those that are there; the ones that are not, and why."""
        wants: list[Want] = []
        encoded: list[Want] = []
        for i, place in zip(positions, places, strict=True):
            if place is None:
                continue
            delivered[i] = True
            if place.codec == RAW:
                wants.append(Want(i, keys[i], place, targets[i]))
            else:
                encoded.append(Want(i, keys[i], place, [memoryview(bytearray(place.length))]))
        troubles = self._read(wants + encoded if encoded else wants)
        for want, _ in troubles:
            delivered[want.position] = False
        for want in encoded:
            if delivered[want.position] and (verdict := _decoded(want, targets[want.position])) != "ok":
                troubles.append((want, verdict))
        return troubles

    def _read(self, wants: list[Want]) -> list[Trouble]:
        """Read and check, every segment held in its generation meanwhile; large calls by several threads."""
        wants.sort(key=itemgetter(2))
        held: list[int] = []
        troubles: list[Trouble] = []
        parts: list[Callable[[], list[Trouble]]] = []
        breakers = self._breakers
        disks: set[int] = set()
        try:
            for members in _by_segment(wants):
                place = members[0].place
                if breakers is not None:
                    if breakers.alone(place.segment >> DISK_SHIFT):
                        troubles += [(want, "alone") for want in members]
                        continue
                    disks.add(place.segment >> DISK_SHIFT)
                if not self._log.space.acquire(place):
                    troubles += [(want, "gone") for want in members]
                    continue
                held.append(place.segment)
                try:
                    file = self._files.reader(place.segment)
                except OSError:
                    troubles += [(want, "error") for want in members]
                    continue
                pieces = cut(members)
                advise(file, pieces)
                parts += [partial(read_piece, file, piece) for piece in pieces]
            shared = len(parts) > 1 and sum(want.place.length for want in wants) >= PARALLEL_BYTES
            found = self._crew.run(parts) if shared else [part() for part in parts]
        finally:
            for number in held:
                self._log.space.release(number)
        for some in found:
            troubles += some
        if breakers is not None:
            failed = {want.place.segment >> DISK_SHIFT for want, verdict in troubles if verdict == "error"}
            breakers.note(disks, {disk: self._files.read_failure(disk) for disk in failed})
        return troubles

    def _second_look(self, want: Want, target: Sequence[memoryview]) -> Verdict:
        """Read and check a page in memory that only this call knows; if it is sound, copy (or decode) it to the caller's."""
        own = memoryview(bytearray(want.place.length))
        for _, verdict in self._read([want._replace(spans=[own])]):
            return verdict
        if want.place.codec != RAW:
            return _decoded(want._replace(spans=[own]), target)
        at = 0
        for span in want.spans:
            span[:] = own[at : at + len(span)]
            at += len(span)
        return "ok"


def _by_segment(wants: Sequence[Want]) -> Iterator[Sequence[Want]]:
    """The wants, sorted by place, cut where the segment or its generation changes."""
    start = 0
    for stop in range(1, len(wants) + 1):
        if stop == len(wants) or wants[stop].place[:2] != wants[start].place[:2]:
            yield wants[start:stop]
            start = stop


def _decoded(want: Want, target: Sequence[memoryview]) -> Verdict:
    """Decode a page that arrived into the caller's memory. One that a newer library encoded is left alone."""
    if not is_known(want.place.codec):
        return "error"
    return "ok" if decode(want.place.codec, want.spans[0], target) else "bad"


def read_pages(file: Readable, wants: Sequence[Want]) -> list[tuple[Want, Verdict]]:
    """Read pages of one segment, sorted by place, and check each against its key, in the caller's thread.

    I/O: one read per piece of neighbours (:mod:`lsmkv_tensor.vlog.pieces`); after an error each of its pages by itself.
    """
    pieces = cut(wants)
    advise(file, pieces)
    troubles: dict[int, Verdict] = {id(want): why for piece in pieces for want, why in read_piece(file, piece)}
    return [(want, troubles.get(id(want), "ok")) for want in wants]
