"""Single gets of values that do not fit the cache: ``python -m bench.beyond_cache [VALUE_BYTES]`` (a minute, 300 MB of disk).

A million entries, cache of 32 MiB, keys uniform or zipfian (0.99), with memory for finders and without
(``Options.hash_column_bytes``). Processor time of this thread, by batches of gets, so that one sees how long it takes until the
finders are made.
"""

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import thread_time

import numpy as np

import lsmkv

ENTRIES, BATCH, BATCHES, CACHE = 1_000_000, 250_000, 6, 32 << 20


def choices(kind: str, keys: list[bytes]) -> Iterator[list[bytes]]:
    """Batches of keys to get."""
    rng = np.random.default_rng(2)
    weights = 1 / np.arange(1, ENTRIES + 1) ** 0.99
    sums = np.cumsum(weights / weights.sum())
    mixed = rng.permutation(ENTRIES)
    for _ in range(BATCHES):
        if kind == "uniform":
            at = rng.integers(0, ENTRIES, BATCH)
        else:
            at = mixed[np.searchsorted(sums, rng.random(BATCH)).clip(0, ENTRIES - 1)]
        yield [keys[i] for i in at.tolist()]


def main(width: int) -> None:
    """Fill, get, say."""
    rng = random.Random(1)
    keys = [rng.randbytes(24) for _ in range(ENTRIES)]
    with TemporaryDirectory() as directory:
        path = Path(directory) / "store"
        with lsmkv.open(path, lsmkv.Options(block_cache_bytes=CACHE)) as db:
            for start in range(0, ENTRIES, 128):
                db.put_many((key, (key * (width // 24 + 1))[:width]) for key in keys[start : start + 128])
            db.compact()
        for kind in ("uniform", "zipfian"):
            for budget in (0, 64 << 20):
                with lsmkv.open(path, lsmkv.Options(block_cache_bytes=CACHE, hash_column_bytes=budget)) as db:
                    took: list[str] = []
                    for batch in choices(kind, keys):
                        start_s = thread_time()
                        for key in batch:
                            db.get(key)
                        took.append(f"{(thread_time() - start_s) / BATCH * 1e6:.2f}")
                    told = f"{'with' if budget else 'without'} finders ({db.stats().hash_column_bytes >> 20} MiB)"
                    print(f"{kind}, {told}: {', '.join(took)} us a get", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 256)
