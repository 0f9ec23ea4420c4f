"""The first way in which pages are looked for: by the caller's own thread, without waiting for the device any longer than it may.

What the page cache holds is read from there, into the caller's memory. What it does not hold is most often read past it
(:mod:`lsmkv_tensor.vlog.past`). No thread is called for either: that costs 0.1 to 0.2 ms, several times what a page in memory
does. What cannot be had so is left to others: encoded pages, places that are to be brought into the page cache
(:mod:`lsmkv_tensor.vlog.bringing`), pages whose check fails, file systems without such reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Literal, NamedTuple, TypeAlias

from lsmkv.env.fs import CachedReads
from lsmkv.env.hurry import HURRY
from lsmkv_tensor.codec import RAW
from lsmkv_tensor.errors import IOFailedError
from lsmkv_tensor.runtime.crew import Crew
from lsmkv_tensor.vlog.bringing import Bringing
from lsmkv_tensor.vlog.cached import PARALLEL_BYTES, Cached
from lsmkv_tensor.vlog.disks import DISK_SHIFT
from lsmkv_tensor.vlog.files import Opened, SegmentFiles
from lsmkv_tensor.vlog.layout import Place
from lsmkv_tensor.vlog.log import ValueLog
from lsmkv_tensor.vlog.past import Run, Stretch, read_past
from lsmkv_tensor.vlog.pieces import Piece, Want, cut, read_piece
from lsmkv_tensor.vlog.queues import ReadQueues
from lsmkv_tensor.vlog.single import SinglePages
from lsmkv_tensor.vlog.straight import Lines, lines_of, parts_of, read_part
from lsmkv_tensor.vlog.when import When

__all__ = ["AtOnce", "Found"]

Way: TypeAlias = Literal["cached", "past", "other"]
"""From the page cache; past it; not here."""


class Found(NamedTuple):
    """What became of the pages of a call, by position."""

    verdicts: list[bool | None]
    """There, absent, or to be looked for in another way."""
    copied: list[int]
    """Those that came through memory of the store's own."""


