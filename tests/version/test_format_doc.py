"""The hex example of the format page is a manifest, and it says what the page says."""

from __future__ import annotations

import re
from pathlib import Path

from lsmkv.base.frames import scan
from lsmkv.policy.leveled import Leveled
from lsmkv.version.edit import VersionEdit
from lsmkv.version.journal import read_manifest
from lsmkv.version.manifest import Manifest
from lsmkv.version.rangebytes import encode_ranges
from lsmkv.version.rangedeletes import NO_RANGES, RangeDelete
from lsmkv.version.shape import TableMeta
from lsmkv.version.state import ManifestState
from lsmkv.version.version import apply_edit

PAGE = (Path(__file__).parents[2] / "docs/format/manifest.md").read_text()
EMPTY = ManifestState(wal_floor=3, next_file=4, policy=Leveled(10).describe())
TABLE = TableMeta(5, 4160, 43, 1, b"cat", b"dog", 1, 43, 512, 432, 1700000000.5, 1700000003.0, 1700000002.0)
RANGES = NO_RANGES.added([RangeDelete(b"b", b"d", 44), RangeDelete(b"c", None, 46)])
FLUSH = VersionEdit(added=((0, 1, TABLE),), wal_floor=6, next_file=7, last_seq=46, next_run=2, ranges=RANGES)


def example():
    dump = re.search(r"```hex\n(.*?)```", PAGE, re.DOTALL)[1]
    data = b"".join(bytes.fromhex(line[6:54]) for line in dump.splitlines())
    return data.ljust(16384, b"\0")


def test_the_example_reads_as_described(trees):
    found = read_manifest(trees.disk_with(example()), "/db")
    assert found.edits == (EMPTY.as_edit(), FLUSH)
    assert found.state == apply_edit(EMPTY, FLUSH)
    assert (found.generation, found.marked, found.dropped) == (1, True, None)


def test_its_offsets_are_those_of_the_text():
    frames = scan(example(), 1).frames
    assert [(f.offset, f.kind) for f in frames] == [(0x40, 1), (0xE6, 3), (0x116, 2), (0x26D, 3)]
    assert frames[-1].durable == 0x26D
    assert [f.stamp for f in frames] == [0, 1, 2, 3]
    assert frames[2].offset + 48 + 80 == 0x196
    assert encode_ranges(RANGES) == example()[0x196:0x1DF]


def test_the_writer_writes_exactly_that(trees):
    fs = trees.disk()
    manifest = Manifest.create(fs, "/db", EMPTY)
    manifest.append(FLUSH, apply_edit(EMPTY, FLUSH))
    assert trees.bytes_of(fs) == example()
