"""Edits survive their encoding; bytes that are no edit are refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmkv.errors import CorruptionError
from lsmkv.version.edit import VersionEdit, decode, encode
from lsmkv.version.rangedeletes import NO_RANGES, Fragment, RangeDelete, RangeDeletes
from lsmkv.version.shape import TableMeta

COUNTS = st.integers(0, 2**63)
TIMES = st.floats(0, 1e12)
SECTIONS = st.none() | st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3)
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
    born_s=TIMES,
    newest_s=TIMES,
    tombstone_s=TIMES,
    shadowed=COUNTS,
    swept=COUNTS,
)
KEYS = st.binary(max_size=6)
DELETES = st.lists(st.tuples(KEYS, st.none() | st.binary(min_size=1, max_size=6)), max_size=8).map(
    lambda ends: [RangeDelete(a, None if b is None else a + b, seq) for seq, (a, b) in enumerate(ends, 5)]
)
EDITS = st.builds(
    VersionEdit,
    added=st.lists(st.tuples(st.integers(0, 20), COUNTS, TABLES), max_size=5).map(tuple),
    removed=st.lists(COUNTS, max_size=5).map(tuple),
    wal_floor=st.none() | COUNTS,
    next_file=st.none() | COUNTS,
    last_seq=st.none() | COUNTS,
    next_run=st.none() | COUNTS,
    policy=SECTIONS,
    transition=SECTIONS,
    ledger=SECTIONS,
    arrivals=st.none() | st.tuples(COUNTS, COUNTS),
    ranges=st.none() | DELETES.map(NO_RANGES.added),
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


@pytest.mark.parametrize("text", [b"{", b"[1]", b"\xff\xfe"])
@pytest.mark.parametrize(("section", "at"), [("policy", 12), ("transition", 64), ("ledger", 68)])
def test_a_section_that_is_no_json_object_is_refused(section, at, text):
    head = bytearray(encode(VersionEdit(**{section: {}}))[:80])
    head[at : at + 4] = len(text).to_bytes(4, "little")
    with pytest.raises(CorruptionError, match=section):
        decode(bytes(head) + text, "MANIFEST", 64)


def test_an_edit_of_version_1_is_read():
    """It has neither the lengths of transition and ledger nor the later columns of tables, and does not say that it has."""
    table = TableMeta(5, 4160, 43, 1, b"cat", b"dog", 1, 43, 512, 432)
    edit = VersionEdit(added=((1, 7, table),), removed=(3,), last_seq=43, policy={"name": "x"})
    new = encode(edit)
    times = len(new) - 6 - 40
    old = (int.from_bytes(new[:4], "little") & 0xFF).to_bytes(4, "little") + new[4:64] + new[80:times] + new[-6:]
    assert decode(old, "MANIFEST", 64) == edit
    with pytest.raises(CorruptionError):
        decode(old[:-1], "MANIFEST", 64)


def test_an_edit_of_version_2_is_read():
    """It has no range deletes, and its tables do not say up to where they were swept."""
    table = TableMeta(5, 4160, 43, 1, b"cat", b"dog", 1, 43, 512, 432, 1.5, 2.5, 2.0, 7)
    edit = VersionEdit(added=((1, 7, table),), removed=(3,), last_seq=43, policy={"name": "x"}, ledger={})
    new = encode(edit)
    old = (int.from_bytes(new[:4], "little") & 0x1FF).to_bytes(4, "little") + new[4:72] + new[80:-14] + new[-6:]
    assert decode(old, "MANIFEST", 64) == edit
    with pytest.raises(CorruptionError):
        decode(old[:-1], "MANIFEST", 64)


@pytest.mark.parametrize("bits", [1 << 11, 1 << 10, 1 << 9, 1 << 8 | 1 << 10])
def test_bits_that_no_version_gives_are_refused(bits):
    whole = encode(VersionEdit())
    with pytest.raises(CorruptionError):
        decode(bits.to_bytes(4, "little") + whole[4:], "MANIFEST", 64)


@pytest.mark.parametrize(
    "fragments",
    [
        (Fragment(b"b", b"a", (5,)),),
        (Fragment(b"a", b"c", (5,)), Fragment(b"b", None, (5,))),
        (Fragment(b"a", None, (5,)), Fragment(b"b", None, (5,))),
        (Fragment(b"a", b"b", ()),),
        (Fragment(b"a", b"b", (5, 5)),),
        (Fragment(b"a", b"b", (5, 6)),),
        (Fragment(b"a", b"b", (0,)),),
    ],
)
def test_fragments_that_are_no_list_are_refused(fragments):
    with pytest.raises(CorruptionError):
        decode(encode(VersionEdit(ranges=RangeDeletes(fragments))), "MANIFEST", 64)


@given(DELETES.filter(bool), st.data())
@settings(max_examples=60)
def test_a_flipped_byte_of_range_deletes_gives_a_list_or_is_refused(deletes, data):
    """The checksum catches it; should it not, what is read is at least a sound list."""
    whole = bytearray(encode(VersionEdit(ranges=NO_RANGES.added(deletes))))
    whole[data.draw(st.integers(72, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = decode(bytes(whole), "MANIFEST", 64)
    except CorruptionError:
        return
    assert not list(found.ranges.problems())


def test_counts_far_beyond_the_bytes_take_no_memory():
    head = bytearray(encode(VersionEdit()))
    head[4:12] = b"\xff" * 8
    with pytest.raises(CorruptionError, match="cannot hold"):
        decode(bytes(head), "MANIFEST", 64)