class AtOnce:
    """Looks for pages of one store. Any number of threads."""

    def __init__(self, log: ValueLog, files: SegmentFiles, crew: Crew, alone: Callable[[int], bool], queues: ReadQueues) -> None:
        """``alone``: whether a disk, by number, is to be left alone."""
        self._log = log
        self._files = files
        self._crew = crew
        self._alone = alone
        self._queues = queues
        self._bringing = Bringing()
        self.single = SinglePages(log, files, alone, queues, self._bringing)

    @property
    def past_cache(self) -> bool:
        """Whether pages may be read past the page cache."""
        return self._files.modes.direct_writes and self._queues.usable

    @property
    def able(self) -> bool:
        """Whether there is anything that it can do here."""
        return self._files.may_tell_cached or self.past_cache

    def by(self, keys: Sequence[bytes], targets: Sequence[Sequence[memoryview]], when: When) -> Found:
        """Look for pages of which nothing is known; ``targets`` are not touched any more when this returns.

        I/O: an index lookup; from memory, or past the page cache, a read a stretch of neighbours.
        """
        if self.able and when.remaining() != 0:
            values = self._values(keys, when)
            if values is not None:
                one = self.single.read(keys[0], values[0], lambda: targets[0], when) if len(keys) == 1 else None
                if one is None:
                    return self.read(keys, values, targets, when)
                return Found([True if one.nbytes else None], [0] if one.copied else [])
        return Found([None] * len(keys), [])

    def read(
        self, keys: Sequence[bytes], values: Sequence[bytes | None], targets: Sequence[Sequence[memoryview]], when: When
    ) -> Found:
        """Look for pages with these index values."""
        verdicts: list[bool | None] = [False if value is None else None for value in values]
        here = [i for i, verdict in enumerate(verdicts) if verdict is None]
        whole = len(here) == len(keys)
        found = lines_of(values if whole else [values[i] for i in here])  # type: ignore[arg-type, misc]  # none is None
        if found is None:
            here = list(range(len(keys)))
            work = self._by_piece(keys, values, targets, verdicts, when)
        elif whole:
            work = self._by_line(keys, targets, found, when)
        else:
            work = self._by_line([keys[i] for i in here], [targets[i] for i in here], found, when)
        if work.tried:
            for i in work.tried:
                verdicts[here[i]] = True
            shared = len(work.parts) > 1 and len(work.tried) * sum(map(len, targets[0])) >= PARALLEL_BYTES
            for bad in self._crew.run(work.parts) if shared else [part() for part in work.parts]:
                for i in bad:
                    verdicts[here[i]] = None
        copied: list[int] = []
        if work.past:
            copied = [here[i] for i in read_past(work.past, self._queues, when.remaining, when.look_s)]
            for i in copied:
                verdicts[i] = True
        if None in verdicts:  # some may have moved
            self._log.keeper.known.moved([key for key, verdict in zip(keys, verdicts, strict=True) if verdict is None])
        return Found(verdicts, copied)

    # helpers

    def _values(self, keys: Sequence[bytes], when: When) -> list[bytes | None] | None:
        """What the index says: what is known of it, from memory, or else by a thread that may be left; None if that is late."""
        return self._log.keeper.known.values(keys, partial(self._asked, keys, when))

    def _asked(self, keys: Sequence[bytes], when: When) -> list[bytes | None] | None:
        """:meth:`_values` of keys of which something is not known."""
        db = self._log.db
        if self._queues.heeds_hurry:
            try:
                with HURRY:
                    return [db.get(keys[0])] if len(keys) == 1 else db.get_many(keys)
            except (IOFailedError, BlockingIOError):  # if it is not for the hurry, it is told again
                pass
        return when.aside(partial(db.get_many, keys))

    def _opened(self, segments: Sequence[int], when: When) -> dict[int, Opened]:
        """The files of these segments, but for those that cannot be opened, or not in time, or are left alone."""
        files = self._files
        wanted = [segment for segment in dict.fromkeys(segments) if not self._alone(segment >> DISK_SHIFT)]
        found = {segment: opened for segment in wanted if (opened := files.peek(segment)) is not None}
        missing = [segment for segment in wanted if segment not in found]
        if missing:
            found |= when.aside(lambda: files.opened(missing)) or {}
        return found

    def _by_line(
        self, keys: Sequence[bytes], targets: Sequence[Sequence[memoryview]], found: Lines, when: When
    ) -> _Work:  # fmt: skip
        """How pages are read that lie in lines."""
        work = _Work([], [], [])
        size = found.page_bytes
        files = self._opened([line.place.segment for line in found.lines], when)
        for line in found.lines:
            opened, place = files.get(line.place.segment), line.place
            if opened is None:
                continue
            cuts = parts_of(line, len(targets[line.start]))
            cached = opened.cached
            whole = len(cuts) > 1 and cached is not None and cached.holds(place.offset, size * (line.stop - line.start))
            for part in cuts:
                nbytes = size * (part.stop - part.start)
                way = "cached" if whole else self._way(opened, place, part.offset, nbytes)
                if whole and self._bringing.doubted:  # they were brought one by one, and are lost so
                    self._bringing.found(place.segment, place.generation, part.offset, nbytes)
                if way == "cached" and cached is not None:
                    work.parts.append(partial(read_part, Cached(cached), part, keys, targets, found))
                    work.tried.extend(range(part.start, part.stop))
                elif way == "past" and opened.direct is not None:
                    work.past.append(Run(opened.direct, part, keys, targets, found))
        return work

    def _by_piece(
        self,
        keys: Sequence[bytes],
        values: Sequence[bytes | None],
        targets: Sequence[Sequence[memoryview]],
        verdicts: list[bool | None],
        when: When,
    ) -> _Work:
        """How pages are read that lie anywhere; verdicts of those that have ended become False."""
        work = _Work([], [], [])
        wants: list[Want] = []
        for i, place in enumerate(self._log.valid(values)):
            if place is None:
                verdicts[i] = False
            elif place.codec == RAW:
                wants.append(Want(i, keys[i], place, targets[i]))
        wants.sort(key=itemgetter(2))
        files = self._opened([want.place.segment for want in wants], when)
        for (segment, _), members in groupby(wants, lambda want: want.place[:2]):
            opened = files.get(segment)
            if opened is None:
                continue
            for piece in cut(list(members)):
                first, last = piece[0].place, piece[-1].place
                way = self._way(opened, first, first.offset, last.offset + last.length - first.offset)
                if way == "cached" and opened.cached is not None:
                    work.parts.append(partial(_read_piece, opened.cached, piece))
                    work.tried.extend(want.position for want in piece)
                elif way == "past" and opened.direct is not None:
                    work.past.append(Stretch(opened.direct, piece))
        return work

    def _way(self, opened: Opened, place: Place, offset: int, size: int) -> Way:
        """How these bytes, of the segment of this place, are to be read."""
        able = opened.direct is not None and self._queues.usable
        if opened.cached is None:
            return "past" if able else "other"
        held = opened.cached.holds(offset, size)
        if held:
            if self._bringing.doubted:
                self._bringing.found(place.segment, place.generation, offset, size)
            return "cached"
        if able and self._bringing.past(place.segment, place.generation, offset, size, settled=held is False):
            return "past"
        return "cached" if held is None else "other"


class _Work(NamedTuple):
    """How the pages of a call are read, by position."""

    parts: list[Callable[[], Sequence[int]]]
    """Read from the page cache; the positions of what did not come whole."""
    tried: list[int]
    """What these read."""
    past: list[Stretch | Run]


def _read_piece(file: CachedReads, piece: Piece) -> list[int]:
    """Read a piece from the page cache; the positions of pages that did not come whole."""
    return [want.position for want, _ in read_piece(Cached(file), piece)]
