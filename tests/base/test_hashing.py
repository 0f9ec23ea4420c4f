"""One hash function, whichever way keys come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lsmkv.base.columns import ByteColumn
from lsmkv.base.counters import Counters
from lsmkv.base.hashing import KeyBatch, hash_column, hash_key, hash_keys


def test_the_hash_is_murmur3_x64_128_with_seed_0():
    assert hash_key(b"") == (0, 0)
    assert hash_key(b"hello") == (0xCBD8A7B341BD9B02, 0x5B1E906A48AE1D19)


@given(
    st.one_of(
        st.lists(st.binary(max_size=70), max_size=40),
        st.integers(0, 70).flatmap(lambda w: st.lists(st.binary(min_size=w, max_size=w), max_size=40)),
    )
)
def test_lists_columns_and_single_keys_agree(keys):
    expected = [list(hash_key(k)) for k in keys]
    assert hash_keys(keys).tolist() == expected
    assert hash_column(ByteColumn.from_list(keys)).tolist() == expected
    padded = ByteColumn.from_list([b"x", *keys, b"yy"]).slice(1, len(keys) + 1)
    assert hash_column(padded).tolist() == expected


@given(st.lists(st.binary(max_size=3), max_size=100), st.booleans())
def test_a_batch_knows_its_hashes_and_whether_widths_agree(keys, fixed):
    keys = sorted(k.ljust(3, b"\0") if fixed else k for k in keys)
    batch = KeyBatch(keys)
    assert len(batch) == len(keys)
    assert batch.hashes.tolist() == [list(hash_key(k)) for k in keys]
    assert batch.uniform == (len({len(k) for k in keys}) <= 1)


def test_counters_start_at_zero_and_add_up():
    counters = Counters()
    counters.block_reads += 2
    counters.cache_hits += 3
    assert counters.block_fetches == 5
    counters.clear()
    assert set(counters.as_dict().values()) == {0}
