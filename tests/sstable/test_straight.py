"""Batches that lie in blocks built alike: answered without an object a key, and never with a value that is not theirs."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv.base.counters import Counters
from lsmkv.cache.blockcache import BlockCache
from lsmkv.errors import CorruptionError
from lsmkv.sstable.patterns import MOST_BLOCKS, MOST_ROWS, NARROW, Kinds
from lsmkv.sstable.reader import TableReader
from lsmkv.sstable.straight import answer
from lsmkv.sstable.values import neighbours
from lsmkv.testing.memfs import MemoryFileSystem

KEYS = sorted({random.Random(i).randbytes(6) for i in range(400)})
"""Without a common prefix, so that blocks can be alike."""

VALUES = {key: b"value" + key for key in KEYS}

GROUPED = [b"group %02d/" % (i // 16) + key for i, key in enumerate(KEYS)]
"""With a prefix that is kept apart in blocks that lie inside a group, if values are short."""

ROUND_TRIPS = settings(max_examples=300, deadline=None)


def known(tables: SimpleNamespace, fs: MemoryFileSystem, cache: BlockCache | None = None) -> TableReader:
    """A table whose blocks have all been checked once."""
    table = tables.reader(fs, cache=cache, counters=Counters())
    for index in range(table.blocks):
        table.file.frame(index)
    return table


def straight(table: TableReader, keys: list[bytes]) -> object:
    """What the fast way says, False if it may not say anything."""
    index = min(sum(fence < keys[0] for fence in table.fences), table.blocks - 1)
    stop = min(sum(fence < keys[-1] for fence in table.fences), table.blocks - 1) + 1
    return answer(table, keys, b"".join(keys), index, stop) if index < stop else None


def test_whole_batches_are_answered_so_and_counted(tables):
    fs, _ = tables.build([(key, 1, VALUES[key]) for key in KEYS], block_bytes=512)
    table = known(tables, fs)
    assert table.blocks > 10
    for first in range(len(KEYS) - 100):
        for n in (8, 60, 100):
            keys = KEYS[first : first + n]
            before = table.counters.found, table.counters.block_reads, table.counters.block_bytes
            found = straight(table, keys)
            assert found is False or found == [VALUES[key] for key in keys]
            if found is not False:
                assert table.counters.found == before[0] + n
                blocks = table.counters.block_reads - before[1]
                assert blocks * table.file.block_extent(2) == table.counters.block_bytes - before[2]
    assert table.counters.found > 10_000  # that is, most were
    assert table.counters.unfiltered_reads == 0


def twisted(keys: list[bytes], how: str, at: int, other: bytes) -> list[bytes]:
    """The keys with something wrong about them."""
    one = keys[at]
    if how == "flipped":
        keys[at] = one[:3] + bytes((one[3] ^ 1,)) + one[4:]
    elif how == "another":
        keys[at] = other
    elif how == "doubled":
        keys.insert(at, one)
    elif how == "left out":
        del keys[at]
    elif how == "swapped" and at:
        keys[at - 1], keys[at] = one, keys[at - 1]
    elif how == "cut elsewhere" and at:  # the same bytes end to end
        keys[at - 1 : at + 1] = [keys[at - 1] + one[:1], one[1:]]
    return keys


@ROUND_TRIPS
@given(
    st.integers(0, len(KEYS) - 130),
    st.integers(9, 128),
    st.sampled_from(["nothing", "flipped", "another", "doubled", "left out", "swapped", "cut elsewhere"]),
    st.floats(0, 0.999),
    st.sampled_from(KEYS),
    st.sampled_from([200, 256, 512, 4096]),
    st.lists(st.sampled_from(KEYS), max_size=8),
    st.sampled_from([None, 0, 4096, 1 << 20]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([1, NARROW, NARROW + 1, 256]),
)
def test_any_batch_is_answered_as_key_by_key_or_not_at_all(
    tables, first, n, how, where, other, block_bytes, again, room, odd, grouped, value_bytes
):
    names = GROUPED if grouped else KEYS
    other, again = names[KEYS.index(other)], [names[KEYS.index(key)] for key in again]
    newest = {key: (7 + i % 2, (key * 64)[-value_bytes:]) for i, key in enumerate(names)}
    if odd:  # a value of another width
        newest[other] = (7, b"odd")
    entries = sorted(
        [*((k, s, v) for k, (s, v) in newest.items()), *((k, 2, b"older value") for k in set(again))], key=lambda e: (e[0], -e[1])
    )
    fs, _ = tables.build(entries, block_bytes=block_bytes)
    table = known(tables, fs, None if room is None else BlockCache(room))
    keys = twisted(names[first : first + n], how, int(where * n), other)
    want = [newest[key][1] if key in newest else False for key in keys]
    for _ in range(3):
        if max(map(len, keys)) <= len(keys[0]):
            assert neighbours(table, keys) in (None, want)
            if len({*map(len, keys)}) == 1:
                assert straight(table, keys) in (None, False, want)


def test_the_older_version_at_the_start_of_a_block_is_not_taken_for_the_key_again(tables):
    met = 0
    for again in KEYS[20:80]:  # at some of them a block ends between the versions
        entries = [(key, seq, b"v%d" % seq) for i, key in enumerate(KEYS) for seq in ((4, 1) if key == again else (2 + i % 2,))]
        fs, _ = tables.build(entries, block_bytes=300)
        table = known(tables, fs)
        at = KEYS.index(again)
        keys = [*KEYS[:at], again, again, *KEYS[at + 1 : at + 20]]
        want = [b"v4" if key == again else b"v%d" % (2 + KEYS.index(key) % 2) for key in keys]
        met += None not in table.file.layouts[: table.blocks - 1]
        assert straight(table, keys) in (None, False, want)
        assert neighbours(table, keys) in (None, want)
    assert met


@pytest.mark.parametrize("cut", [False, True])
def test_a_damaged_or_missing_byte_is_never_answered(tables, cut):
    fs, _ = tables.build([(key, 1, VALUES[key]) for key in KEYS], block_bytes=300)
    good = fs.open(tables.PATH).pread(1 << 20, 0)
    keys = KEYS[40:100]
    table = known(tables, fs)
    want = [VALUES[key] for key in keys]
    assert straight(table, keys) == want
    start, stop = table.offsets[2], table.offsets[20]
    file = fs.open(tables.PATH, "rw")
    seen = 0
    for at in range(start, stop, 1 if not cut else 7):
        if cut:
            file.truncate(at)
        else:
            file.pwritev([bytes((good[at] ^ 1 << at % 8,))], at)
        try:
            found = neighbours(table, keys)
            assert found == want
        except CorruptionError:
            seen += 1
        file.truncate(at) if cut else None
        file.pwritev([good[at:]] if cut else [good[at : at + 1]], at)
    assert seen > 100
    assert neighbours(table, keys) == want


def test_keys_that_lie_between_the_keys_are_absent(tables):
    keys = [bytes((2 * i, 2 * i + 1)) for i in range(60)]
    fs, _ = tables.build([(key, 1, b"v" + key) for key in keys], block_bytes=4096)
    table = known(tables, fs)
    assert straight(table, keys[4:30]) == [b"v" + key for key in keys[4:30]]
    assert straight(table, [bytes((2 * i + 1, 2 * i + 2)) for i in range(4, 30)]) is None  # the same bytes, end to end


@pytest.mark.parametrize("value_bytes", [20, 256])
@pytest.mark.parametrize("names", [KEYS, GROUPED])
def test_most_batches_are_answered_so_whatever_keys_and_values_are_like(tables, names, value_bytes):
    values = {key: (key * 64)[:value_bytes] for key in names}
    fs, _ = tables.build([(key, 1, values[key]) for key in names], block_bytes=1024)
    table = known(tables, fs)
    assert None not in table.file.layouts
    kept_apart = any(layout[4] for layout in table.file.layouts if layout is not None)
    assert kept_apart == (names is GROUPED and value_bytes == 20)  # a prefix, where that saves much
    for first in range(len(names) - 100):
        for n in (3, 60, 100):
            keys = names[first : first + n]
            assert straight(table, keys) == [values[key] for key in keys]
    assert table.counters.unfiltered_reads == 0


def test_blocks_that_are_held_are_read_with_those_between_them(tables):
    fs, _ = tables.build([(key, 1, VALUES[key]) for key in KEYS], block_bytes=512)
    table = known(tables, fs, BlockCache(1 << 20))
    keys = KEYS[40:140]
    held = [b for b, fence in enumerate(table.fences) if keys[0] <= fence < keys[-1]][::2]
    for block in held:
        table.hold_block(block, table.file.frame(block)[0], 16)
    kept = list(table.cached)
    before = table.counters.block_reads - table.counters.joined_reads
    assert neighbours(table, keys) == [VALUES[key] for key in keys]
    assert table.counters.block_reads - table.counters.joined_reads == before + 1
    assert all(table.cached[block] is kept[block] for block in held)
    while None in table.cached[held[0] : held[-1] + 3]:  # while there is room, more of them are held each time
        assert neighbours(table, keys) == [VALUES[key] for key in keys]
    before = table.counters.block_reads
    assert neighbours(table, keys) == [VALUES[key] for key in keys]
    assert table.counters.block_reads == before


LAYOUT = (100, 100 + 6 * 8, 8, 20, 0)
"""Six rows, keys of 8 bytes, values of 20."""


def of(*layouts: tuple[int, int, int, int, int] | None) -> Kinds:
    """What is known of blocks with these layouts; None: not checked yet."""
    kinds = Kinds(len(layouts))
    for index, layout in enumerate(layouts):
        if layout is not None:
            kinds.know(index, layout)
    return kinds


def test_blocks_whose_entries_differ_in_width_form_no_pattern():
    assert of(LAYOUT, LAYOUT).patterns(0, 2, 8) is not None
    assert of(LAYOUT, LAYOUT).patterns(0, 2, 9) is None
    assert of(LAYOUT, None).patterns(0, 2, 8) is None
    assert of(LAYOUT, (100, 154, 9, 20, 0)).patterns(0, 2, 8) is None
    assert of(LAYOUT, (100, 148, 8, 21, 0)).patterns(0, 2, 8) is None
    assert of((100, 148, 8, 0, 0)).patterns(0, 1, 8) is None  # no values
    assert of((100, 148, 6, 20, 2), LAYOUT).patterns(0, 2, 8) is not None


def test_patterns_are_bounded():
    (first, second) = of(*[LAYOUT] * (MOST_BLOCKS + 3)).patterns(0, MOST_BLOCKS + 3, 8) or ()
    assert (first.blocks, second.blocks) == (MOST_BLOCKS, 3)
    assert of((100, 100 + 8 * (MOST_ROWS + 1), 8, 20, 0)).patterns(0, 1, 8) is None
    many = [(100 + i, 148 + i, 8, 20, 0) for i in range(600)]
    kinds = of(*many)
    known = [i for i in range(600) if kinds.patterns(i, i + 1, 8)]
    assert known == list(range(255)), "a number of a layout is one byte"
    for i in range(250):
        for j in range(i + 1, min(i + 5, 255)):
            (pattern,) = kinds.patterns(i, j, 8) or ()
            assert pattern.frames[-1].stop == sum(values_at + 6 * 20 for _, values_at, *_ in many[i:j])


def test_a_block_that_is_known_now_joins_the_pattern():
    kinds = of(LAYOUT, None, LAYOUT)
    assert kinds.patterns(0, 3, 8) is None
    kinds.know(1, LAYOUT)
    assert kinds.patterns(0, 3, 8) is not None
