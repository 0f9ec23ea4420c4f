"""Readers need no lock: scans lose nothing and batches are seen whole while a writer goes on."""

import sys
from threading import Thread

import pytest

from lsmkv.base.keys import MAX_SEQ
from lsmkv.env.rng import seeded
from lsmkv.memtable import new_memtable


@pytest.fixture(autouse=True)
def switch_threads_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def writing(mem, batches):
    def write():
        rng = seeded(9)
        for i in range(1, batches + 1):
            keys = [b"%08x" % rng.getrandbits(32) for _ in range(40)]
            mem.apply([*keys, b"left", b"right"], [b"%d" % i] * 42, 10_000 + 42 * i, keep_versions=True)

    return Thread(target=write)


@pytest.mark.parametrize("kind", ["skiplist", "sorteddict"])
def test_scans_beside_a_writer_return_every_older_key_in_order(kind):
    mem = new_memtable(kind, seeded(0))
    old = sorted({b"%08x" % (i * 2_654_435_761 % 2**32) for i in range(3000)})
    mem.apply(old, old, 1, keep_versions=False)
    writer = writing(mem, 150)
    writer.start()
    expected = [(key, key) for key in old]
    turns = 0
    while writer.is_alive() or turns < 2:
        reverse = bool(turns % 2)
        seen = [pair for chunk in mem.scan_chunks(None, None, reverse=reverse, seq=len(old)) for pair in chunk]
        assert seen == (expected[::-1] if reverse else expected)
        everything = [key for chunk in mem.scan_chunks(b"4", b"c", reverse=reverse, seq=MAX_SEQ) for key, _ in chunk]
        assert everything == sorted(set(everything), reverse=reverse)
        turns += 1
    writer.join()
    mem.check()


@pytest.mark.parametrize("kind", ["skiplist", "sorteddict"])
def test_several_scanners_may_be_the_first_to_need_order(kind):
    mem = new_memtable(kind, seeded(0))
    writer = writing(mem, 100)
    failures = []

    def scan():
        try:
            while writer.is_alive():
                before = set(mem.newest.copy())
                seen = [key for chunk in mem.scan_chunks(None, None, reverse=False, seq=MAX_SEQ) for key, _ in chunk]
                assert before <= set(seen), "a key written before the scan was skipped"
                assert seen == sorted(set(seen)), "out of order"
        except Exception as error:
            failures.append(error)

    scanners = [Thread(target=scan) for _ in range(3)]
    writer.start()
    for thread in scanners:
        thread.start()
    for thread in [writer, *scanners]:
        thread.join()
    assert not failures
    mem.check()


def test_batch_is_seen_whole_or_not_at_all():
    mem = new_memtable("skiplist", seeded(0))
    writer = writing(mem, 400)
    writer.start()
    while writer.is_alive():
        left, right = map(mem.newest.get, (b"left", b"right"))
        both = list(map(mem.newest.get, (b"left", b"right")))
        assert (both[0] is None) == (both[1] is None)
        assert both[0] is None or both[0][1] == both[1][1]
        assert left is None or right is not None
    writer.join()


def test_version_moves_aside_before_it_is_replaced():
    mem = new_memtable("skiplist", seeded(0))
    mem.apply([b"left"], [b"first"], 1, keep_versions=False)
    writer = writing(mem, 300)
    writer.start()
    while writer.is_alive():
        assert mem.get_at(b"left", 1) == (1, b"first")
    writer.join()
