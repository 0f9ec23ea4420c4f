"""Closing while threads are in the middle of every kind of call: each ends with a result or ClosedError, nothing hangs."""

from __future__ import annotations

import threading

import pytest

import lsmkv

N = 2000
KEYS = [b"%05d" % n for n in range(N)]
VALUE = b"v" * 60


def get(db):
    for key in KEYS[::7]:
        assert db.get(key) == VALUE


def get_many(db):
    assert db.get_many(KEYS[::3]) == [VALUE] * len(KEYS[::3])


def contains_many(db):
    assert db.contains_many(KEYS[::5]).all()


def count_leading(db):
    assert db.count_leading(KEYS) == len(KEYS)


def scan(db):
    found = [key for key, _ in db.scan(KEYS[100], KEYS[1500])]
    assert found == KEYS[100:1500], "a scan that is cut off says so"


def backwards(db):
    found = [key for key, _ in db.scan(prefix=b"000", reverse=True)]
    assert found == KEYS[99::-1]


def snapshot(db):
    with db.snapshot() as view:
        assert view.get(KEYS[1]) == VALUE
        assert view.get_many(KEYS[:300]) == [VALUE] * 300


def put(db):
    for n in range(200):
        db.put(b"z%04d" % n, VALUE)


def batch(db):
    with db.batch(sync=True) as writes:
        for n in range(300):
            writes.put(b"y%04d" % n, VALUE)


def load(db):
    db.load_sorted((b"x%04d" % n, VALUE) for n in range(2000))


def delete_range(db):
    db.set_options(range_delete_keys=0)
    with db.batch() as writes:
        writes.delete_range(b"w", b"x")
        for n in range(100):
            writes.put(b"w%04d" % n, VALUE)
    db.set_options(range_delete_keys=256)
    with db.batch(sync=True) as writes:
        writes.put(b"v", VALUE).delete_range(b"w", b"x")


def switch(db):
    db.set_policy(lsmkv.Tiered(size_ratio=4))
    db.set_policy(lsmkv.Leveled(size_ratio=4), pace="lazy")


def upkeep(db):
    db.flush()
    db.compact(KEYS[0], KEYS[300])
    db.step()


def looking(db):
    db.stats()
    db.tree()
    db.pending()
    db.set_options(block_cache_bytes=1 << 15)
    db.set_options(block_cache_bytes=1 << 20)


ALL = [
    get,
    get_many,
    contains_many,
    count_leading,
    scan,
    backwards,
    snapshot,
    put,
    batch,
    load,
    delete_range,
    switch,
    upkeep,
    looking,
]


@pytest.mark.parametrize("round_", range(4))
def test_every_call_ends_with_a_result_or_closed_error_and_close_returns(tmp_path, round_):
    options = lsmkv.Options(
        memtable_bytes=32 << 10,
        table_bytes=16 << 10,
        block_cache_bytes=[0, 64 << 10, 8 << 20, 8 << 20][round_],
        max_open_tables=8,
    )
    db = lsmkv.open(tmp_path / "db", options)
    db.put_many((key, VALUE) for key in KEYS)
    turns = {call.__name__: 0 for call in ALL}
    failed: list[BaseException] = []
    moving = threading.Barrier(len(ALL) + 1)

    def run(call):
        try:
            call(db)
            moving.wait()
            while True:
                call(db)
                turns[call.__name__] += 1
        except lsmkv.ClosedError:
            pass
        except lsmkv.BusyError:  # loads exclude each other
            pass
        except BaseException as error:
            failed.append(error)
            moving.abort()

    threads = [threading.Thread(target=run, args=(call,)) for call in ALL]
    for thread in threads:
        thread.start()
    moving.wait()
    while sum(turns.values()) < 10 and not failed:
        pass
    closers = [threading.Thread(target=db.close) for _ in range(2)]
    for closer in closers:
        closer.start()
    for thread in [*closers, *threads]:
        thread.join()
    assert failed == []
    with pytest.raises(lsmkv.ClosedError):
        db.get(KEYS[0])
    with lsmkv.open(tmp_path / "db") as again:
        assert again.get_many(KEYS) == [VALUE] * N
        written = [again.get(b"z%04d" % n) for n in range(200)]
        assert None not in written[: sum(value is not None for value in written)], "what was put is a prefix"
        assert len({again.get(b"y%04d" % n) for n in range(300)}) == 1, "a batch is all or nothing"
        assert len({again.get(b"x%04d" % n) for n in range(2000)}) == 1, "a load is all or nothing"
        assert len({again.get(b"w%04d" % n) for n in range(100)}) == 1, "a range goes as a whole"
        again.check()


def test_closing_from_inside_a_call_of_the_same_thread_is_refused_and_does_not_wait_for_itself(tmp_path):
    def closing():
        yield b"a", b"1"
        db.close()

    with lsmkv.open(tmp_path / "db") as db:
        with pytest.raises(lsmkv.BusyError, match="inside another call"):
            db.load_sorted(closing())
        db.put(b"b", b"2")
        assert dict(db.scan()) == {b"b": b"2"}
