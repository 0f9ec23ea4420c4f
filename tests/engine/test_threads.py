"""Many threads on one store: batches are seen whole, group commit loses nothing, close waits for nobody's mistakes."""

from __future__ import annotations

import threading

import lsmkv


def run_all(*targets):
    """Run the targets in threads; the first exception of any of them is raised here."""
    errors: list[BaseException] = []

    def guarded(target):
        try:
            target()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(t,)) for t in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_readers_see_batches_whole_while_the_tree_moves(tmp_path):
    keys = [b"k%02d" % i for i in range(20)]
    options = lsmkv.Options(memtable_bytes=1 << 14, table_bytes=1 << 13, block_bytes=512, level0_runs=2)
    with lsmkv.open(str(tmp_path / "db"), options) as db:
        db.put_many((k, b"%06d" % 0) for k in keys)
        done = threading.Event()

        def write():
            for n in range(1, 300):
                db.put_many([(k, b"%06d" % n) for k in keys])
            done.set()

        def read():
            while not done.is_set():
                assert len(set(db.get_many(keys))) == 1
                with db.snapshot() as snap:
                    first = snap.get(keys[0])
                    assert snap.get_many(keys) == [first] * 20
                    assert [v for _, v in snap.scan()] == [first] * 20
                assert len({v for _, v in db.scan(reverse=True)}) == 1

        run_all(write, read, read)
        db.settle()
        db.check()
        assert db.get_many(keys) == [b"000299"] * 20


def test_group_commit_keeps_every_synced_write_of_every_thread(tmp_path):
    path = str(tmp_path / "db")
    with lsmkv.open(path, lsmkv.Options(memtable_bytes=1 << 16)) as db:

        def writer(name):
            return lambda: [db.put(b"%d-%04d" % (name, i), b"v", sync=i % 10 == 0) for i in range(200)]

        run_all(*(writer(n) for n in range(6)))
        assert sum(1 for _ in db.scan()) == 1200
        assert db.stats().last_seq == 1200
    with lsmkv.open(path) as db:
        assert sum(1 for _ in db.scan()) == 1200


def test_closing_while_others_call_gives_them_closed_error_or_an_answer(tmp_path):
    for round_number in range(5):
        db = lsmkv.open(str(tmp_path / f"db{round_number}"), lsmkv.Options(memtable_bytes=1 << 14))
        db.put_many((b"%04d" % i, b"v" * 50) for i in range(1000))
        started = threading.Event()

        def call(db=db, started=started):
            try:
                for i in range(100_000):
                    db.put(b"new%d" % i, b"v")
                    assert db.get(b"%04d" % (i % 1000)) == b"v" * 50
                    started.set()
            except lsmkv.ClosedError:
                started.set()

        def close(db=db, started=started):
            started.wait()
            db.close()

        run_all(call, call, close)
        with lsmkv.open(str(tmp_path / f"db{round_number}")) as again:
            assert again.get(b"0999") == b"v" * 50
            again.check()
