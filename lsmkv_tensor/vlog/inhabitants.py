"""Which pages live in a segment: by the table of resident pages, else by the segment's own headers, else by the whole index."""

from __future__ import annotations

from collections.abc import Sequence

from lsmkv import DB
from lsmkv_tensor.retention.keeper import Keeper
from lsmkv_tensor.vlog.files import SegmentFiles
from lsmkv_tensor.vlog.layout import BLOCK, INDEX_KEY_BYTES, Place, SegmentHeader
from lsmkv_tensor.vlog.reserved import RESERVED
from lsmkv_tensor.vlog.scan import Frame, frames_of
from lsmkv_tensor.vlog.segment import Segment

__all__ = ["Inhabitants"]


class Inhabitants:
    """Finds the live pages of segments. Used under the commit lock."""

    def __init__(self, db: DB, files: SegmentFiles, keeper: Keeper, store_id: bytes) -> None:
        self._db = db
        self._files = files
        self._keeper = keeper
        self._store_id = store_id

    def of(self, segment: Segment) -> dict[bytes, Place]:
        """The place of each live page by index key; as many as the segment's count says unless damage made that wrong.

        I/O: batched index lookups; before the table is filled the segment's frame headers; after damage a scan of the index.
        """
        entries = self._by_table(segment) if self._keeper.filled else self._by_frames(segment)
        return entries if len(entries) == segment.pages else self.by_index(segment)

    def by_index(self, segment: Segment) -> dict[bytes, Place]:
        """:meth:`of`, by reading the whole index: slow and certain."""
        return self.all_by_index([segment])[0]

    def all_by_index(self, segments: Sequence[Segment]) -> list[dict[bytes, Place]]:
        """:meth:`by_index` of several segments, by reading the index once."""
        found: dict[tuple[int, int], dict[bytes, Place]] = {(s.number, s.generation): {} for s in segments}
        for key, value in self._db.scan(start=RESERVED + b"\xff") if segments else ():
            place = Place.unpack(value) if len(key) == INDEX_KEY_BYTES else None
            if place is not None and (mine := found.get(place[:2])) is not None:
                mine[key] = place
        return list(found.values())

    def _by_table(self, segment: Segment) -> dict[bytes, Place]:
        """:meth:`of` through the table. I/O: one batched index lookup."""
        return self._still_there(segment, self._keeper.keys(self._keeper.in_segment(segment.number)))

    def _by_frames(self, segment: Segment) -> dict[bytes, Place]:
        """:meth:`of` through the frame headers, none if they cannot be read."""
        header = SegmentHeader(segment.number, segment.generation, self._files.segment_bytes, self._store_id)
        found: dict[bytes, Place] = {}
        try:
            file = self._files.reader(segment.number)
            for frame in frames_of(file, header, BLOCK, segment.tail):
                if isinstance(frame, Frame):
                    found |= self._still_there(segment, list(dict.fromkeys(entry.key for entry in frame.entries)))
        except OSError:
            return {}
        return found

    def _still_there(self, segment: Segment, keys: Sequence[bytes]) -> dict[bytes, Place]:
        """The pages among these that the index finds in this segment and generation. I/O: one batched index lookup."""
        found: dict[bytes, Place] = {}
        for key, value in zip(keys, self._db.get_many(keys), strict=True):
            place = None if value is None else Place.unpack(value)
            if place is not None and (place.segment, place.generation) == (segment.number, segment.generation):
                found[key] = place
        return found
