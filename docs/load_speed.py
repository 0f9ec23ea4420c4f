"""Sorted data by `load_sorted` and by `put_many`: ``python docs/load_speed.py`` prints the table of docs/performance.md.

Processor time of this thread, which does all the work (manual scheduler), until nothing is left to merge.
"""

import sys
import tempfile
import time  # noqa: TID251 - measures the real machine

import lsmkv
from lsmkv.maintain.scheduler import ManualScheduler

ENTRIES = 1_000_000


def main() -> None:
    """Measure both, in turns, and keep the best of three."""
    pairs = [(b"%032d" % n, b"%028d" % n) for n in range(ENTRIES)]
    ways = {
        "`load_sorted`, a list": lambda db: db.load_sorted(pairs),
        "`load_sorted`, a generator": lambda db: db.load_sorted(pair for pair in pairs),
        "`put_many`, a list, flushes and merges included": lambda db: (db.put_many(pairs), db.flush(), db.settle()),
    }
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(3):
        for name, way in ways.items():
            with tempfile.TemporaryDirectory(dir=".") as path:
                db = lsmkv.open(f"{path}/db", lsmkv.Options(scheduler=ManualScheduler()))
                start = time.thread_time()
                way(db)
                best[name] = min(best[name], time.thread_time() - start)
                db.close()
    for name, seconds in best.items():
        sys.stdout.write(f"| {name} | {seconds / ENTRIES * 1e6:.2f} |\n")


if __name__ == "__main__":
    main()
