"""Scans: bounds, prefixes, both directions, over memtables and levels at once."""

from __future__ import annotations

import errno

import pytest

import lsmkv


@pytest.fixture
def filled(open_db):
    db = open_db()
    for i in range(0, 300, 3):
        db.put(b"k%03d" % i, b"old")
    db.compact()
    for i in range(0, 300, 2):
        db.put(b"k%03d" % i, b"mid")
    db.flush()
    for i in range(0, 300, 5):
        db.delete(b"k%03d" % i)
    yield db
    db.close()


def model():
    live = {b"k%03d" % i: b"old" for i in range(0, 300, 3)}
    live |= {b"k%03d" % i: b"mid" for i in range(0, 300, 2)}
    for i in range(0, 300, 5):
        live.pop(b"k%03d" % i, None)
    return live


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("start", "stop", "prefix"),
    [
        (None, None, None),
        (b"k010", b"k020", None),
        (b"k0105", None, None),
        (None, b"k100", b"k"),
        (None, None, b"k1"),
        (b"k15", b"k2", b"k1"),
        (b"k020", b"k010", None),
        (None, None, b"\xff"),
        (b"z", None, None),
    ],
)
def test_scan_agrees_with_a_sorted_dict(filled, start, stop, prefix, reverse):
    want = [
        (k, v)
        for k, v in sorted(model().items(), reverse=reverse)
        if (start is None or k >= start) and (stop is None or k < stop) and (not prefix or k.startswith(prefix))
    ]
    assert list(filled.scan(start, stop, prefix=prefix, reverse=reverse)) == want


def test_a_scan_does_not_see_later_writes_flushes_or_compactions(filled):
    want = sorted(model().items())
    scan = filled.scan()
    got = [next(scan)]
    filled.delete_many([b"k%03d" % i for i in range(300)])
    filled.put(b"k0005", b"new")
    filled.compact()
    got += list(scan)
    assert got == want
    assert list(filled.scan()) == [(b"k0005", b"new")]


def test_closing_a_scan_early_lets_old_versions_go(filled):
    with filled.scan() as scan:
        next(scan)
        assert filled.stats().snapshots == 1
    assert filled.stats().snapshots == 0
    assert list(scan) == []
    dropped = filled.scan()
    assert filled.stats().snapshots == 1
    del dropped
    assert filled.stats().snapshots == 0


def test_bounds_that_are_not_bytes_are_refused(filled):
    with pytest.raises(lsmkv.InvalidArgumentError, match="must be bytes, not str"):
        filled.scan("a")


def test_closing_a_scan_ends_the_loop_over_it(filled):
    seen = 0
    with filled.scan() as scan:
        for _ in scan:
            seen += 1
            if seen == 3:
                scan.close()
    assert seen == 3
    assert filled.stats().snapshots == 0


def test_a_scan_that_failed_never_looks_like_one_that_ended(open_db, memory_fs):
    db = open_db(block_cache_bytes=0)
    db.put_many([(b"%04d" % i, b"x" * 50) for i in range(500)])
    db.flush()
    scan = db.scan()
    for _ in range(100):
        next(scan)
    faulty = True

    def fail(op, path):
        if faulty and op == "pread":
            raise OSError(errno.EIO, "once", path)

    memory_fs.on_op = fail
    with pytest.raises(lsmkv.IOFailedError):
        list(scan)
    faulty = False
    with pytest.raises(lsmkv.IOFailedError):
        next(scan)
    with pytest.raises(lsmkv.IOFailedError):
        list(scan)
    scan.close()
    assert len(list(db.scan())) == 500
    db.close()
