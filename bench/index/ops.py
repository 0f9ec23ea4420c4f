"""The ways to read a store, as rounds: a function of a subject that makes the function of a round."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from bench.peers import IndexPeer

__all__ = ["Bind", "calls", "gets", "scans", "timed_gets"]

Bind: TypeAlias = Callable[[IndexPeer], Callable[[], float]]
"""What a round of a subject is; each call of the result is one round."""


def gets(drawn: list[list[bytes]]) -> Bind:
    """A round gets each drawn key by itself; the figure is microseconds per key."""

    def bind(peer: IndexPeer) -> Callable[[], float]:
        turns = itertools.cycle(drawn)

        def once() -> float:
            wanted, get = next(turns), peer.get
            began = time.perf_counter()
            for key in wanted:
                get(key)
            return (time.perf_counter() - began) * 1e6 / len(wanted)

        return once

    return bind


def calls(call: Callable[[IndexPeer], Callable[[list[bytes]], object]], drawn: list[list[list[bytes]]]) -> Bind:
    """A round makes one call per drawn batch; the figure is microseconds per key."""

    def bind(peer: IndexPeer) -> Callable[[], float]:
        turns = itertools.cycle(drawn)

        def once() -> float:
            batches, run = next(turns), call(peer)
            began = time.perf_counter()
            for batch in batches:
                run(batch)
            return (time.perf_counter() - began) * 1e6 / sum(map(len, batches))

        return once

    return bind


def scans(count: int, drawn: list[list[bytes]]) -> Bind:
    """A round scans ``count`` pairs from each drawn key; the figure is microseconds per scan."""
    return calls(lambda peer: lambda at: peer.scan(at[0], count), [[[key] for key in keys] for keys in drawn])


def timed_gets(peer: IndexPeer, keys: list[bytes], quantile: float = 0.99) -> float:
    """Microseconds that single gets of ``keys`` stay below in that share of all cases."""
    get, now = peer.get, time.perf_counter_ns
    taken = np.empty(len(keys), dtype=np.int64)
    for i, key in enumerate(keys):
        began = now()
        get(key)
        taken[i] = now() - began
    return float(np.quantile(taken, quantile)) / 1e3
