"""Opening a page store for a command, as large as it is: a command must not shrink what an operator made.

The capacity is the opener's choice and not recorded. A smaller one than the store has grown to would evict pages at once.
"""

from __future__ import annotations

from posixpath import join

from lsmkv.cli.tools import Tools
from lsmkv.env.fs import FileSystem
from lsmkv_tensor.cli.survey import follow_index, segment_files
from lsmkv_tensor.options import StoreOptions
from lsmkv_tensor.pages import PageStore
from lsmkv_tensor.retention.quota import MIN_INDEX_BYTES, MIN_SEGMENTS, STAMP_BYTES
from lsmkv_tensor.vlog.disks import known_disks
from lsmkv_tensor.vlog.stamp import read_stamp

__all__ = ["check_page_store", "open_as_it_is", "options_as_it_is"]

INDEX_ROOM = 4
"""Times the index's bytes: it is measured twice, and what is appended four times (vlog/share.py)."""

SPARE_SEGMENTS = 3
"""Beyond those there are: garbage collection's, the one that a store keeps free by itself, and one to be filled."""


def check_page_store(tools: Tools, path: str) -> None:
    """InvalidArgumentError unless there is a page store at ``path``. I/O: some stats."""
    kind = tools.store_kind(path)
    if kind.name != "page store":
        kind.refuse(tools.fs, path, "this command is for page stores")


def options_as_it_is(fs: FileSystem, path: str, capacity_bytes: int | None = None) -> StoreOptions:
    """Options that evict nothing from the page store at ``path``; ``capacity_bytes`` where that is more than it takes.

    I/O: lists both directories.
    """
    stamp = read_stamp(fs, path)
    if stamp is None:
        return StoreOptions() if capacity_bytes is None else StoreOptions(capacity_bytes=capacity_bytes)
    with follow_index(fs, path) as follower:
        segments = len(segment_files(fs, known_disks(follower, path)))
    index = sum(fs.size(join(path, "index", name)) for name in fs.listdir(join(path, "index")))
    share = max(INDEX_ROOM * index + MIN_INDEX_BYTES, (capacity_bytes or 0) // 32)
    least = share + STAMP_BYTES + max(segments + SPARE_SEGMENTS, MIN_SEGMENTS) * stamp.segment_bytes
    return StoreOptions(capacity_bytes=max(least, capacity_bytes or 0), index_bytes=share)


def open_as_it_is(fs: FileSystem, path: str, capacity_bytes: int | None = None) -> PageStore:
    """Open a page store and evict nothing (see :func:`options_as_it_is`). Errors, I/O: as :meth:`PageStore.open`."""
    return PageStore.open(path, options=options_as_it_is(fs, path, capacity_bytes))
