"""Reading pages back, from the device and from memory, and deleting them."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.data import chain_digests
from bench.pages.scale import BATCH, Bench
from bench.peers import PagePeer
from bench.scratch import aligned_bytes, drop_from_cache, sync_tree

__all__ = ["measure_gets"]

_NOT_READING = ("bare log", "hicachefile-scan", "hicachefile-syncfs")
_NOT_DELETING = (*_NOT_READING, "bare preads", "safetensors")
_SMALL_BYTES = 64 << 10
_COLD_BATCHES = 8
"""Batches a cold round reads at most."""


@dataclass(slots=True)
class _Stored:
    """A subject with all batches stored, closed and opened again."""

    kind: type[PagePeer]
    home: Path
    page_bytes: int
    peer: PagePeer
    keys: list[Any]
    """Of every batch, and of one page beside them."""

    def reopen(self) -> None:
        """Empty the store's own caches by opening it again; touch one page that no batch holds, so that opening is over."""
        self.peer.close()
        self.peer = self.kind(self.home, self.page_bytes)
        self.peer.get_batch(self.keys[-1:], aligned_bytes(self.page_bytes).reshape(1, -1))

    def close(self) -> None:
        """Close whichever opening is the current one."""
        self.peer.close()

    def batch(self, i: int) -> list[Any]:
        """The keys of batch ``i``."""
        return self.keys[i * BATCH : (i + 1) * BATCH]


def measure_gets(bench: Bench) -> None:
    """Rows over stores that were filled, synced and opened again."""
    cold, warm, delete = f"get_batch({BATCH}) cold", f"get_batch({BATCH}) warm", f"delete, batches of {BATCH}"
    if not bench.session.request.wants(*map(bench.label, (cold, warm, delete))):
        return
    with contextlib.ExitStack() as stack:
        kinds = [kind for name, kind in bench.kinds.items() if name not in _NOT_READING]
        stored = bench.session.open_each(kinds, lambda kind: _store(bench, kind, stack))
        bench = replace(bench, kinds={name: bench.kinds[name] for name in stored})
        rng = random.Random(bench.session.request.seed)
        key = "get_batch cold small" if bench.scale.page_bytes <= _SMALL_BYTES else "get_batch cold"
        bench.measure(cold, key, "MB/s", _NOT_READING, lambda name: _reading_cold(bench, stored[name], rng))
        bench.measure(warm, "get_batch warm", "MB/s", _NOT_READING, lambda name: _reading_warm(bench, stored[name], rng))
        bench.measure(delete, "delete", "us/page", _NOT_DELETING, lambda name: _deleting(stored[name], bench.scale.batches))


def _store(bench: Bench, kind: type[PagePeer], stack: contextlib.ExitStack) -> _Stored:
    """Store every batch; close and open twice, so that nothing is left in a log; check one batch byte by byte."""
    name, size = kind.name, bench.scale.page_bytes
    done = bench.session.busy(f"storing {name}")
    home = bench.home("stored", name)
    peer = kind(home, size)
    keys = peer.keys_for(chain_digests(len(bench.pages) + 1, bench.session.request.seed))
    for i in range(bench.scale.batches):
        peer.put_batch(keys[i * BATCH : (i + 1) * BATCH], bench.batch(i))
    peer.put_batch(keys[-1:], bench.pages[:1])
    peer.sync()
    peer.close()
    kind(home, size).close()
    sync_tree(home)
    stored = _Stored(kind, home, size, kind(home, size), keys)
    stack.callback(stored.close)
    last = bench.scale.batches - 1
    stored.peer.get_batch(stored.batch(last), bench.out)
    if not np.array_equal(bench.out, bench.batch(last)):
        msg = f"{name} gave wrong bytes; nothing about its speed would mean anything"
        raise RuntimeError(msg)
    done()
    return stored


def _reading_cold(bench: Bench, stored: _Stored, rng: random.Random) -> Callable[[], float]:
    """Some batches in an order drawn anew, the files thrown out of the page cache before each.

    Read-ahead so helps within a batch, never with the next one. The store stays open meanwhile: its index is where a running
    server has it.
    """

    def once() -> float:
        stored.reopen()
        order = rng.sample(range(bench.scale.batches), min(bench.scale.batches, _COLD_BATCHES))
        taken = 0.0
        for keys in map(stored.batch, order):
            drop_from_cache(stored.home)
            began = time.perf_counter()
            stored.peer.get_batch(keys, bench.out)
            taken += time.perf_counter() - began
        return bench.out.nbytes * len(order) / 1e6 / taken

    return once


def _reading_warm(bench: Bench, stored: _Stored, rng: random.Random) -> Callable[[], float]:
    """All batches in an order drawn anew, after an untimed pass over them."""

    def once() -> float:
        for i in range(bench.scale.batches):
            stored.peer.get_batch(stored.batch(i), bench.out)
        order = [stored.batch(i) for i in rng.sample(range(bench.scale.batches), bench.scale.batches)]
        began = time.perf_counter()
        for keys in order:
            stored.peer.get_batch(keys, bench.out)
        return bench.pages.nbytes / 1e6 / (time.perf_counter() - began)

    return once


def _deleting(stored: _Stored, batches: int) -> Callable[[], float]:
    """One batch a round; when all are gone the row ends in an error rather than delete nothing quickly."""
    turns = iter(range(batches))

    def once() -> float:
        keys = stored.batch(next(turns))
        began = time.perf_counter()
        stored.peer.delete_batch(keys)
        return (time.perf_counter() - began) * 1e6 / len(keys)

    return once
