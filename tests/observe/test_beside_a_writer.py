"""Looking takes no lock: beside a writer that flushes, compacts and removes files, onlookers see sound moments."""

from __future__ import annotations

import threading
from pathlib import Path

import lsmkv
from lsmkv.env.posix import PosixFileSystem
from lsmkv.observe.report import survey

LOOKS = 12


def test_onlookers_and_a_busy_writer_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    stop = threading.Event()
    options = lsmkv.Options(memtable_bytes=16 << 10, level0_runs=1, table_bytes=8 << 10)
    with lsmkv.open(path, options) as db:

        def write() -> None:
            n = 0
            while not stop.is_set():
                db.put_many((b"%08d" % (i * 7919 % 5000), b"%d" % n) for i in range(n, n + 100))
                n += 100

        writer = threading.Thread(target=write)
        writer.start()
        try:
            seen = 0
            for _ in range(LOOKS):
                report = lsmkv.verify(path)
                assert report.ok, report.problems
                assert survey(path, PosixFileSystem()).tables >= 0
                with lsmkv.open(path, read_only=True) as follower:
                    keys = [key for key, _ in follower.scan()]
                assert keys == sorted(set(keys))
                assert len(keys) >= min(seen, 5000), "what was there once stays"
                seen = len(keys)
        finally:
            stop.set()
            writer.join()
