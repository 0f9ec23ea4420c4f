"""A writer of pages in a process of its own: puts, deletes, collections, evictions, as fast as it can.

``python writer.py ROOT MEMBER ACKED ROUNDS``: round n stores pages that anybody can recompute and deletes some of older rounds.
The number of the last acknowledged round stands in the first 8 bytes of the file ACKED; what is put down there before a round is
stored in full when it is raised. Rounds go on where the last process ended.
"""

from __future__ import annotations

import hashlib
import os
import sys

import numpy as np

from lsmkv_tensor import PageStore, Sharing, StoreOptions
from lsmkv_tensor.namespaces import Namespace

FIELDS = {"model": "m"}
PAGE = 6000
PAGES = 6
"""New pages of a round."""
LASTING = 8
"""Rounds that are surely still there: older ones are deleted, so that nothing needs to be evicted."""
OPTIONS = StoreOptions(capacity_bytes=(1 << 20) + 14 * (128 << 10), segment_bytes=128 << 10, index_bytes=1 << 20)


def key(number: int, i: int) -> bytes:
    return hashlib.sha256(b"%d/%d" % (number, i)).digest()[:28]


def page(number: int, i: int) -> bytes:
    return np.random.default_rng([number, i]).integers(0, 256, PAGE, dtype=np.uint8).tobytes()


def kept(number: int) -> list[int]:
    """The pages of a round that are never deleted."""
    return [i for i in range(PAGES) if (number + i) % 3]


def rounds(namespace: Namespace, store: PageStore, acked: str, first: int, count: int) -> None:
    """Write."""
    fd = os.open(acked, os.O_RDWR | os.O_CREAT)
    for number in range(first, first + count):
        stored = namespace.put_many([key(number, i) for i in range(PAGES)], [page(number, i) for i in range(PAGES)])
        assert all(stored)
        os.pwrite(fd, number.to_bytes(8, "little"), 0)
        gone = number - 2
        namespace.delete_many([key(gone, i) for i in range(PAGES) if i not in kept(gone)])
        namespace.delete_many([key(number - LASTING, i) for i in range(PAGES)])
        if number % 5 == 0:
            store.gc(max_live=0.9)
        if number % 7 == 0:
            store.sync()
    os.close(fd)
    assert not store.stats().evicted_pages
    assert store.stats().recycled_segments


def main(root: str, member: str, acked: str, count: int) -> None:
    """Go on where the last process ended."""
    with open(acked, "rb") as file:
        first = int.from_bytes(file.read(8), "little") + 1
    with PageStore.open(root, options=OPTIONS, member=member, sharing=Sharing(follow=())) as store:
        rounds(store.namespace(FIELDS, PAGE), store, acked, first, count)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
