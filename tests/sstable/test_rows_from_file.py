"""Rows without their values: what is read from the file is the value or is not believed, whatever happened to the file."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv.base.hashing import KeyBatch
from lsmkv.cache.blockcache import BlockCache
from lsmkv.errors import CorruptionError, IOFailedError
from lsmkv.sstable.rows import make_rows, trim

ROOM = 4096


def trimmed(table, *, full: bool) -> int:
    """Hold the rows of every block without the values; how many could be held so. ``full``: no room for more."""
    held = 0
    for index in range(table.blocks):
        rows, table.row_tray.notes[index] = make_rows(table.file.block(index), table.seed, held=True)
        left = trim(table.row_layouts[index], rows)
        if left is not None:
            table.row_tray.hold(index, *left)
            held += 1
    if full:
        table.row_tray.cache.capacity_bytes = table.row_tray.cache.bytes
    table.likely = True
    return held


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.binary(max_size=4), st.binary(max_size=6), min_size=1, max_size=60),
    st.sampled_from([None, 0, 1, 5]),
    st.booleans(),
    st.booleans(),
    st.one_of(st.none(), st.tuples(st.sampled_from(["flip", "cut"]), st.floats(0, 1))),
    st.lists(st.binary(max_size=5), max_size=20),
)
def test_a_value_from_the_file_is_the_one_of_its_key(tables, pairs, width, one_width, full, damage, others):
    pairs = {key.ljust(4, b"~") if one_width else key: value for key, value in pairs.items()}
    pairs = {key: value if width is None else value[:width].ljust(width, b"v") for key, value in pairs.items()}
    fs, _ = tables.build([(key, 1, pairs[key]) for key in sorted(pairs)], block_bytes=100)
    table = tables.reader(fs, cache=BlockCache(1 << 20))
    trimmed(table, full=full)
    if damage is not None:
        file = fs.open(table.path, "rw")
        at = int(damage[1] * (file.size() - 1))
        if damage[0] == "cut":
            file.truncate(at)
        else:
            file.pwritev([bytes([file.pread(1, at)[0] ^ 1])], at)
    wanted = [*pairs, *others, *(key + key for key in pairs), *(key[:-1] for key in pairs)] * 2
    allowed = contextlib.suppress(CorruptionError, IOFailedError) if damage is not None else contextlib.nullcontext()
    for key in wanted:
        with allowed:
            assert table.value(key) == pairs.get(key, False)
    with allowed:
        wanted.sort()
        assert table.values(KeyBatch(wanted), range(len(wanted))) == [pairs.get(key, False) for key in wanted]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("left", [1, 2])
def test_a_value_that_is_cut_off_is_not_taken_for_that_of_a_longer_key(tables, left, full):
    """Key and value are sealed as one: what the end of the file takes from the value, a longer key must not make up for."""
    fs, _ = tables.build([(b"a", 1, b"aaa"), (b"b", 1, b"aaa")], bits=0)
    table = tables.reader(fs, cache=BlockCache(1 << 20))
    assert trimmed(table, full=full) == 1
    fs.open(table.path, "rw").truncate(table.offsets[0] + table.row_layouts[0][3] + left)
    with pytest.raises(CorruptionError):
        table.value(b"a" * (4 - left))


@pytest.mark.parametrize("value", [b"v", b"value"])
def test_a_table_that_is_cut_to_nothing_is_damaged_and_its_keys_are_not_absent(tables, value):
    fs, _ = tables.build([(b"a", 1, value), (b"b", 1, b"v")], bits=0)
    table = tables.reader(fs, cache=BlockCache(1 << 20))
    assert trimmed(table, full=True) == 1
    fs.open(table.path, "rw").truncate(0)
    for _ in range(2):
        with pytest.raises(CorruptionError):
            table.value(b"a")
