"""What scans leave in the block cache."""

from __future__ import annotations

import pytest

from lsmkv.base.counters import Counters
from lsmkv.cache.blockcache import BlockCache


@pytest.mark.parametrize("blocks", [1, 4, 8])
def test_what_scans_ask_again_and_again_is_held_even_by_a_full_cache(tables, blocks):
    """A full cache is asked about some of the blocks that scans miss; those that come again get their turn."""
    fs, _ = tables.build([(b"%05d" % i, 1, b"v" * 20) for i in range(2000)], block_bytes=256)
    counters = Counters()
    table = tables.reader(fs, cache=BlockCache(20_000), counters=counters)
    for index in range(table.blocks):
        table.look(index, counters)
    assert table.cached.count(None) > table.blocks // 2
    missed = []
    for _ in range(120):
        before = counters.block_reads
        list(table.scan_chunks(table.fences[150], table.fences[150 + blocks], reverse=False))
        missed.append(counters.block_reads - before)
    assert missed[0] > blocks
    assert missed[-1] == 0
