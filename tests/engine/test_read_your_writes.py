"""Whatever was written last is what every way of reading returns."""

from __future__ import annotations

import numpy as np
import pytest

import lsmkv

ODD_KEYS = [b"", b"\0", b"\0\0", b"a", b"a\0", b"a\0\0", b"ab", b"\xff", b"\xff\xff", b"k" * 65536]


@pytest.mark.parametrize("memtable", ["skiplist", "sorteddict"])
def test_odd_keys_and_values_read_back_from_memory_and_tables(open_db, memtable):
    with open_db(memtable=memtable) as db:
        for i, key in enumerate(ODD_KEYS):
            db.put(key, b"\0" * i)
        for _ in range(2):
            assert [db.get(k) for k in ODD_KEYS] == [b"\0" * i for i in range(len(ODD_KEYS))]
            assert db.get_many(ODD_KEYS) == [b"\0" * i for i in range(len(ODD_KEYS))]
            assert list(db.scan()) == [(k, b"\0" * ODD_KEYS.index(k)) for k in sorted(ODD_KEYS)]
            assert db.get(b"a\0\0\0") is None
            db.flush()


def test_a_large_value_survives(open_db):
    value = bytes(range(256)) * 4096
    with open_db() as db:
        db.put(b"big", value)
        db.put(b"small", b"x")
        db.flush()
        assert db.get(b"big") == value
        assert db.get_many([b"small", b"big"]) == [b"x", value]


def test_newer_data_shadows_older_data_at_every_level(open_db):
    with open_db() as db:
        for generation in range(12):
            db.put_many((f"k{i:03d}".encode(), f"{generation}-{i}".encode()) for i in range(100))
            db.delete(f"k{generation:03d}".encode())
            db.flush()
            if generation % 3 == 0:
                db.settle()
            db.check()
        keys = [f"k{i:03d}".encode() for i in range(100)]
        want = [f"11-{i}".encode() if i != 11 else None for i in range(100)]
        assert db.get_many(keys) == want
        assert [db.get(k) for k in keys] == want
        np.testing.assert_array_equal(db.contains_many(keys), [w is not None for w in want])
        db.compact()
        assert db.get_many(keys) == want
        assert sum(level.tombstones for level in db.stats().levels) == 0


def test_get_many_handles_duplicates_misses_and_order(open_db):
    with open_db() as db:
        db.put_many([(b"a", b"1"), (b"c", b"3")])
        db.flush()
        db.put(b"b", b"2")
        assert db.get_many([b"c", b"x", b"a", b"c", b"b", b""]) == [b"3", None, b"1", b"3", b"2", None]
        assert db.get_many([]) == []
        assert db.contains_many([]).shape == (0,)


def test_put_many_takes_generators_and_splits_into_frames(open_db, memory_fs):
    with open_db(memtable_bytes=64 << 20) as db:
        db.put_many((b"%06d" % i, b"v" * 1000) for i in range(12_000))
        assert db.get(b"011999") == b"v" * 1000
        assert sum(1 for _ in db.scan()) == 12_000
        db.delete_many(b"%06d" % i for i in range(0, 12_000, 2))
        assert sum(1 for _ in db.scan()) == 6_000


def test_a_batch_applies_in_order_and_not_at_all_if_its_block_raises(open_db):
    with open_db() as db:
        with db.batch() as b:
            b.put(b"a", b"1").delete(b"a").put(b"b", b"2")
        assert (db.get(b"a"), db.get(b"b")) == (None, b"2")
        with pytest.raises(lsmkv.InvalidArgumentError), db.batch() as b:
            b.put(b"c", b"3").put("not bytes", b"4")
        assert db.get(b"c") is None
        batch = lsmkv.WriteBatch().put(b"d", b"4")
        db.write(batch, sync=True)
        db.write(batch)
        assert db.get(b"d") == b"4"
