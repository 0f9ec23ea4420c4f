"""What looking and deciding cost: ``python -m bench.controller_cost [ROUNDS]``, one load with and without a controller.

An advising controller looks, decides and writes its journal, but never touches the tree, so both stores do the same work. Rounds
alternate; each runs single writes, single reads, batches and scans on a store of 200,000 entries with background threads.
"""

import sys
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import lsmkv

ENTRIES, BATCH, SECONDS = 200_000, 128, 4.0


def operations_per_s(path: Path, controller: lsmkv.Adaptive | None) -> tuple[float, int]:
    """Operations a second (a key of a batch counts as one), and windows that the controller has looked at."""
    rng = Random(1)
    keys = [rng.randbytes(16) for _ in range(ENTRIES)]
    with lsmkv.open(path, lsmkv.Options(memtable_bytes=2 << 20, controller=controller)) as db:
        db.put_many((key, key * 4) for key in keys)
        db.settle()
        done, start = 0, perf_counter()
        while perf_counter() - start < SECONDS:
            for _ in range(50):
                db.get(keys[rng.randrange(ENTRIES)])
                db.put(keys[rng.randrange(ENTRIES)], b"v" * 64)
            db.get_many(keys[at : at + BATCH] if (at := rng.randrange(ENTRIES)) else keys[:BATCH])
            db.put_many((keys[rng.randrange(ENTRIES)], b"w" * 64) for _ in range(BATCH))
            for _ in islice(db.scan(start=rng.randbytes(4)), 32):
                pass
            done += 100 + 2 * BATCH + 1
        rate, told = done / (perf_counter() - start), db.stats().controller
    return rate, told.windows if told else 0


def main(rounds: int) -> None:
    """Alternate, and say what came out."""
    rates: dict[str, list[float]] = {"without": [], "advise": []}
    windows = 0
    for _ in range(rounds):
        for name, controller in (("without", None), ("advise", lsmkv.Adaptive(mode="advise"))):
            with TemporaryDirectory() as directory:
                rate, looked = operations_per_s(Path(directory) / "store", controller)
            rates[name].append(rate)
            windows += looked
    without, advise = median(rates["without"]), median(rates["advise"])
    pairs = sorted(with_it / bare - 1 for bare, with_it in zip(rates["without"], rates["advise"], strict=True))
    print(f"without {without:,.0f} operations a second, with {advise:,.0f}: {advise / without - 1:+.1%}")
    print(f"pairs from {pairs[0]:+.1%} to {pairs[-1]:+.1%}; {windows / rounds / SECONDS:.1f} windows a second")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
