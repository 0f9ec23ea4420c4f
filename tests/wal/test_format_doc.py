"""The hex example of the format page is a log, and it says what the page says."""

from __future__ import annotations

import re
from pathlib import Path

from lsmkv.base.frames import scan
from lsmkv.wal.batch import WalBatch

PAGE = (Path(__file__).parents[2] / "docs/format/wal.md").read_text()


def example():
    dump = re.search(r"```hex\n(.*?)```", PAGE, re.DOTALL)[1]
    return b"".join(bytes.fromhex(line[6:54]) for line in dump.splitlines())


BATCHES = [
    WalBatch(41, [b"cat", b"dog"], [b"meow", b"woof"]),
    WalBatch(43, [b"cat", b"cow"], [None, b"moo"]),
    WalBatch(45, [b"c", b"cat", b"x"], [None, b"back", None], ((0, b"c", b"d"), (2, b"x", None))),
]


def test_the_example_reads_as_described(logs):
    found = logs.read_bytes(example(), number=12)
    assert found.batches == BATCHES
    assert (found.number, found.previous, found.durable) == (12, (9, 4096), 0x86)
    assert found.dropped_bytes == 0


def test_its_offsets_are_those_of_the_text():
    first, second, third = scan(example(), 12).frames
    assert (first.offset, first.kind, first.codes, first.entries, len(first.payload)) == (0x40, 1, (0, 0), 2, 22)
    assert (first.stamp, first.durable) == (41, 0)
    assert (second.offset, second.kind, second.codes, second.stamp, second.durable) == (0x86, 2, (0, 1), 43, 0x86)
    assert (third.offset, third.kind, third.codes, third.stamp) == (0xC7, 3, (1, 1), 45)
    assert bytes(third.payload[:3]) == bytes([2, 1, 3])


def test_the_writer_writes_exactly_that(logs):
    fs = logs.disk()
    wal = logs.write(fs, BATCHES, sync_after=[1], number=12, previous=(9, 4096))
    assert logs.bytes_of(fs, wal.path) == example()
