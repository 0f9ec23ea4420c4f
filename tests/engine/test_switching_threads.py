"""Changing the policy of a store that several threads use."""

from __future__ import annotations

import random
import threading

import lsmkv
from lsmkv.maintain.scheduler import ThreadedScheduler
from tests.engine.test_switching import LEVELED, POLICIES, report_of


def test_switching_from_several_threads_under_load(tmp_path):
    options = lsmkv.Options(memtable_bytes=8192, table_bytes=8192, level0_runs=2, scheduler=ThreadedScheduler())
    stop = threading.Event()
    errors: list[BaseException] = []

    def guarded(work):
        def run():
            try:
                work()
            except BaseException as error:
                errors.append(error)

        return run

    with lsmkv.open(str(tmp_path / "db"), options) as db:

        def switch(seed):
            rng = random.Random(seed)
            for _ in range(12):
                db.set_policy(rng.choice(POLICIES), pace=rng.choice(["greedy", "lazy"]))

        def read():
            while not stop.is_set():
                for key in (b"00000", b"00500", b"00999"):
                    value = db.get(key)
                    assert value is None or value.endswith(key)

        def write():
            for n in range(3000):
                key = b"%05d" % (n * 7 % 1000)
                db.put(key, b"%d:" % n + key)

        workers = [threading.Thread(target=guarded(w)) for w in (lambda: switch(1), lambda: switch(2), write)]
        reader = threading.Thread(target=guarded(read))
        for thread in (*workers, reader):
            thread.start()
        for thread in workers:
            thread.join()
        stop.set()
        reader.join()
        assert errors == []
        db.set_policy(LEVELED)
        db.settle()
        assert report_of(db).done
        assert len(list(db.scan())) == 1000
        assert db.stats().background_failures == 0
        db.check()


def test_closing_while_a_switch_waits_for_a_compaction_ends_both(tmp_path):
    db = lsmkv.open(str(tmp_path / "db"), lsmkv.Options(memtable_bytes=4096, table_bytes=4096, level0_runs=1))
    started = threading.Event()
    seen: list[BaseException] = []

    def switch():
        rng = random.Random(5)
        try:
            while True:
                db.set_policy(rng.choice(POLICIES))
                started.set()
        except BaseException as error:
            seen.append(error)

    thread = threading.Thread(target=switch)
    thread.start()
    for n in range(3000):
        db.put(b"%05d" % (n * 31 % 3000), b"v" * 20)
    started.wait(30)
    db.close()
    thread.join(30)
    assert [type(error) for error in seen] == [lsmkv.ClosedError]
    with lsmkv.open(str(tmp_path / "db")) as again:
        assert len(list(again.scan())) == 3000
