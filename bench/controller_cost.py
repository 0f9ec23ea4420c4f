"""What looking and deciding cost: ``python -m bench.controller_cost [ROUNDS]``, one load with and without a controller.

An advising controller looks, decides and writes its journal, but never touches the tree, so both stores do the same work. Pairs
of rounds, each other pair in the other order; a round is single writes, single reads, batches and scans on a store of 200,000
entries with background threads. Told are operations for a second of the process's own processor time, which other work on the
machine disturbs least, and what the controller counts itself: the part of the time that its looks took.
"""

import sys
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

import lsmkv

ENTRIES, BATCH, SECONDS = 200_000, 128, 2.0
ADVISE = lsmkv.Adaptive(mode="advise")


def round_of(path: Path, controller: lsmkv.Adaptive | None, seconds: float = SECONDS) -> tuple[float, int, float]:
    """Operations a processor second (a key of a batch counts as one), windows looked at, what looks took of the time."""
    rng = Random(1)
    keys = [rng.randbytes(16) for _ in range(ENTRIES)]
    with lsmkv.open(path, lsmkv.Options(memtable_bytes=2 << 20)) as db:
        db.put_many((key, key * 4) for key in keys)
        db.settle()
        db.set_options(controller=controller)
        done, start, used = 0, perf_counter(), process_time()
        while perf_counter() - start < seconds:
            for _ in range(50):
                db.get(keys[rng.randrange(ENTRIES)])
                db.put(keys[rng.randrange(ENTRIES)], b"v" * 64)
            db.get_many(keys[at : at + BATCH] if (at := rng.randrange(ENTRIES)) else keys[:BATCH])
            db.put_many((keys[rng.randrange(ENTRIES)], b"w" * 64) for _ in range(BATCH))
            for _ in islice(db.scan(start=rng.randbytes(4)), 32):
                pass
            done += 100 + 2 * BATCH + 1
        took, used, told = perf_counter() - start, process_time() - used, db.stats().controller
    return done / used, told.windows if told else 0, told.look_s / took if told else 0.0


def main(pairs: int) -> None:
    """Alternate, and say what came out."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    windows, shares = 0, []
    for number in range(-1, pairs):  # the first pair warms up: code is imported, files and sums are cached
        for advised in (False, True) if number % 2 else (True, False):
            with TemporaryDirectory() as directory:
                rate, looked, share = round_of(Path(directory) / "store", ADVISE if advised else None)
            if number >= 0:
                rates[advised].append(rate)
                windows += looked
                shares += [share] if advised else []
    ratios = sorted(with_it / bare - 1 for bare, with_it in zip(rates[False], rates[True], strict=True))
    print(f"without {median(rates[False]):,.0f} operations a processor second, with {median(rates[True]):,.0f}")
    print(f"{pairs} pairs: {median(ratios):+.1%} in the median, from {ratios[0]:+.1%} to {ratios[-1]:+.1%}")
    print(f"looks took {median(shares):.2%} of the time; {windows / pairs / SECONDS:.1f} windows a second")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8)
