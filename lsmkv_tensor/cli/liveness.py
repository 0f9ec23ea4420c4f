"""``lsmkv verify --liveness``: the live counts of segments, counted again from the index, and put right if asked."""

from __future__ import annotations

from posixpath import join

import lsmkv
from lsmkv.env.fs import FileSystem
from lsmkv_tensor.cli.survey import follow_index, segments_of
from lsmkv_tensor.vlog.recount import PAGES_FROM, differences, write_counts

__all__ = ["recount"]


def recount(fs: FileSystem, path: str, *, repair: bool) -> dict[str, object]:
    """The segments of the page store at ``path`` whose recorded live pages and bytes are wrong, and whether they were put right.

    Without ``repair`` it takes no lock and sees a moment of a live writer's store. With it the store must not be open elsewhere.
    LockedError, CorruptionError, IOFailedError. I/O: reads the index once; with ``repair`` one commit if anything is wrong.
    """
    if repair:
        with lsmkv.open(join(path, "index"), lsmkv.Options(event_log=False, status_interval_s=None)) as db:
            segments = segments_of(db, path)
            found = differences(db.scan(start=PAGES_FROM), segments)
            if found:
                write_counts(db, segments, found)
    else:
        with follow_index(fs, path) as follower, follower.snapshot() as now:
            segments = segments_of(now, path)
            found = differences(now.scan(start=PAGES_FROM), segments)
    wrong = [one._asdict() for one in found]
    return {"path": path, "segments": len(segments), "wrong": wrong, "repaired": repair and bool(wrong)}
