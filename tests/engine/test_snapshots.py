"""A snapshot keeps showing one moment, whatever happens to the tree."""

from __future__ import annotations

import pytest

import lsmkv


def test_a_snapshot_survives_overwrites_deletes_flush_and_compaction(open_db):
    keys = [b"k%02d" % i for i in range(40)]
    with open_db() as db:
        db.put_many((k, b"1") for k in keys)
        first = db.snapshot()
        db.put_many((k, b"2") for k in keys[:20])
        db.delete_many(keys[20:30])
        second = db.snapshot()
        db.put_many((k, b"3") for k in keys)
        for move in (lambda: None, db.flush, db.settle, db.compact):
            move()
            assert first.get_many(keys) == [b"1"] * 40
            assert second.get_many(keys) == [b"2"] * 20 + [None] * 10 + [b"1"] * 10
            assert [first.get(k) for k in keys] == [b"1"] * 40
            assert list(second.scan(reverse=True)) == [(k, b"1") for k in keys[:29:-1]] + [(k, b"2") for k in keys[19::-1]]
            assert second.contains_many(keys).tolist() == [True] * 20 + [False] * 10 + [True] * 10
            assert db.get_many(keys) == [b"3"] * 40
        before = db.stats().entries
        first.close()
        second.close()
        db.put(b"k00", b"4")
        db.compact()
        assert db.stats().entries < before
        assert db.get_many(keys) == [b"4"] + [b"3"] * 39


def test_a_closed_snapshot_says_so(open_db):
    with open_db() as db:
        with db.snapshot() as snap:
            assert snap.get(b"x") is None
        with pytest.raises(lsmkv.ClosedError, match="snapshot is closed"):
            snap.get(b"x")
