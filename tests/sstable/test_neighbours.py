"""Batches that lie side by side in a table, and those that nearly do: no key is taken for another or for an older version."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv.cache.blockcache import BlockCache
from lsmkv.sstable.values import neighbours

KEYS = [b"page/%03d" % i for i in range(0, 120, 2)]


def twisted(keys: list[bytes], how: str, where: int) -> list[bytes]:
    """The keys with one of them not as it should be."""
    key = keys[where]
    other = {"head": b"X" + key[1:], "tail": key[:-1] + b"1", "shorter": key[:-1], "empty": b"", "elsewhere": KEYS[0]}
    if how == "doubled":
        keys.insert(where, key)
    elif how == "swapped":
        keys[where - 1], keys[where] = key, keys[where - 1]
    elif how in other:
        keys[where] = other[how]
    return keys


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(KEYS), max_size=6),
    st.integers(0, len(KEYS) - 12),
    st.integers(3, 11),
    st.sampled_from(["straight", "head", "tail", "shorter", "empty", "elsewhere", "doubled", "swapped"]),
    st.integers(90, 250),
    st.sampled_from([0, 600, 1 << 20]),
)
def test_what_lies_side_by_side_is_answered_as_key_by_key(tables, again, first, where, how, block_bytes, room):
    versions = [(key, 2, b"old") for key in again]
    entries = sorted({*versions, *((key, 3 + i, b"v%03d" % i) for i, key in enumerate(KEYS))}, key=lambda e: (e[0], -e[1]))
    fs, _ = tables.build(entries, block_bytes=block_bytes)
    table = tables.reader(fs, cache=BlockCache(room))
    keys = twisted(KEYS[first : first + 12], how, where)
    want = [b"v%03d" % KEYS.index(key) if key in KEYS else None for key in keys]
    for _ in range(2):
        if max(map(len, keys)) <= len(keys[0]):
            assert neighbours(table, keys) in (None, want)


def test_a_key_that_only_ends_like_its_neighbour_is_absent(tables):
    fs, _ = tables.build([(key, 1, b"v" + key) for key in KEYS], block_bytes=1 << 20)
    keys = twisted(KEYS[:12], "head", 5)
    assert neighbours(tables.reader(fs), KEYS[:12]) == [b"v" + key for key in KEYS[:12]]
    assert neighbours(tables.reader(fs), keys) is None


def test_a_doubled_key_at_the_end_of_a_block_does_not_show_its_older_version(tables):
    for again in KEYS[1:20]:  # at one of them a block ends between its versions
        entries = [(key, seq, b"v%d" % seq) for key in KEYS for seq in ((2, 1) if key == again else (1,))]
        fs, _ = tables.build(entries, block_bytes=150)
        keys = [*KEYS[: KEYS.index(again) + 1], *KEYS[KEYS.index(again) : 30]]
        want = [b"v2" if key == again else b"v1" for key in keys]
        assert neighbours(tables.reader(fs), keys) in (None, want)
