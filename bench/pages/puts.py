"""Storing pages."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Callable

from bench.data import chain_digests
from bench.pages.scale import BATCH, Bench

__all__ = ["measure_puts"]

_NOT_WRITING = ("bare preads", "hicachefile-scan")


def measure_puts(bench: Bench) -> None:
    """Batches of 32 into a store that holds one page, one sync at the end."""
    counter = itertools.count(bench.session.request.seed * 1_000)

    def put(name: str) -> Callable[[], float]:
        def once() -> float:
            home = bench.home("fresh", name)
            peer = bench.kinds[name](home, bench.scale.page_bytes)
            keys = peer.keys_for(chain_digests(len(bench.pages) + 1, next(counter)))
            try:
                peer.put_batch(keys[-1:], bench.pages[:1])  # creating files is not what is measured
                peer.sync()
                began = time.perf_counter()
                for i in range(bench.scale.batches):
                    peer.put_batch(keys[i * BATCH : (i + 1) * BATCH], bench.batch(i))
                peer.sync()
                taken = time.perf_counter() - began
            finally:
                peer.close()
                shutil.rmtree(home, ignore_errors=True)
            return bench.pages.nbytes / 1e6 / taken

        return once

    bench.measure(f"put_batch({BATCH}) + sync", "put_batch", "MB/s", _NOT_WRITING, put)
