"""Pages that a call with a deadline reads straight into the caller's memory, because the page cache holds them.

A read that the device answers may hang, and would write to the caller's memory whenever it ends. So a thread that may be left has
the pages' bytes *fetched* into the page cache, which copies them nowhere; then the caller's own thread *takes* them with reads
that never wait for the device. That is one copy less than reading into memory of our own first, and no such memory. Measured, 64
MiB: fetching what is there already 1 ms, taking it 11, reading it into our memory and copying it 20.

What cannot be had this way is left to :mod:`lsmkv_tensor.vlog.hurried`: small or encoded pages, pages whose check fails or that
the page cache let go of again, file systems and modes (``direct_io="always"``, ``keep_cached=False``) without such reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple, Protocol

from lsmkv.env.fs import Buffer, CachedReads
from lsmkv_tensor.codec import RAW
from lsmkv_tensor.runtime.crew import Crew
from lsmkv_tensor.vlog.direct import Readable
from lsmkv_tensor.vlog.disks import DISK_SHIFT
from lsmkv_tensor.vlog.files import SegmentFiles
from lsmkv_tensor.vlog.layout import Place
from lsmkv_tensor.vlog.pieces import Piece, Trouble, Want, advise, cut, read_piece

__all__ = ["LEAST_BYTES", "PARALLEL_BYTES", "Cached", "Fetched", "Fetcher", "Fetches", "Held", "bring", "take"]

LEAST_BYTES = 32 << 10
"""Bytes of a page from which on a copy saved is worth looking at each page by itself."""

STRETCH_BYTES = 8 << 20
"""Bytes fetched with one call."""

PARALLEL_BYTES = 4 << 20
"""Bytes that must be taken before other threads help, as when pages are read (:mod:`lsmkv_tensor.vlog.reader`)."""


class Held(NamedTuple):
    """Neighbours whose bytes were in the page cache a moment ago."""

    file: CachedReads
    piece: Piece
    took: Callable[[int], None] | None = None
    """Is told how many of them were taken."""


class Fetched(NamedTuple):
    """Pages of one call, by position in its keys."""

    pieces: list[Held]
    absent: list[int]
    """The index does not know them."""


class Fetches(Protocol):
    """What fetches pages and takes them. Any number of threads."""

    def fetch(self, keys: Sequence[bytes]) -> Fetched:
        """Have pages in the page cache; on a thread that may be left."""
        ...

    def take(self, fetched: Fetched, targets: Sequence[Sequence[memoryview]]) -> list[bool | None]:
        """Read what was fetched, without waiting for the device; see :func:`take`."""
        ...


class Fetcher:
    """Fetches and takes pages of one store."""

    def __init__(
        self,
        places: Callable[[Sequence[bytes]], list[Place | None]],
        files: SegmentFiles,
        crew: Crew,
        alone: Callable[[int], bool],
    ) -> None:
        """``places``: where the index says that pages are. ``alone``: whether a disk, by number, is to be left alone."""
        self._places = places
        self._files = files
        self.crew = crew
        self._alone = alone

    def fetch(self, keys: Sequence[bytes]) -> Fetched:
        """Have pages in the page cache; on a thread that may be left. I/O: an index lookup; a read per stretch of neighbours."""
        places = self._places(keys)
        found = [
            Want(i, key, place, ())
            for i, (key, place) in enumerate(zip(keys, places, strict=True))
            if place is not None and place.codec == RAW
        ]
        found.sort(key=itemgetter(2))
        pieces: list[Held] = []
        for segment, some in groupby(found, lambda want: want.place.segment):
            if self._alone(segment >> DISK_SHIFT):
                continue
            members = list(some)
            try:
                file = self._files.cached_reader(segment)
                if file is not None:
                    bring(file, self._files.reader(segment), members)
                    pieces += [Held(file, piece) for piece in cut(members)]
            except OSError:  # whoever reads these pages in earnest will tell of it
                continue
        return Fetched(pieces, [i for i, place in enumerate(places) if place is None])

    def take(self, fetched: Fetched, targets: Sequence[Sequence[memoryview]]) -> list[bool | None]:
        """See :func:`take`."""
        return take(fetched, targets, self.crew)


def take(fetched: Fetched, targets: Sequence[Sequence[memoryview]], crew: Crew) -> list[bool | None]:
    """Read what was fetched, without waiting for the device.

    True: the page is there, every byte checked. False: it is absent. None: it has to be read in earnest.

    I/O: one read per piece, from memory.
    """
    verdicts: list[bool | None] = [None] * len(targets)
    for i in fetched.absent:
        verdicts[i] = False
    parts: list[Callable[[], list[Trouble]]] = []
    nbytes = 0
    for file, piece, _ in fetched.pieces:
        mine = [want._replace(spans=targets[want.position]) for want in piece]
        parts.append(partial(read_piece, Cached(file), mine))
        for want in piece:
            verdicts[want.position] = True
            nbytes += want.place.length
    shared = len(parts) > 1 and nbytes >= PARALLEL_BYTES
    results = crew.run(parts) if shared else [part() for part in parts]
    for held, troubles in zip(fetched.pieces, results, strict=True):
        for want, _ in troubles:
            verdicts[want.position] = None
        if held.took is not None:
            held.took(len(held.piece) - len(troubles))
    return verdicts


def bring(file: CachedReads, hinted: Readable, members: Sequence[Want]) -> None:
    """Have the bytes of these pages, of one segment and sorted by place, in the page cache. OSError."""
    stretches = cut(members, STRETCH_BYTES)
    advise(hinted, stretches)
    for stretch in stretches:
        first, last = stretch[0].place, stretch[-1].place
        file.fetch(first.offset, last.offset + last.length - first.offset)


class Cached:
    """A file as the page cache has it: what is not there has no bytes."""

    def __init__(self, file: CachedReads) -> None:
        self._file = file

    def pread(self, size: int, offset: int) -> bytes:
        """Up to ``size`` bytes that are there. I/O: none."""
        own = bytearray(size)
        return bytes(own[: self._file.preadv_cached([own], offset)])

    def preadv(self, buffers: Sequence[Buffer], offset: int) -> int:
        """Fill the buffers with what is there. I/O: none."""
        return self._file.preadv_cached(buffers, offset)

    def advise(self, *_: object) -> None:
        """Nothing is read ahead of memory."""
