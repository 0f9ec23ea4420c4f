"""What point lookups keep of a block: right whatever is held, trimmed, damaged or gone meanwhile, and counted to the read."""

from __future__ import annotations

import random
import sys
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsmkv.base.counters import Counters
from lsmkv.base.hashing import KeyBatch
from lsmkv.cache.blockcache import BlockCache
from lsmkv.errors import CorruptionError
from lsmkv.sstable.rows import make_rows, trim
from lsmkv.testing.counting import CountingFileSystem
from lsmkv.testing.memfs import MemoryFileSystem

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def kept(table, keys):
    """The keys whose rows a table holds."""
    return [key for key in keys if table.rows[next(i for i, fence in enumerate(table.fences) if key <= fence)] is not None]


def without_values(table):
    """Trim all rows, as a full cache does; how many were trimmed."""
    count = 0
    for index, rows in enumerate(table.rows):
        left = trim(table.row_layouts[index], rows) if rows is not None else None
        if left is not None:
            table.row_tray.hold(index, *left)
            count += 1
    return count


@relaxed
@given(
    st.dictionaries(st.binary(min_size=0, max_size=5), st.binary(max_size=4), min_size=1, max_size=60),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["none", "zstd"]),
    st.lists(st.binary(max_size=6), max_size=20),
    st.integers(0, 2**64 - 1),
)
def test_rows_answer_as_the_block_does(tables, found, wide, each, compression, strangers, seed):
    entries = [(key.rjust(5, b"p") if wide else key, 1, value.ljust(4) if each else value) for key, value in found.items()]
    entries = sorted({key: (key, seq, value) for key, seq, value in entries}.values())
    fs, _ = tables.build(entries, block_bytes=128, compression=compression, bits=4.0)
    cache = BlockCache(1 << 20, seed)
    table, plain = tables.reader(fs, cache=cache), tables.reader(fs)
    questions = [key for key, _, _ in entries] + strangers
    for turn in range(4):
        for key in questions:
            expected = plain.get(key)
            assert table.value(key) == (False if expected is None else expected[1])
        batch = KeyBatch(sorted(questions))
        expected = plain.values(batch, range(len(questions)))
        assert table.values(batch, range(len(questions))) == expected
        if turn:
            assert kept(table, [key for key, _, _ in entries]) == [key for key, _, _ in entries]
        if turn == 2:
            trimmed = without_values(table)
            cache.resize(cache.bytes)
            assert compression == "zstd" or trimmed == sum(1 for i in range(table.blocks) if table.row_layouts[i][4])


def test_rows_are_made_after_the_second_hit_of_a_block_and_not_for_one_that_is_hit_once(tables):
    entries = [(b"%018d" % i, 1, b"v%07d" % i) for i in range(200)]
    tables.build(entries, fs=(fs := MemoryFileSystem()), block_bytes=1024)
    table = tables.reader(fs, cache=BlockCache(1 << 20, 5))
    held = []
    for _ in range(4):
        assert table.value(entries[3][0]) == entries[3][2]
        held.append((table.cached[0] is not None, table.rows[0] is not None))
    assert held == [(True, False), (True, False), (False, True), (False, True)]


def test_a_row_without_its_value_costs_one_read_of_the_value(tables):
    counting = CountingFileSystem(MemoryFileSystem())
    entries = [(b"%018d%c" % (i, i * 37 % 251), 1, b"v%07d" % i) for i in range(1000)]
    tables.build(entries, fs=counting, block_bytes=1024)
    counters = Counters()
    cache = BlockCache(1 << 20, 5)
    table = tables.reader(counting, cache=cache, counters=counters)
    for _ in range(2):
        for key, _, value in entries:
            assert table.value(key) == value
    before, reads = counters.counts(), counting.calls("read")
    for key, _, value in entries:
        assert table.value(key) == value
    assert counting.calls("read") == reads, "all values are held"
    assert counters.counts().cache_hits == before.cache_hits + len(entries)
    assert without_values(table) == table.blocks
    cache.resize(cache.bytes)  # no room to hold them again
    table.row_reads = 1
    before, reads = counters.counts(), counting.calls("read")
    for key, _, value in entries[:60]:
        assert table.value(key) == value
    spent = counters.counts() - before
    assert counting.calls("read") - reads == spent.block_reads + spent.unfiltered_reads
    assert spent.block_reads == spent.found == 60
    columns = [layout[4] for layout in table.row_layouts if layout]
    assert spent.block_bytes < 60 * min(columns), "values, not columns or blocks"


@pytest.mark.parametrize("held", [True, False])
def test_a_changed_byte_is_never_a_wrong_value(tables, held):
    """Of every byte of the value columns: the right value, or CorruptionError, never anything else."""
    fs = MemoryFileSystem()
    entries = [(b"key%05d%c" % (i, 65 + i * 11 % 57), 1, b"%08d" % i) for i in range(64)]
    tables.build(entries, fs=fs, block_bytes=512)
    cache = BlockCache(1 << 20, 9)
    table = tables.reader(fs, cache=cache)
    for _ in range(2):
        for key, _, value in entries:
            assert table.value(key) == value
    if not held:
        assert without_values(table)
        cache.resize(cache.bytes)
    file = fs.open(tables.PATH, "rw")
    wrong = 0
    for index in range(table.blocks):
        at = table.offsets[index] + table.row_layouts[index][3]
        for byte in range(0, table.row_layouts[index][4], 3):
            old = file.pread(1, at + byte)
            file.pwritev([bytes([old[0] ^ 0x40])], at + byte)
            for key, _, value in entries:
                try:
                    assert table.value(key) == value
                except CorruptionError:
                    wrong += 1
            file.pwritev([old], at + byte)
    assert (wrong > 0) == (not held)


def test_threads_in_a_cache_that_is_always_full(tables):
    """Rows come, are trimmed and go under the reader's hands: what it gets is right."""
    fs = MemoryFileSystem()
    rng = random.Random(4)
    entries = [(key, 1, rng.randbytes(20)) for key in sorted({rng.randbytes(8) for _ in range(3000)})]
    tables.build(entries, fs=fs, block_bytes=700)
    cache = BlockCache(40_000, 77)
    table = tables.reader(fs, cache=cache)
    wrong: list[object] = []

    def ask(seed: int) -> None:
        mine = random.Random(seed)
        try:
            for _ in range(60):
                for key, _, value in mine.choices(entries, k=60):
                    assert table.value(key) == value
                some = sorted(mine.choices(entries, k=40))
                got = table.values(KeyBatch([key for key, _, _ in some]), range(40))
                assert got == [value for _, _, value in some]
                assert table.value(mine.randbytes(9)) is False
        except BaseException as error:
            wrong.append(error)

    often = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(often)
    assert wrong == []
    assert cache.trims > 0
    assert cache.evictions > 0
    assert cache.bytes <= cache.capacity_bytes


def test_seals_differ_from_process_to_process(tables):
    fs, _ = tables.build([(b"k", 1, b"v")])
    block = tables.reader(fs).file.block(0)
    assert make_rows(block, 1, held=True)[0] != make_rows(block, 2, held=True)[0]
