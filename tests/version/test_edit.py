"""Edits survive their encoding; bytes that are no edit are refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv.errors import CorruptionError
from lsmkv.version.edit import VersionEdit, decode, encode
from lsmkv.version.shape import TableMeta

COUNTS = st.integers(0, 2**63)
TABLES = st.builds(
    TableMeta,
    number=COUNTS,
    bytes=COUNTS,
    entries=COUNTS,
    tombstones=COUNTS,
    smallest=st.binary(max_size=20),
    largest=st.binary(max_size=20),
    min_seq=COUNTS,
    max_seq=COUNTS,
    raw_bytes=COUNTS,
    filter_bits=COUNTS,
)
EDITS = st.builds(
    VersionEdit,
    added=st.lists(st.tuples(st.integers(0, 20), COUNTS, TABLES), max_size=5).map(tuple),
    removed=st.lists(COUNTS, max_size=5).map(tuple),
    wal_floor=st.none() | COUNTS,
    next_file=st.none() | COUNTS,
    last_seq=st.none() | COUNTS,
    next_run=st.none() | COUNTS,
    policy=st.none() | st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3),
    arrivals=st.none() | st.tuples(COUNTS, COUNTS),
)


@given(EDITS)
@settings(max_examples=50)
def test_an_edit_comes_back_as_it_was(edit):
    assert decode(encode(edit), "MANIFEST", 64) == edit
    assert edit.encode() == encode(edit)


@given(EDITS, st.data())
@settings(max_examples=30)
def test_a_cut_or_longer_edit_is_refused(edit, data):
    whole = encode(edit)
    size = data.draw(st.integers(0, len(whole) - 1))
    for wrong in (whole[:size], whole + b"\0"):
        with pytest.raises(CorruptionError) as caught:
            decode(wrong, "MANIFEST", 64)
        assert (caught.value.file, caught.value.offset) == ("MANIFEST", 64)


@pytest.mark.parametrize("policy", [b"{", b"[1]", b"\xff\xfe"])
def test_a_policy_that_is_no_json_object_is_refused(policy):
    whole = encode(VersionEdit(policy={"name": "x" * 20}))
    head = bytearray(whole[:64])
    head[12:16] = len(policy).to_bytes(4, "little")
    with pytest.raises(CorruptionError, match="policy"):
        decode(bytes(head) + policy, "MANIFEST", 64)


def test_counts_far_beyond_the_bytes_take_no_memory():
    head = bytearray(encode(VersionEdit()))
    head[4:12] = b"\xff" * 8
    with pytest.raises(CorruptionError, match="cannot hold"):
        decode(bytes(head), "MANIFEST", 64)
