"""Both memtables against a list of versions: every sequence number, both directions, every bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmkv.base.keys import DELETE, MAX_SEQ, PUT
from lsmkv.env.rng import seeded
from lsmkv.errors import InvalidArgumentError
from lsmkv.memtable import ENTRY_OVERHEAD_BYTES, new_memtable

KINDS = ("skiplist", "sorteddict")

# Few distinct keys, so that batches overwrite; zero bytes and prefixes, so that padding tricks show.
KEYS = st.one_of(st.sampled_from([b"", b"\0", b"\0\0", b"a", b"a\0", b"ab", b"b", b"\xff", b"\xff\xff"]), st.binary(max_size=4))
VALUES = st.one_of(st.none(), st.binary(max_size=5))
BATCH = st.lists(st.tuples(KEYS, VALUES), min_size=1, max_size=12)
BOUND = st.one_of(st.none(), KEYS)


class Model:
    """Every version ever written, by key."""

    def __init__(self, kind):
        self.mem = new_memtable(kind, seeded(1))
        self.versions = {}
        self.seq = 1

    def write(self, batch, *, keep=True):
        self.mem.apply([k for k, _ in batch], [v for _, v in batch], self.seq, keep_versions=keep)
        for i, (key, value) in enumerate(batch):
            self.versions.setdefault(key, []).append((self.seq + i, value))
        self.seq += len(batch)

    def get_at(self, key, seq):
        return max((v for v in self.versions.get(key, []) if v[0] <= seq), default=None, key=lambda v: v[0])

    def scan(self, start, stop, reverse, seq):
        found = {key: self.get_at(key, seq) for key in self.versions}
        inside = [(k, v[1]) for k, v in found.items() if v and (start is None or k >= start) and (stop is None or k < stop)]
        return sorted(inside, key=lambda pair: pair[0], reverse=reverse)


def scan(mem, start=None, stop=None, reverse=False, seq=MAX_SEQ):
    chunks = list(mem.scan_chunks(start, stop, reverse=reverse, seq=seq))
    assert all(chunks), "empty chunk"
    return [pair for chunk in chunks for pair in chunk]


def entries(columns):
    seqs, kinds = (columns.tags >> 8).tolist(), (columns.tags & 255).tolist()
    return list(zip(columns.keys.tolist(), seqs, kinds, columns.values.tolist(), strict=True))


def expected_entries(versions):
    flat = [(key, seq, value) for key, held in versions.items() for seq, value in held]
    flat.sort(key=lambda e: (e[0], -e[1]))
    return [(key, seq, DELETE if value is None else PUT, value or b"") for key, seq, value in flat]


@pytest.mark.parametrize("kind", KINDS)
@given(batches=st.lists(BATCH, max_size=6), bounds=st.tuples(BOUND, BOUND), scan_between=st.booleans(), data=st.data())
def test_every_version_is_found_at_every_sequence_number(kind, batches, bounds, scan_between, data):
    model = Model(kind)
    for batch in batches:
        model.write(batch)
        if scan_between:
            scan(model.mem)
    for seq in {0, model.seq - 1, MAX_SEQ, data.draw(st.integers(0, model.seq))}:
        for key in [*model.versions, b"absent!"]:
            assert model.mem.get_at(key, seq) == model.get_at(key, seq)
        for reverse in (False, True):
            assert scan(model.mem, *bounds, reverse, seq) == model.scan(*bounds, reverse, seq)
    assert entries(model.mem.columns()) == expected_entries(model.versions)
    assert model.mem.newest == {key: held[-1] for key, held in model.versions.items()}
    model.mem.check()


@pytest.mark.parametrize("kind", KINDS)
@given(batches=st.lists(st.tuples(BATCH, st.booleans()), max_size=6))
def test_superseded_versions_are_dropped_and_given_back_unless_kept(kind, batches):
    model = Model(kind)
    for batch, keep in batches:
        before = {key: list(held) for key, held in model.versions.items()}
        model.write(batch, keep=keep)
        if not keep:  # the model forgets what nobody asked to keep: each key's last version from before, and in the batch
            for key in {key for key, _ in batch}:
                model.versions[key] = before.get(key, [])[:-1] + model.versions[key][-1:]
    assert entries(model.mem.columns()) == expected_entries(model.versions)
    held = [(key, value) for key, versions in model.versions.items() for _, value in versions]
    assert model.mem.entries == len(held)
    assert model.mem.bytes == sum(len(k) + len(v or b"") + ENTRY_OVERHEAD_BYTES for k, v in held)
    model.mem.check()


@pytest.mark.parametrize("kind", KINDS)
def test_last_of_a_key_in_a_batch_wins_and_is_counted_once(kind):
    mem = new_memtable(kind, seeded(0))
    mem.apply([b"k", b"x", b"k"], [b"1", b"2", b"three"], 10, keep_versions=False)
    assert mem.newest[b"k"] == (12, b"three")
    assert (mem.entries, mem.bytes) == (2, 2 + 6 + 2 * ENTRY_OVERHEAD_BYTES)
    assert mem.applied_bytes == 3 + 7 + 3 * ENTRY_OVERHEAD_BYTES


@pytest.mark.parametrize("kind", KINDS)
def test_empty_memtable_has_nothing_to_say(kind):
    mem = new_memtable(kind, seeded(0))
    mem.apply([], [], 1, keep_versions=False)
    assert scan(mem) == scan(mem, reverse=True) == []
    assert len(mem.columns()) == mem.entries == mem.bytes == 0
    mem.check()


@pytest.mark.parametrize("kind", KINDS)
def test_batch_of_unequal_lengths_changes_nothing(kind):
    mem = new_memtable(kind, seeded(0))
    with pytest.raises(ValueError, match="zip"):
        mem.apply([b"a", b"b"], [b"1"], 1, keep_versions=False)
    assert mem.newest == {}
    mem.check()


def test_unknown_kind_is_named():
    with pytest.raises(InvalidArgumentError, match="'btree'"):
        new_memtable("btree", seeded(0))


@pytest.mark.parametrize("kind", KINDS)
def test_scan_sees_the_moment_of_the_call(kind):
    mem = new_memtable(kind, seeded(0))
    keys = [b"%04d" % i for i in range(1000)]
    mem.apply(keys, keys, 1, keep_versions=True)
    forward = mem.scan_chunks(None, None, reverse=False, seq=1000)
    backward = mem.scan_chunks(None, None, reverse=True, seq=1000)
    seen, back = [*next(forward)], [*next(backward)]
    assert len(seen) < 100, "the first chunk of a scan is small"
    mem.apply(keys, [None] * 1000, 1001, keep_versions=True)
    mem.apply([b"%04d!" % i for i in range(1000)], keys, 2001, keep_versions=True)
    mem.check()
    assert len(scan(mem)) == 2000
    seen += [pair for chunk in forward for pair in chunk]
    back += [pair for chunk in backward for pair in chunk]
    assert seen == back[::-1] == [(key, key) for key in keys]
    mem.check()


@pytest.mark.parametrize("kind", KINDS)
def test_check_notices_a_wrong_count(kind):
    mem = new_memtable(kind, seeded(0))
    mem.apply([b"a"], [b"1"], 1, keep_versions=False)
    mem.bytes += 1
    with pytest.raises(AssertionError, match="bytes is"):
        mem.check()


@pytest.mark.parametrize("kind", KINDS)
def test_first_scan_of_many_keys(kind):
    mem, rng = new_memtable(kind, seeded(0)), seeded(4)
    keys = [b"%x" % rng.getrandbits(64) for _ in range(12_000)]
    mem.apply(keys, keys, 1, keep_versions=False)
    assert scan(mem) == [(key, key) for key in sorted(keys)]
    mem.check()
