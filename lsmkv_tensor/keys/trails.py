"""Trails: the way down from a page, which its hashed key cannot tell.

A *trail* is a record beside the pages: its key is the 28-byte key of a page, its value the 14-byte digests of the pages from
the start of that page's group to the page itself. A trail that reaches the end of its group (index 63) is also the edge to
the next group, whose anchor is the beginning of its last digest. At 14 bytes a page they cost a few per mille of the pages.

Two promises, kept by whoever writes them (:class:`lsmkv_tensor.store.TensorStore`, under one lock):

1. every stored page lies on a trail of its group;
2. whatever is stored in a group, the trails that lead to that group from the first are there too.

So the descendants of a page are exactly what lies beyond it on trails through it, and in the groups those reach, whatever
holes eviction has made in between. The road not taken: parent links in the pages' own index values lose the way down at the
first evicted page, and a page that cannot be found cannot be forgotten: it would come back to life with its parent.

All functions here are pure; ``records_of(anchor)`` stands for the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lsmkv_tensor.keys.anchored import ANCHOR_BYTES, DIGEST_BYTES, GROUP_PAGES, INDEX_BYTES, child_anchor, page_index

__all__ = ["Change", "Doomed", "Record", "group_keys", "is_trail", "put_records", "subtree", "tidy", "trail"]

Record: TypeAlias = tuple[bytes, bytes]
"""A trail: (key of its last page, digests of its pages)."""

Change: TypeAlias = tuple[bytes, bytes | None]
"""A trail to write, or with None to remove."""

RecordsOf: TypeAlias = Callable[[bytes], Iterable[Record]]
"""The trails of one group, by its anchor."""


class Doomed(NamedTuple):
    """What one step of a drop removes together: pages, and changes of trails."""

    pages: list[bytes]
    changes: list[Change]


def trail(keys: Sequence[bytes], last: int) -> Record:
    """The trail to page ``last`` of a prefix, given the prefix's page keys."""
    first = last - last % GROUP_PAGES
    return keys[last], b"".join([key[-DIGEST_BYTES:] for key in keys[first : last + 1]])


def is_trail(record: Record) -> bool:
    """Whether a record can be a trail: its path ends at its key, and is as long as the key's place in its group says."""
    last, path = record
    if len(last) != ANCHOR_BYTES + INDEX_BYTES + DIGEST_BYTES or page_index(last) >= GROUP_PAGES:
        return False
    return len(path) == (page_index(last) + 1) * DIGEST_BYTES and path[-DIGEST_BYTES:] == last[-DIGEST_BYTES:]


def group_keys(record: Record) -> list[bytes]:
    """The keys of all pages on a trail, from the first of its group."""
    anchor, path = record[0][:ANCHOR_BYTES], record[1]
    return [
        anchor + i.to_bytes(INDEX_BYTES, "big") + path[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES]
        for i in range(len(path) // DIGEST_BYTES)
    ]


def put_records(keys: Sequence[bytes], missing: Sequence[int], *, follows: bool) -> list[Change]:
    """What to write together with the pages at positions ``missing`` (ascending, not empty) of a prefix.

    ``follows``: the page before the first of them is stored, or there is none. Then the trails above it are there (promise
    2), and the one that ended at it is replaced; else all of them are written (again).
    """
    assert missing
    deepest = {at // GROUP_PAGES: at for at in missing}
    first = missing[0]
    group = first // GROUP_PAGES
    if not follows:
        deepest |= {g: (g + 1) * GROUP_PAGES - 1 for g in range(group)}
    changes: list[Change] = [trail(keys, deepest[g]) for g in sorted(deepest)]
    if follows and first % GROUP_PAGES:
        changes.append((keys[first - 1], None))
    return changes


def subtree(records_of: RecordsOf, key: bytes) -> Iterator[Doomed]:
    """The page of this key and everything below it, the deepest groups first: a drop cut short can be repeated.

    The caller must carry out each step before asking for the next, and let nobody write in between.
    """
    below = []
    reached = _children(record for record in records_of(key[:ANCHOR_BYTES]) if _through(record, key))
    while reached:
        below.append(anchor := reached.pop())
        reached += _children(records_of(anchor))
    for anchor in reversed(below):
        records = list(records_of(anchor))
        pages = dict.fromkeys(page for record in records for page in group_keys(record))
        yield Doomed(list(pages), [(record[0], None) for record in records])
    yield _cut(records_of(key[:ANCHOR_BYTES]), key)


def tidy(
    records: Sequence[Record], stored: Callable[[Sequence[bytes]], NDArray[np.bool_]], occupied: Callable[[bytes], bool]
) -> list[Change]:
    """What to change so that the trails of one group lead to stored pages and to occupied groups, and nowhere else.

    ``stored``: which of these pages are in the store. ``occupied``: whether a group, by its anchor, has trails of its own.
    """
    pages = list(dict.fromkeys(page for record in records for page in group_keys(record)))
    alive = {page for page, here in zip(pages, stored(pages), strict=True) if here}
    needed: dict[bytes, bytes] = {}
    for record in records:
        path = group_keys(record)
        depth = max((i + 1 for i, page in enumerate(path) if page in alive), default=0)
        if len(path) == GROUP_PAGES and depth < GROUP_PAGES and occupied(child_anchor(record[0])):
            depth = GROUP_PAGES
        if depth:
            needed[path[depth - 1]] = record[1][: depth * DIGEST_BYTES]
    covered = {page for last, path in needed.items() for page in group_keys((last, path))[:-1]}
    kept = {last: path for last, path in needed.items() if last not in covered}
    before = dict(records)
    gone: list[Change] = [(last, None) for last in before if last not in kept]
    return gone + [(last, path) for last, path in kept.items() if last not in before]


def _through(record: Record, key: bytes) -> bool:
    """Whether a trail of the key's group passes its page."""
    at = page_index(key) * DIGEST_BYTES
    return record[1][at : at + DIGEST_BYTES] == key[-DIGEST_BYTES:]


def _children(records: Iterable[Record]) -> list[bytes]:
    """The anchors of the groups that trails lead to."""
    return [child_anchor(last) for last, _ in records if page_index(last) == GROUP_PAGES - 1]


def _cut(records: Iterable[Record], key: bytes) -> Doomed:
    """The page and what lies beyond it in its own group; trails through it end before it from now on."""
    index = page_index(key)
    pages, changes = {key: None}, dict[bytes, bytes | None]()
    for record in records:
        if _through(record, key):
            path = group_keys(record)
            pages |= dict.fromkeys(path[index:])
            changes[record[0]] = None
            if index:
                changes[path[index - 1]] = record[1][: index * DIGEST_BYTES]
    return Doomed(list(pages), list(changes.items()))
