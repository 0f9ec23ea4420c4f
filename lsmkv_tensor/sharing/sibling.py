"""One page store that another process writes, followed: the bytes of its pages, and what is known of it.

Why what is delivered is right: :mod:`lsmkv_tensor.sharing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby

import lsmkv
from lsmkv.env.fs import CachedReads
from lsmkv_tensor.codec import RAW, decode, is_known
from lsmkv_tensor.sharing.following import FollowedStore, index_keys
from lsmkv_tensor.sharing.stats import SiblingStats
from lsmkv_tensor.vlog.cached import Held, bring
from lsmkv_tensor.vlog.disks import known_disks
from lsmkv_tensor.vlog.layout import Place, has_ended, minute_of
from lsmkv_tensor.vlog.pieces import Want, cut
from lsmkv_tensor.vlog.reader import read_pages
from lsmkv_tensor.vlog.reserved import SEGMENTS
from lsmkv_tensor.vlog.segment import Segment

__all__ = ["Sibling"]

ATTEMPTS = 8
"""Times a page is looked up while it keeps moving before it is a miss."""


class Sibling(FollowedStore):
    """The store in one directory, followed. Any thread may call anything."""

    # reading

    def get_into(
        self, text: bytes, keys: Sequence[bytes], targets: Sequence[Sequence[memoryview]], page_bytes: int
    ) -> list[bool]:
        """Fill each target with the page of its key; False: absent or unreadable (contents then undefined).

        ``targets[i]`` are writable spans of together exactly ``page_bytes``.

        I/O: one batched index lookup; one read per stretch of neighbouring pages.
        """
        delivered = [False] * len(keys)
        self._ask(lambda index: self._deliver(index, text, keys, targets, page_bytes, delivered), None)
        with self._lock:
            hits = sum(delivered)
            self._hits += hits
            self._read_bytes += hits * page_bytes
        return delivered

    def _deliver(
        self,
        index: lsmkv.Follower,
        text: bytes,
        keys: Sequence[bytes],
        targets: Sequence[Sequence[memoryview]],
        page_bytes: int,
        delivered: list[bool],
    ) -> None:
        """:meth:`get_into` of an open index."""
        before: dict[int, Place] = {}
        waiting = list(range(len(keys)))
        for _ in range(ATTEMPTS):
            wants = self._resolve(index, text, waiting, keys, targets, page_bytes)
            still = [want for want in wants if before.get(want.position) == want.place]
            for want in still:  # nothing moved it: the bytes themselves are wrong, or the page cache is
                delivered[want.position] = self._second_look(want) and self._decoded(want, targets[want.position])
            moved = [want for want in wants if before.get(want.position) != want.place]
            waiting = []
            for want, sound in self._read(moved):
                if sound:
                    delivered[want.position] = self._decoded(want, targets[want.position])
                else:
                    before[want.position] = want.place
                    waiting.append(want.position)
            if not waiting:
                return
            with self._lock:
                self._retries += len(waiting)
            index.refresh()  # what emptied those places is older than what is there now: this look sees it

    def _resolve(
        self,
        index: lsmkv.Follower,
        text: bytes,
        positions: Sequence[int],
        keys: Sequence[bytes],
        targets: Sequence[Sequence[memoryview]],
        page_bytes: int,
    ) -> list[Want]:
        """Look up where the pages at these positions are; those that are not there, or not as we know pages, are left out."""
        number = self._number(index, text)
        if number is None:
            return []
        found = index_keys(number, [keys[i] for i in positions])
        values = index.get_many(found)
        if self._number(index, text) != number:  # dropped meanwhile, and the number given to others: not our pages
            return []
        wants: list[Want] = []
        minute = minute_of(self._clock.now())
        self._find_disks(index, values)
        for i, key, value in zip(positions, found, values, strict=True):
            place = None if value is None or has_ended(value, minute) else Place.unpack(value)
            if place is None:
                continue
            if place.codec == RAW and place.length == page_bytes:
                wants.append(Want(i, key, place, targets[i]))
            elif place.codec != RAW and is_known(place.codec) and place.length <= page_bytes:  # encoded only if that saves space
                wants.append(Want(i, key, place, [memoryview(bytearray(place.length))]))
        return wants

    def _find_disks(self, index: lsmkv.Follower, values: Sequence[bytes | None]) -> None:
        """Ask where the disks of these places are if one is new. I/O: then a short scan."""
        if not all(value is None or self._segments.knows(int.from_bytes(value[:4], "little")) for value in values):
            self._segments.homes = known_disks(index, self.path)

    def _decoded(self, want: Want, target: Sequence[memoryview]) -> bool:
        """Decode a page that arrived, if it is encoded, into the caller's memory."""
        if want.place.codec == RAW or decode(want.place.codec, want.spans[0], target):
            return True
        with self._lock:
            self._unreadable += 1
        return False

    def _read(self, wants: list[Want]) -> list[tuple[Want, bool]]:
        """Read and check, segment by segment; which of the pages are sound."""
        results: list[tuple[Want, bool]] = []
        for _, group in groupby(sorted(wants, key=lambda want: want.place), key=lambda want: want.place[:2]):
            members = list(group)
            try:
                verdicts = [
                    (want, verdict == "ok") for want, verdict in read_pages(self._segments.reader(members[0].place), members)
                ]
            except OSError:
                verdicts = [(want, False) for want in members]
            results += verdicts
        return results

    def _second_look(self, want: Want) -> bool:
        """Read a page past the page cache into memory of our own, and copy it to the caller's if it is sound."""
        try:
            own = self._segments.read_past_cache(want.key, want.place)
        except OSError:
            own = None
        if own is None:
            with self._lock:
                self._unreadable += 1
            return False
        at = 0
        for span in want.spans:
            span[:] = own[at : at + len(span)]
            at += len(span)
        return True

    def fetch(self, text: bytes, keys: Sequence[bytes], page_bytes: int) -> list[Held]:
        """Have pages in the page cache, on a thread that may be left; those that can be taken from there, by position.

        I/O: one batched index lookup; one read per stretch of neighbouring pages.
        """
        found: list[Held] = []
        nobody: list[Sequence[memoryview]] = [()] * len(keys)

        def bring_all(index: lsmkv.Follower) -> None:
            """Segment by segment."""
            wants = [w for w in self._resolve(index, text, range(len(keys)), keys, nobody, page_bytes) if w.place.codec == RAW]
            for _, group in groupby(sorted(wants, key=lambda want: want.place), key=lambda want: want.place[:2]):
                members = list(group)
                with suppress(OSError):  # whoever reads these pages in earnest will tell of it
                    file = self._segments.reader(members[0].place)
                    if isinstance(file, CachedReads) and file.tells_cached:
                        bring(file, file, members)
                        found.extend(Held(file, piece, partial(self._took, page_bytes)) for piece in cut(members))

        self._ask(bring_all, None)
        return found

    def _took(self, page_bytes: int, pages: int) -> None:
        """So many pages were taken."""
        with self._lock:
            self._hits += pages
            self._read_bytes += pages * page_bytes

    def prefetch(self, text: bytes, keys: Sequence[bytes]) -> None:
        """Have the kernel read these pages ahead, and wait for nothing. I/O: one index lookup; one hint a page."""

        def hint(index: lsmkv.Follower) -> None:
            """One page after the other: which lie side by side is for the kernel to find."""
            number = self._number(index, text)
            values = index.get_many(index_keys(number, keys)) if number is not None else []
            self._find_disks(index, values)
            for place in (Place.unpack(value) for value in values if value is not None):
                if place is not None:
                    with suppress(OSError):
                        self._segments.reader(place).advise("willneed", place.offset, place.length)

        self._ask(hint, None)

    # about it

    def stats(self) -> SiblingStats:
        """What is known of it. I/O: a scan of its segment records."""

        def pages(index: lsmkv.Follower) -> int:
            """Pages of all its segments."""
            return sum(Segment.from_record(key, value, self.path).pages for key, value in index.scan(prefix=SEGMENTS))

        held = self._ask(pages, 0)
        with self._lock:
            followed = self._index is not None
            return SiblingStats(
                name=self.name,
                followed=followed,
                reason=self._reason,
                pages=held,
                age_s=self._clock.monotonic() - self._looked_s if followed else 0.0,
                hits=self._hits,
                read_bytes=self._read_bytes,
                looks=self._looks,
                news=self._news,
                retries=self._retries,
                unreadable=self._unreadable,
                failures=self._failures,
            )
