"""A writer in a process of its own: commits that anybody can recompute, as fast as it can.

``python writer.py PATH ACKED COMMITS``: goes on where the store ends; the number of the last acknowledged commit stands in the
first 8 bytes of the file ACKED.
"""

from __future__ import annotations

import os
import sys

import lsmkv

KEYS = 61


def changes(number: int) -> dict[bytes, bytes | None]:
    """What commit ``number`` writes."""
    written: dict[bytes, bytes | None] = {b"k%03d" % (number * 7 % KEYS): b"v%d " % number * (1 + number % 9)}
    written[b"k%03d" % (number * 13 % KEYS)] = None if number % 3 else b"w%d" % number
    written[b"n"] = b"%d" % number
    return written


def main(path: str, acked: str, commits: int) -> None:
    """Write."""
    options = lsmkv.Options(memtable_bytes=4 << 10, table_bytes=8 << 10, level0_runs=1, policy=lsmkv.Leveled(size_ratio=2))
    fd = os.open(acked, os.O_RDWR | os.O_CREAT)
    with lsmkv.open(path, options) as db:
        first = int(db.get(b"n") or b"0") + 1
        for number in range(first, first + commits):
            with db.batch() as batch:
                for key, value in changes(number).items():
                    if value is None:
                        batch.delete(key)
                    else:
                        batch.put(key, value)
            os.pwrite(fd, number.to_bytes(8, "little"), 0)
            if number % 500 == 0:
                db.compact()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
