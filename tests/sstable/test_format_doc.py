"""The hex example of the format page is a table, and it says what the page says."""

from __future__ import annotations

import re
from pathlib import Path

from lsmkv.sstable.block import DELETES, REPEATS
from lsmkv.sstable.layout import FOOTER_BYTES, FRAME_BYTES
from lsmkv.testing.memfs import MemoryFileSystem

PAGE = (Path(__file__).parents[2] / "docs/format/sstable.md").read_text()
ENTRIES = [(b"page/1", 3, b"one"), (b"page/2", 5, None), (b"page/2", 2, b"two"), (b"page/9", 4, b"nine")]


def example() -> bytes:
    dump = re.search(r"```hex\n(.*?)```", PAGE, re.DOTALL)[1]
    return b"".join(bytes.fromhex(line[6:54]) for line in dump.splitlines())


def opened(tables):
    fs = MemoryFileSystem()
    file = fs.open(tables.PATH, "create")
    file.pwritev([example()], 0)
    file.close()
    return tables.reader(fs)


def test_the_example_reads_as_described(tables):
    table = opened(tables)
    (columns,) = table.columns_chunks(None, None, 1 << 20)
    assert tables.entries_of(columns) == ENTRIES
    assert table.verify() == []
    assert table.get(b"page/2") == (5, None)
    assert table.get(b"page/2", None, 4) == (2, b"two")


def test_its_offsets_and_fields_are_those_of_the_text(tables):
    table = opened(tables)
    footer, block = table.file.footer, table.block(0)
    assert (footer.number, footer.filter_at, footer.index_at, footer.properties_at) == (7, 0x5F, 0x88, 0xBA)
    assert len(example()) - FOOTER_BYTES == 0x11E
    assert (block.entries, block.prefix, block.key_width, block.base_tag) == (4, b"page/", 1, 0x201)
    assert [tag - 0x201 for tag in block.tags_list(0, 4)] == [0x100, 0x2FF, 0, 0x200]
    assert example()[FRAME_BYTES + 25] == REPEATS | DELETES == 3
    assert table.filter_bits == 65
    assert table.fences == [b"page/9"]


def test_the_builder_writes_exactly_that(tables):
    fs, _ = tables.build(ENTRIES, block_bytes=4096)
    assert fs.open(tables.PATH).pread(1 << 20, 0) == example()
